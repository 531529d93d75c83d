// A map of faces: value = {points: [[x, y]], labels: [group], names: [text], picked: group or null}. A click picks a group.
const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d'), text = element.querySelector('p');
let over = null;

const colour = (group, alpha) => `hsl(${(group * 137.5) % 360} 55% 52% / ${alpha})`;

function places() {
  const { points } = props.value;
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const [left, right] = [Math.min(...xs), Math.max(...xs)], [low, high] = [Math.min(...ys), Math.max(...ys)];
  return points.map(([x, y]) => [8 + (x - left) / (right - left || 1) * (canvas.width - 16),
                                 8 + (high - y) / (high - low || 1) * (canvas.height - 16)]);
}

function draw() {
  canvas.width = canvas.clientWidth || 600;
  canvas.height = Math.round(canvas.width * 0.6);
  const shown = over ?? props.value.picked;
  places().forEach(([x, y], at) => {
    const group = props.value.labels[at], mine = shown === null || group === shown;
    pen.fillStyle = colour(group, mine ? 0.85 : 0.12);
    pen.fillRect(x - 1.5, y - 1.5, 3, 3);
  });
  text.textContent = shown === null ? 'Point at a dot to see its group; click to choose it.' : props.value.names[shown];
}

function nearest(event) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  let best = null, least = 144;
  places().forEach(([px, py], at) => {
    const off = (px - x) ** 2 + (py - y) ** 2;
    if (off < least) [best, least] = [props.value.labels[at], off];
  });
  return best;
}

canvas.addEventListener('pointermove', (event) => {
  const found = nearest(event);
  if (found !== over) { over = found; draw(); }
});
canvas.addEventListener('pointerleave', () => { over = null; draw(); });
canvas.addEventListener('click', (event) => {
  const picked = nearest(event);
  if (picked === null) return;
  props.value = { ...props.value, picked };
  draw();
  trigger('input');
});
watch('value', () => { over = null; draw(); });
new ResizeObserver(() => { if (canvas.clientWidth && canvas.clientWidth !== canvas.width) draw(); }).observe(canvas);
draw();
