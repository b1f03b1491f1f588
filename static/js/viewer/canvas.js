// Draws the tiles that are in view, coarse ones below until the fine ones are there.
// A view is the image position at the middle of the canvas and the screen pixels of an image pixel.
const LEAST_SIDE_PX = 64;
const LARGEST_SCALE = 64;

export class Canvas {
  constructor(element, state, store) {
    Object.assign(this, { element, state, store });
    this.brush = element.getContext("2d", { alpha: false });
    this.drawn = new WeakMap();
    this.view = { x: 0, y: 0, scale: 1 };
    this.width = this.height = 0;
    this.dpr = 1;
  }

  resize() {
    const box = this.element.getBoundingClientRect();
    this.dpr = window.devicePixelRatio || 1;
    this.width = box.width;
    this.height = box.height;
    this.element.width = Math.max(1, Math.round(box.width * this.dpr));
    this.element.height = Math.max(1, Math.round(box.height * this.dpr));
  }

  // --- geometry: y of the image upwards, y of the screen downwards
  toScreen(x, y) {
    return [this.width / 2 + (x - this.view.x) * this.view.scale, this.height / 2 - (y - this.view.y) * this.view.scale];
  }

  toImage(left, top) {
    return [this.view.x + (left - this.width / 2) / this.view.scale, this.view.y - (top - this.height / 2) / this.view.scale];
  }

  fit() {
    const [ny, nx] = this.state.shape;
    this.view = { x: (nx - 1) / 2, y: (ny - 1) / 2, scale: Math.min(this.width / nx, this.height / ny) };
  }

  move(x, y) {
    const [ny, nx] = this.state.shape;
    this.view.x = Math.min(nx - 0.5, Math.max(-0.5, x));
    this.view.y = Math.min(ny - 0.5, Math.max(-0.5, y));
  }

  // Zoom so that what is at a place of the screen stays there.
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.toImage(left, top);
    const least = LEAST_SIDE_PX / Math.max(...this.state.shape);
    this.view.scale = Math.min(LARGEST_SCALE, Math.max(least, this.view.scale * factor));
    this.move(x - (left - this.width / 2) / this.view.scale, y + (top - this.height / 2) / this.view.scale);
  }

  // --- what is in view
  levelOf(source) {
    const fine = Math.floor(Math.log2(1 / (this.view.scale * this.dpr)));
    return Math.min(source.levels.length - 1, Math.max(0, fine));
  }

  tilesInView(source, level) {
    const side = this.store.side * 2 ** level;
    const [ny, nx] = source.levels[level].shape;
    const last = [Math.ceil(ny / this.store.side) - 1, Math.ceil(nx / this.store.side) - 1];
    const [left, bottom] = this.toImage(0, this.height);
    const [right, top] = this.toImage(this.width, 0);
    const clip = (value, end) => Math.min(end, Math.max(0, Math.floor((value + 0.5) / side)));
    const found = [];
    for (let row = clip(bottom, last[0]); row <= clip(top, last[0]); row += 1) {
      for (let column = clip(left, last[1]); column <= clip(right, last[1]); column += 1) found.push([source, level, row, column]);
    }
    const far = ([, , row, column]) => Math.hypot((row + 0.5) * side - this.view.y, (column + 0.5) * side - this.view.x);
    return found.sort((a, b) => far(a) - far(b));
  }

  // Tiles that a source needs for this view: one for all of it at once, then the fine ones.
  needs(source) {
    const last = source.levels.length - 1;
    const level = this.levelOf(source);
    return level === last ? this.tilesInView(source, level) : [[source, last, 0, 0], ...this.tilesInView(source, level)];
  }

  isComplete(source) {
    return this.tilesInView(source, this.levelOf(source)).every((one) => this.store.peek(...one));
  }

  // --- painting
  clear() {
    this.brush.setTransform(1, 0, 0, 1, 0, 0);
    this.brush.fillStyle = getComputedStyle(this.element).backgroundColor;
    this.brush.fillRect(0, 0, this.element.width, this.element.height);
  }

  paint(source, tableOf, name) {
    const brush = this.brush;
    const [ny, nx] = this.state.shape;
    brush.save();
    brush.beginPath();
    const [left, top] = this.toScreen(-0.5, ny - 0.5);
    brush.rect(left * this.dpr, top * this.dpr, nx * this.view.scale * this.dpr, ny * this.view.scale * this.dpr);
    brush.clip();
    const level = this.levelOf(source);
    for (let one = source.levels.length - 1; one >= level; one -= 1) this.paintLevel(source, one, tableOf(one), name);
    brush.restore();
  }

  paintLevel(source, level, table, name) {
    const isFiner = 2 ** level * this.view.scale * this.dpr < 1;
    this.brush.imageSmoothingEnabled = isFiner;
    for (const [, , row, column] of this.tilesInView(source, level)) {
      const tile = this.store.peek(source, level, row, column);
      if (tile) this.paintTile(this.picture(tile, table, name), tile, { level, row, column });
    }
  }

  paintTile(picture, tile, { level, row, column }) {
    const grain = 2 ** level;
    const side = this.store.side * grain;
    const [x, y] = [column * side - 0.5, row * side - 0.5];
    const [left, bottom] = this.toScreen(x, y).map((part) => Math.round(part * this.dpr));
    const [right, top] = this.toScreen(x + tile.width * grain, y + tile.height * grain).map((part) => Math.round(part * this.dpr));
    this.brush.drawImage(picture, left, top, right - left, bottom - top);
  }

  // The tile in colours; the last colours of each use are kept with it.
  picture(tile, table, name) {
    const kept = this.drawn.get(tile) ?? {};
    if (kept[name]?.table === table) return kept[name].canvas;
    const canvas = kept[name]?.canvas ?? new OffscreenCanvas(tile.width, tile.height);
    const { codes, width, height } = tile;
    const pixels = new Uint32Array(width * height);
    for (let row = 0; row < height; row += 1) {
      const from = (height - 1 - row) * width;
      for (let i = 0; i < width; i += 1) pixels[row * width + i] = table[codes[from + i]];
    }
    canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
    kept[name] = { table, canvas };
    this.drawn.set(tile, kept);
    return canvas;
  }

  cross(x, y) {
    const [left, top] = this.toScreen(x, y).map((part) => Math.round(part * this.dpr) + 0.5);
    const brush = this.brush;
    for (const [colour, width] of [["rgb(0 0 0 / 60%)", 3], ["#ffd166", 1]]) {
      brush.strokeStyle = colour;
      brush.lineWidth = width * this.dpr;
      brush.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        brush.moveTo(left + dx * 5 * this.dpr, top + dy * 5 * this.dpr);
        brush.lineTo(left + dx * 14 * this.dpr, top + dy * 14 * this.dpr);
      }
      brush.stroke();
    }
  }
}
