// The pixels around candidates as numbers: asked for ahead of time, kept while there is room.
import { valueOf } from "../viewer/colours.js";

// one takes a quarter of a megabyte; what was forgotten comes back from the browser's own cache
const KEPT = 48;
// The first bit of every mask.
const NO_DATA = 1;

export class PacketStore {
  constructor(codes) {
    this.codes = codes;
    this.kept = new Map();
  }

  // The packet if it is here.
  peek(url) { return this.kept.get(url)?.packet; }

  // A promise of the packet; one that failed is asked for anew.
  get(url) {
    const entry = this.kept.get(url) ?? { promise: this.load(url) };
    this.kept.delete(url);
    this.kept.set(url, entry);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(old);
    }
    entry.promise.then((packet) => { entry.packet = packet; }, () => this.kept.delete(url));
    return entry.promise;
  }

  async load(url) {
    const answer = await fetch(url, { redirect: "error" });
    if (answer.status === 404) throw new Error("they are not kept");
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return new Packet(await answer.arrayBuffer(), this.codes);
  }
}

// Squares of values by name; those of masks hold bits. Row 0 is at the bottom.
class Packet {
  constructor(buffer, codes) {
    const length = new DataView(buffer).getUint32(0, true);
    const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const bytes = new Uint8Array(buffer, 4 + length);
    const n = bytes.length / 2;
    let at = 0;
    this.limits = told.limits;
    this.squares = new Map(told.squares.map((square) => {
      const cells = square.side ** 2;
      const values = square.step === null ? new Uint16Array(cells) : new Float32Array(cells);
      for (let i = 0; i < cells; i += 1, at += 1) {
        const code = bytes[at] | (bytes[n + at] << 8);
        if (square.step !== null) values[i] = valueOf(code, square.step, codes);
        else values[i] = code === codes.missing ? NO_DATA : code; // beyond the frame
      }
      return [square.name, { ...square, values }];
    }));
    this.add("ratio", "difference", "difference-noise");
    const { first, side } = this.squares.get("science");
    this.middle = first.map((value) => value + (side - 1) / 2);
    this.side = side;
    this.pictures = new Map();
  }

  // One square over another, in units of the noise.
  add(name, above, below) {
    const [value, noise] = [this.squares.get(above), this.squares.get(below)];
    if (!value || !noise) return;
    const values = value.values.map((one, i) => (noise.values[i] > 0 ? one / noise.values[i] : NaN));
    this.squares.set(name, { ...value, name, values, unit: "sigma" });
  }

  // Value of a square at a pixel of the frame; undefined where there is no such square.
  at(name, x, y) {
    const square = this.squares.get(name);
    if (!square) return undefined;
    const [column, row] = [x, y].map((value, i) => Math.round((value - square.first[i]) / square.grain));
    const isInside = column >= 0 && row >= 0 && column < square.side && row < square.side;
    return isInside ? square.values[row * square.side + column] : NaN;
  }
}
