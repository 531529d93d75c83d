// Paint on a picture what must stay: value = {face: text, picture: data URL, mask: data URL or ""}. White is frozen.
const canvas = element.querySelector('canvas'), pen = canvas.getContext('2d'), size = element.querySelector('.size');
let down = false, face = null, mask = '';

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
}

function dot(event) {
  const [x, y] = place(event);
  pen.fillStyle = '#fff';
  pen.beginPath();
  pen.arc(x, y, size.value * canvas.width / 256, 0, 2 * Math.PI);
  pen.fill();
}

function done() {
  if (!down) return;
  down = false;
  const painted = pen.getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value);
  mask = painted ? canvas.toDataURL('image/png') : '';
  props.value = { ...props.value, mask };
  trigger('input');
}

canvas.addEventListener('pointerdown', (event) => { down = true; canvas.setPointerCapture(event.pointerId); dot(event); });
canvas.addEventListener('pointermove', (event) => { if (down) dot(event); });
canvas.addEventListener('pointerup', done);
canvas.addEventListener('pointercancel', done);
element.querySelector('.clear').addEventListener('click', () => { down = true; pen.clearRect(0, 0, canvas.width, canvas.height); done(); });

function update() {
  if (props.value.face === face) {       // an answer about the same face: what is painted stays
    if (props.value.mask !== mask) props.value = { ...props.value, mask };
    return;
  }
  ({ face, mask } = props.value);
  element.querySelector('.sheet').style.backgroundImage = props.value.picture ? `url(${props.value.picture})` : '';
  canvas.width = canvas.height = props.value.pixels;      // this also clears it
}
watch('value', update);
update();
