// The full-frame viewer: moving about, stretching, blinking, and what is under the cursor.
import { appearance, onAppearance } from "./night.js";
import { Canvas } from "./viewer/canvas.js";
import { colourTable, maskTable } from "./viewer/colours.js";
import { Marks } from "./viewer/marks.js";
import { listenToKeys, listenToPointer } from "./viewer/input.js";
import { Readout } from "./viewer/readout.js";
import { Sky } from "./viewer/sky.js";
import { TileStore } from "./viewer/tiles.js";

const root = document.querySelector("[data-viewer]");
const state = JSON.parse(root.dataset.state);
const find = (selector) => root.querySelector(selector);
const layers = new Map(state.layers.map((layer) => [layer.name, layer]));
const listed = state.layers.filter((layer) => layer.isListed);
const problem = find("[data-problem]");
const planeBoxes = [...root.querySelectorAll("[data-plane]")];
const allPlanes = find("[data-all-planes]");
const layerBoxes = [...root.querySelectorAll('[name="layer"]')];

const store = new TileStore({
  side: state.tile,
  onLoad: () => draw(),
  onTrouble: (text) => { problem.textContent = text; },
});
const canvas = new Canvas(find("[data-canvas]"), state, store);
const sky = state.sky && new Sky(state.sky);
const marks = new Marks(find("[data-marks]"), state.marks, canvas);

const shown = {
  layer: state.layers[0].name,
  isBlinking: false,
  planes: 0,
  cursor: null,
  // a finger leaves no cursor behind: the place it touched is marked
  isTouched: false,
  isByKeys: true,
  mark: -1,
};
const tables = new Map();
let waiting = 0;

// --- colours
function tableOf(layer, level) {
  const look = { stretch: find("[data-stretch]").value, isInverted: find("[data-invert]").checked, appearance: appearance() };
  const step = layer.levels[level].step;
  const key = [layer.name, step, ...Object.values(look)].join(" ");
  if (!tables.has(key)) {
    if (tables.size > 60) tables.clear();
    tables.set(key, colourTable(layer, step, state, look));
  }
  return tables.get(key);
}

function tableOfMask() {
  const key = `mask ${shown.planes}`;
  if (!tables.has(key)) tables.set(key, maskTable(state.planes, shown.planes));
  return tables.get(key);
}

// --- drawing, at most once a frame
const other = () => layers.get(find("[data-blink-with]").value);
const layerNow = () => (shown.isBlinking ? other() : layers.get(shown.layer));
const readout = new Readout({ root, state, store, sky, tableOf });

function draw() {
  if (waiting) return;
  waiting = requestAnimationFrame(() => {
    waiting = 0;
    paint();
  });
}

function paint() {
  const layer = layerNow();
  const mask = state.masks[layer.mask];
  const wanted = [layer, ...(shown.planes ? [mask] : []), other(), layers.get(shown.layer)];
  const cursor = shown.isByKeys ? { x: canvas.view.x, y: canvas.view.y } : shown.cursor;
  store.want([...readout.needs(cursor), ...wanted.flatMap((source) => canvas.needs(source))]);
  canvas.clear();
  canvas.paint(layer, (level) => tableOf(layer, level), "colours");
  if (shown.planes) canvas.paint(mask, () => tableOfMask(), "mask");
  if (cursor && (shown.isByKeys || shown.isTouched)) canvas.cross(cursor.x, cursor.y);
  marks.place(shown.mark, find("[data-show-marks]").checked);
  readout.show(cursor);
  readout.scale(canvas.view.scale);
  root.dataset.ready = String(canvas.isComplete(layer));
  root.dataset.layer = layer.name;
  root.dataset.view = JSON.stringify(canvas.view);
}

// --- what people do
function say(text) {
  find("[data-say]").textContent = text;
}

function setLayer(name) {
  if (!layers.has(name)) return;
  const before = shown.layer;
  shown.layer = name;
  for (const box of layerBoxes) box.checked = box.value === name;
  // blinking between a layer and itself shows nothing
  const partner = find("[data-blink-with]");
  if (partner.value === name) partner.value = before;
  draw();
}

function blink(isOn) {
  if (shown.isBlinking === isOn) return;
  shown.isBlinking = isOn;
  find("[data-blink]").classList.toggle("pressed", isOn);
  say(isOn ? other().label : layers.get(shown.layer).label);
  draw();
}

