// What is under the cursor, in every layer at once: numbers, and magnified pixels.
import { valueOf } from "./colours.js";
import { dms, hms } from "./sky.js";

const LOUPE = 15;
const LOUPED = ["science", "template", "difference", "score"];

function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
  return text.replace("-", "−");
}

export class Readout {
  constructor({ root, state, store, sky, tableOf }) {
    Object.assign(this, { root, state, store, sky, tableOf });
    this.layers = new Map(state.layers.map((layer) => [layer.name, layer]));
    this.read = Object.fromEntries([...root.querySelectorAll("[data-read]")].map((cell) => [cell.dataset.read, cell]));
    this.rows = state.layers.filter((layer) => layer.isListed).map((layer) => {
      const row = root.querySelector(`[data-values="${layer.name}"]`);
      return { layer, value: row.querySelector("[data-value]"), snr: row.querySelector("[data-snr]") };
    });
    this.loupes = LOUPED.filter((name) => this.layers.has(name)).map((name) => this.loupe(name));
    this.tell = null;
  }

  loupe(name) {
    const figure = document.createElement("figure");
    const canvas = Object.assign(document.createElement("canvas"), { width: LOUPE, height: LOUPE });
    const caption = document.createElement("figcaption");
    caption.textContent = this.layers.get(name).label;
    figure.append(canvas, caption);
    this.root.querySelector("[data-loupes]").append(figure);
    return { layer: this.layers.get(name), brush: canvas.getContext("2d") };
  }

  // Finest tiles under the cursor and beside it, of every layer.
  needs(cursor) {
    if (!cursor) return [];
    const half = (LOUPE - 1) / 2;
    const sources = [...this.state.layers, ...Object.values(this.state.masks)];
    return sources.flatMap((source) => {
      const [ny, nx] = source.levels[0].shape;
      const cell = (value, side) => Math.floor(Math.min(side - 1, Math.max(0, Math.round(value))) / this.store.side);
      const rows = new Set([cell(cursor.y, ny), cell(cursor.y - half, ny), cell(cursor.y + half, ny)]);
      const columns = new Set([cell(cursor.x, nx), cell(cursor.x - half, nx), cell(cursor.x + half, nx)]);
      return [...rows].flatMap((row) => [...columns].map((column) => [source, 0, row, column]));
    });
  }

  at(layer, x, y) {
    const code = this.store.codeAt(layer, x, y);
    if (code === undefined || code === null) return code;
    return valueOf(code, layer.levels[0].step, this.state);
  }

  show(cursor) {
    if (!cursor) return;
    const [ny, nx] = this.state.shape;
    const [x, y] = [Math.round(cursor.x), Math.round(cursor.y)];
    const isInside = x >= 0 && y >= 0 && x < nx && y < ny;
    this.root.dataset.pixel = isInside ? `${x},${y}` : "";
    this.read.pixel.textContent = isInside ? `${cursor.x.toFixed(1)}, ${cursor.y.toFixed(1)}` : "outside";
    if (this.sky) {
      const { ra, dec } = this.sky.at(cursor.x, cursor.y);
      this.read.sexagesimal.textContent = `${hms(ra)} ${dms(dec)}`;
      this.read.degrees.textContent = `${ra.toFixed(6)}, ${dec.toFixed(6)}`;
    }
    this.read.mask.textContent = isInside ? this.planes(x, y) : "–";
    for (const row of this.rows) this.showLayer(row, x, y);
    for (const one of this.loupes) this.magnify(one, x, y);
    if (this.tell && this.rows.every((row) => row.value.textContent !== "…")) {
      this.tell(this.inWords());
      this.tell = null;
    }
  }

  showLayer({ layer, value, snr }, x, y) {
    const found = this.at(layer, x, y);
    value.textContent = found === undefined ? "…" : number(found);
    snr.textContent = this.significance(layer, found, x, y);
  }

  significance(layer, found, x, y) {
    if (found === undefined) return "…";
    if (!Number.isFinite(found)) return "–";
    if (layer.unit === "sigma") return found.toFixed(1).replace("-", "−");
    if (!layer.noise) return "–";
    const noise = this.at(this.layers.get(layer.noise), x, y);
    if (noise === undefined) return "…";
    return noise > 0 ? (found / noise).toFixed(1).replace("-", "−") : "–";
  }

  planes(x, y) {
    const bits = Object.values(this.state.masks).map((mask) => this.store.codeAt(mask, x, y));
    if (bits.includes(undefined)) return "…";
    const set = bits.reduce((sum, value) => sum | value, 0);
    return this.state.planes.filter((plane) => set & plane.bit).map((plane) => plane.label).join(", ") || "good";
  }

  magnify({ layer, brush }, x, y) {
    const table = this.tableOf(layer, 0);
    const half = (LOUPE - 1) / 2;
    const pixels = new Uint32Array(LOUPE * LOUPE);
    for (let j = 0; j < LOUPE; j += 1) {
      for (let i = 0; i < LOUPE; i += 1) {
        const code = this.store.codeAt(layer, x + i - half, y + half - j);
        pixels[j * LOUPE + i] = Number.isInteger(code) ? table[code] : 0;
      }
    }
    brush.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), LOUPE, LOUPE), 0, 0);
  }

  // For those who move by keys and listen: told once the values are there.
  tellWhenKnown(tell) { this.tell = tell; }

  inWords() {
    const place = this.sky ? `, ${this.read.sexagesimal.textContent}` : "";
    const values = this.rows.slice(0, 4).map((row) => `${row.layer.label} ${row.value.textContent}`);
    return `pixel ${this.read.pixel.textContent}${place}; ${values.join(", ")}; mask ${this.read.mask.textContent}`;
  }

  scale(pixels) {
    const label = this.root.querySelector("[data-scale]");
    const zoom = pixels >= 1 ? `${Number(pixels.toPrecision(3))} : 1` : `1 : ${Number((1 / pixels).toPrecision(3))}`;
    label.textContent = this.sky ? `${zoom} · ${Number((this.sky.scale() / pixels).toPrecision(3))}″ a screen pixel` : zoom;
  }
}
