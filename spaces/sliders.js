// The attribute sliders: value = {face: text, start: {name: number}, asked: {name: number}, frozen: [name]}, and on
// request only: [name], the attributes to show, none for all.
// A slider that was moved is asked for; the others show what the face has now. Undo and redo also cover freezing.
const rows = [...element.querySelectorAll('.attribute')];
const find = (row, what) => row.querySelector(what);
let past = [], future = [];
let { face, asked, frozen, only = [] } = props.value;

const shown = (row) => props.value.asked[row.dataset.name] ?? props.value.start[row.dataset.name] ?? 0;
const text = (row, number) => Number(number).toFixed(row.dataset.step >= 1 ? 0 : 2);

function update() {
  for (const row of rows) {
    const name = row.dataset.name, range = find(row, 'input[type=range]');
    const isFrozen = props.value.frozen.includes(name), isAsked = name in props.value.asked;
    if (document.activeElement !== range || !isAsked) range.value = shown(row);
    range.disabled = isFrozen;
    find(row, 'output').textContent = text(row, shown(row));
    row.classList.toggle('asked', isAsked);
    row.classList.toggle('frozen', isFrozen);
    find(row, '.reset').disabled = !isAsked;
    find(row, '.pin').setAttribute('aria-pressed', isFrozen);
  }
  element.querySelector('.undo').disabled = !past.length;
  element.querySelector('.redo').disabled = !future.length;
  element.querySelector('.reset-all').disabled = !Object.keys(props.value.asked).length;
}

function put(changes, event) {
  props.value = { ...props.value, ...changes };
  ({ asked, frozen } = props.value);
  update();
  trigger(event);
}

const state = () => ({ asked: { ...props.value.asked }, frozen: [...props.value.frozen] });
function remember() { past = [...past, state()].slice(-50); future = []; }

function without(name) {
  const { [name]: gone, ...others } = props.value.asked;
  return others;
}

let dragging = false;
for (const row of rows) {
  const name = row.dataset.name, range = find(row, 'input[type=range]');
  range.addEventListener('input', () => {
    if (!dragging) { dragging = true; remember(); }
    put({ asked: { ...props.value.asked, [name]: Number(range.value) } }, 'input');
  });
  range.addEventListener('change', () => { dragging = false; });
  find(row, '.reset').addEventListener('click', () => { remember(); put({ asked: without(name) }, 'input'); });
  find(row, '.pin').addEventListener('click', () => {
    const others = props.value.frozen.filter((other) => other !== name);
    remember();
    put({ frozen: others.length < props.value.frozen.length ? others : [...others, name], asked: without(name) }, 'input');
  });
}
element.querySelector('.reset-all').addEventListener('click', () => { remember(); put({ asked: {} }, 'input'); });
element.querySelector('.undo').addEventListener('click', () => {
  future.push(state());
  put(past.pop(), 'input');
});
element.querySelector('.redo').addEventListener('click', () => {
  past.push(state());
  put(future.pop(), 'input');
});
for (const button of element.querySelectorAll('.preset')) {
  button.addEventListener('click', () => {
    const free = Object.entries(JSON.parse(button.dataset.asked)).filter(([name]) => !props.value.frozen.includes(name));
    remember();
    put({ asked: Object.fromEntries(free) }, 'input');
  });
}
function filter() {
  const wanted = element.querySelector('.search').value.trim().toLowerCase();
  const allowed = (name) => !only.length || only.includes(name);
  for (const row of rows) row.hidden = !allowed(row.dataset.name) || !row.textContent.toLowerCase().includes(wanted);
  for (const group of element.querySelectorAll('details')) {
    const any = [...group.querySelectorAll('.attribute')].some((row) => !row.hidden);
    group.hidden = !any;
    if (wanted || only.length) group.open = any;
  }
  for (const button of element.querySelectorAll('.preset')) {
    button.hidden = !Object.keys(JSON.parse(button.dataset.asked)).every(allowed);
  }
}
element.querySelector('.search').addEventListener('input', filter);
watch('value', () => {
  if (props.value.only && String(props.value.only) !== String(only)) {
    only = props.value.only;
    filter();
  }
  if (props.value.face === face) {        // an answer about the same face: what was moved meanwhile stays
    props.value = { ...props.value, asked, frozen };
  } else {
    [face, asked, frozen, past, future] = [props.value.face, props.value.asked, props.value.frozen, [], []];
  }
  update();
});
update();
