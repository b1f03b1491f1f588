// Draws the pictures of one candidate: one scale, one orientation, one stretch for all of them.
import { appearance } from "../night.js";
import { drawBar, drawCompass, drawCursor, drawOutline, drawTicks, drawWindow } from "./overlays.js";
import { drawMask, drawSquare } from "./shades.js";

const ZOOMS = [1, 1.5, 2, 3, 4];
const CONTRASTS = [0.1, 20];
// What a panel shows, the first that there is.
const SHOWN = {
  science: ["science"],
  template: ["template"],
  difference: ["difference"],
  ratio: ["ratio", "score"],
  context: ["context"],
};

// From the frame's pixels to those of a canvas: y of the frame upwards, then turned to the sky.
class View {
  constructor(canvas, packet, { turn, zoom, grain }) {
    Object.assign(this, { middle: packet.middle, turn, dpr: window.devicePixelRatio || 1 });
    this.width = Math.max(1, Math.round(canvas.clientWidth * this.dpr));
    const side = grain > 1 ? packet.squares.get("context").side * grain : packet.side / zoom;
    this.scale = this.width / side;
  }

  toCanvas(x, y) {
    const [a, b, c, d] = this.turn;
    const [u, v] = [x - this.middle[0], this.middle[1] - y];
    return [this.width / 2 + this.scale * (a * u + c * v), this.width / 2 + this.scale * (b * u + d * v)];
  }

  toFrame(left, top) {
    const [a, b, c, d] = this.turn;
    const [p, q] = [left, top].map((value) => (value * this.dpr - this.width / 2) / this.scale);
    const determinant = a * d - b * c;
    const [u, v] = [(d * p - c * q) / determinant, (a * q - b * p) / determinant];
    return { x: this.middle[0] + u, y: this.middle[1] - v };
  }

  // Lay a small canvas of a square over the large one, pixel for pixel.
  lay(brush, picture, square) {
    const [a, b, c, d] = this.turn.map((part) => part * this.scale);
    const size = square.side * square.grain;
    const left = square.first[0] - square.grain / 2 - this.middle[0];
    const top = this.middle[1] - (square.first[1] - square.grain / 2 + size);
    brush.save();
    brush.imageSmoothingEnabled = false;
    brush.setTransform(a, b, c, d, this.width / 2, this.width / 2);
    brush.drawImage(picture, left, top, size, size);
    brush.restore();
  }
}

// A square's small canvas: the last one of each square is kept.
function keep(packet, square, { draw, key }) {
  const kept = packet.pictures.get(square.name);
  if (kept?.key === key) return kept.canvas;
  const canvas = draw();
  packet.pictures.set(square.name, { key, canvas });
  return canvas;
}

export class Pictures {
  constructor({ store, colours, missing, planes }) {
    Object.assign(this, { store, colours, missing, planes });
    this.look = { stretch: "zscale", isInverted: false, contrast: 1, bias: 0.5 };
    this.zoom = 0;
    this.isMaskShown = this.isScore = this.isBlinking = false;
    this.isWindowShown = true;
    this.cursor = null;
    this.views = new Map();
  }

  // Show a card; resolves when its pixels are painted, or when it is known that they cannot be.
  async show(card) {
    this.card = card;
    this.cursor = null;
    this.isBlinking = false;
    this.zoom = 0;
    this.root = card.querySelector("[data-pictures]");
    this.root.hidden = false;
    this.place = JSON.parse(this.root.dataset.pictures);
    this.packet = this.store.peek(this.place.pixels);
    if (this.packet) return this.paint();
    this.root.setAttribute("aria-busy", "true");
    try {
      const packet = await this.store.get(this.place.pixels);
      if (this.card !== card) return undefined;
      this.packet = packet;
      this.paint();
    } catch (error) {
      if (this.card === card) this.trouble(`The pixels could not be loaded: ${error.message}.`);
    }
    card.querySelector("[data-pictures]").removeAttribute("aria-busy");
    return undefined;
  }

  trouble(text) { this.root.querySelector("[data-trouble]").textContent = text; }

  nameOf(panel) {
    if (panel === "science" && this.isBlinking) return "template";
    const names = panel === "ratio" && this.isScore ? ["score"] : SHOWN[panel];
    return names.find((name) => this.packet.squares.has(name));
  }

  // A square as it is looked at now; drawn once for each look.
  coloured(packet, square, look) {
    const { colours, missing } = this;
    const draw = () => drawSquare(square, packet.limits[look.stretch], { look, colours, missing });
    return keep(packet, square, { draw, key: JSON.stringify(look) });
  }

  paint() {
    if (!this.packet || !this.root?.isConnected) return;
    this.trouble("");
    for (const canvas of this.root.querySelectorAll("canvas")) this.paintPanel(canvas, canvas.dataset.panel);
    this.root.dataset.painted = this.look.stretch;
    this.onPaint?.();
  }