function zoom(how) {
  if (how === "fit") canvas.fit();
  else if (how === "one") canvas.zoom(1 / canvas.view.scale);
  else canvas.zoom(how === "in" ? 1.5 : 1 / 1.5);
  draw();
}

function setPlanes() {
  shown.planes = planeBoxes.reduce((sum, box) => sum | (box.checked ? Number(box.value) : 0), 0);
  const n = planeBoxes.filter((box) => box.checked).length;
  allPlanes.checked = n === planeBoxes.length;
  allPlanes.indeterminate = n > 0 && n < planeBoxes.length;
  draw();
}

function togglePlanes(isOn = shown.planes === 0) {
  for (const box of planeBoxes) box.checked = isOn;
  setPlanes();
  say(isOn ? "mask shown" : "mask hidden");
}

function nextStretch() {
  const select = find("[data-stretch]");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  say(select.value);
  draw();
}

function tick(selector) {
  const box = find(selector);
  box.checked = !box.checked;
  draw();
}

function goTo(number) {
  if (!state.marks.length) return;
  shown.mark = (number + state.marks.length) % state.marks.length;
  const mark = state.marks[shown.mark];
  if (canvas.view.scale < 2) canvas.view.scale = 2;
  canvas.move(mark.x, mark.y);
  shown.isByKeys = true;
  say(`${mark.label}, ${mark.note}`);
  draw();
}

function openMark() {
  const mark = state.marks[shown.mark];
  if (mark?.url) location.assign(mark.url);
}

const actions = {
  pan(dx, dy, isFine) {
    const step = isFine ? 1 : 64 / canvas.view.scale;
    canvas.move(canvas.view.x + dx * step, canvas.view.y + dy * step);
    shown.isByKeys = true;
    readout.tellWhenKnown(say);
    draw();
  },
  drag(dx, dy) {
    canvas.move(canvas.view.x - dx / canvas.view.scale, canvas.view.y + dy / canvas.view.scale);
    draw();
  },
  zoomAt(factor, left, top) {
    canvas.zoom(factor, left, top);
    draw();
  },
  point(left, top, isTouch) {
    const [x, y] = canvas.toImage(left, top);
    shown.cursor = { x, y };
    shown.isTouched = isTouch;
    shown.isByKeys = false;
    draw();
  },
  leave() { /* the last place stays readable */ },
  zoom,
  blink,
  nextStretch,
  togglePlanes,
  goTo: (step) => goTo(shown.mark < 0 && step < 0 ? -1 : shown.mark + step),
  openMark,
  invert: () => tick("[data-invert]"),
  toggleMarks: () => tick("[data-show-marks]"),
  layer: (number) => setLayer(listed[number - 1]?.name),
};

for (const box of layerBoxes) box.addEventListener("change", () => setLayer(box.value));
for (const box of planeBoxes) box.addEventListener("change", setPlanes);
for (const button of root.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => zoom(button.dataset.zoom));
for (const button of root.querySelectorAll("[data-go]")) button.addEventListener("click", () => goTo(Number(button.dataset.go)));
for (const selector of ["[data-stretch]", "[data-blink-with]", "[data-invert]", "[data-show-marks]"]) find(selector).addEventListener("change", draw);
allPlanes.addEventListener("change", () => togglePlanes(allPlanes.checked));
listenToPointer(find("[data-stage]"), find("[data-blink]"), actions);
listenToKeys(find("[data-canvas]"), actions);
onAppearance(draw);

let isPlaced = false;
new ResizeObserver(() => {
  canvas.resize();
  if (!isPlaced && canvas.width) {
    isPlaced = true;
    begin();
  }
  draw();
}).observe(find("[data-stage]"));

// The whole frame, or the place and layer that the address names.
function begin() {
  canvas.fit();
  const asked = new URLSearchParams(location.search);
  const [x, y] = [Number(asked.get("x")), Number(asked.get("y"))];
  if (asked.has("x") && asked.has("y") && Number.isFinite(x) && Number.isFinite(y)) {
    canvas.view.scale = Math.max(canvas.view.scale, 4);
    canvas.move(x, y);
    shown.mark = marks.nearest(x, y);
  }
  if (asked.has("layer")) setLayer(asked.get("layer"));
  find("[data-canvas]").focus({ preventScroll: true });
}