  paintPanel(canvas, panel) {
    const name = this.nameOf(panel);
    const square = this.packet.squares.get(name);
    this.label(canvas, panel, name);
    if (!square) return;
    const view = new View(canvas, this.packet, { turn: this.place.turn, zoom: ZOOMS[this.zoom], grain: square.grain });
    this.views.set(panel, view);
    canvas.width = canvas.height = view.width;
    const brush = canvas.getContext("2d", { alpha: false });
    brush.fillStyle = getComputedStyle(canvas).backgroundColor;
    brush.fillRect(0, 0, view.width, view.width);
    view.lay(brush, this.coloured(this.packet, square, { ...this.look, appearance: appearance() }), square);
    this.paintMask(brush, view, panel);
    this.paintOverlays(brush, view, { panel, square });
  }

  // Draw the squares of a candidate that waits, when there is nothing else to do.
  warm(packet) {
    requestIdleCallback(() => {
      const look = { ...this.look, appearance: appearance() };
      for (const names of Object.values(SHOWN)) {
        const square = packet.squares.get(names.find((name) => packet.squares.has(name)));
        if (square) this.coloured(packet, square, look);
      }
    });
  }

  paintMask(brush, view, panel) {
    const mask = this.packet.squares.get(panel === "science" && !this.isBlinking ? "frame-mask" : "mask");
    if (!this.isMaskShown || !mask || panel === "context") return;
    view.lay(brush, keep(this.packet, mask, { draw: () => drawMask(mask, this.planes), key: "mask" }), mask);
  }

  paintOverlays(brush, view, { panel, square }) {
    const { x, y, scale, isNorthUp } = this.place;
    if (panel === "context") drawOutline(brush, view, this.packet.side, []);
    else if (this.isWindowShown && this.packet.side / ZOOMS[this.zoom] > 63) drawWindow(brush, view);
    if (panel !== "context") drawTicks(brush, view, x, y);
    if (["science", "context"].includes(panel)) drawBar(brush, view, scale);
    if (panel === "science") drawCompass(brush, view, isNorthUp);
    if (this.cursor) drawCursor(brush, view, this.cursor, square.grain);
  }

  label(canvas, panel, name) {
    const label = canvas.closest("figure").querySelector("[data-panel-label]");
    const words = { template: "Reference", score: "Score" };
    const isOther = name !== SHOWN[panel][0];
    label.textContent = isOther ? words[name] ?? `${label.dataset.panelLabel}: not kept` : label.dataset.panelLabel;
  }

  // --- what people do
  set(change) {
    this.look = { ...this.look, ...change };
    this.paint();
  }

  stretchBy(factor) {
    const contrast = Math.min(CONTRASTS[1], Math.max(CONTRASTS[0], this.look.contrast * factor));
    this.set({ contrast });
  }

  drag(dx, dy) {
    const width = this.root.querySelector("canvas").clientWidth;
    const bias = Math.min(2, Math.max(-1, this.look.bias - dx / width / this.look.contrast));
    this.look = { ...this.look, bias };
    this.stretchBy(Math.exp(-dy / 150));
  }

  reset() {
    this.zoom = 0;
    this.set({ contrast: 1, bias: 0.5 });
  }

  zoomBy(step) {
    this.zoom = Math.min(ZOOMS.length - 1, Math.max(0, this.zoom + step));
    this.paint();
  }

  toggle(what) {
    this[what] = !this[what];
    this.paint();
    return this[what];
  }

  blink(isOn) {
    if (!this.packet || this.isBlinking === isOn) return;
    this.isBlinking = isOn;
    this.paintPanel(this.root.querySelector('[data-panel="science"]'), "science");
  }

  // --- the pixel that is read, in whole pixels of the frame
  point(cursor) {
    this.cursor = cursor && { x: Math.round(cursor.x), y: Math.round(cursor.y) };
    this.paint();
  }

  moveCursor(dx, dy) {
    if (!this.packet) return;
    const { x, y } = this.cursor ?? { x: this.packet.middle[0], y: this.packet.middle[1] };
    const [a, b, c, d] = this.place.turn;
    const determinant = a * d - b * c;
    const [u, v] = [(d * dx - c * dy) / determinant, (a * dy - b * dx) / determinant];
    const [stepX, stepY] = Math.abs(u) > Math.abs(v) ? [Math.sign(u), 0] : [0, -Math.sign(v)];
    const size = Math.hypot(dx, dy);
    const half = (this.packet.side - 1) / 2;
    const clip = (value, middle) => Math.min(middle + half, Math.max(middle - half, value));
    this.point({
      x: clip(x + size * stepX, this.packet.middle[0]),
      y: clip(y + size * stepY, this.packet.middle[1]),
    });
  }
}
