// Tiles of an image: asked for when they are seen, kept while there is room. A tile arrives as
// all lower bytes, then all upper bytes, of its 16-bit codes.
// with its colours a tile takes 0.4 MB
const KEPT = 400;
const AT_ONCE = 8;
const AGAIN_MS = 3000;

export class TileStore {
  constructor({ side, onLoad, onTrouble }) {
    Object.assign(this, { side, onLoad, onTrouble });
    this.kept = new Map();
    this.flying = new Set();
    this.failed = new Map();
    this.wanted = [];
  }

  key(source, level, row, column) {
    return `${source.url}/${level}/${row}/${column}`;
  }

  // The tile if it is here; looking at it keeps it.
  peek(source, level, row, column) {
    const key = this.key(source, level, row, column);
    const tile = this.kept.get(key);
    if (tile) {
      this.kept.delete(key);
      this.kept.set(key, tile);
    }
    return tile;
  }

  // Ask for these tiles, the first ones first; what was asked for before and not begun is dropped.
  want(list) {
    this.wanted = list.filter((one) => !this.kept.has(this.key(...one)));
    this.pump();
  }

  // Ask for one more, after those.
  add(source, level, row, column) {
    this.wanted.push([source, level, row, column]);
    this.pump();
  }

  pump() {
    while (this.flying.size < AT_ONCE && this.wanted.length) {
      const one = this.wanted.shift();
      const key = this.key(...one);
      const isTooSoon = Date.now() - (this.failed.get(key) ?? 0) < AGAIN_MS;
      if (this.kept.has(key) || this.flying.has(key) || isTooSoon) continue;
      this.flying.add(key);
      this.load(key, ...one);
    }
  }

  async load(key, source, level, row, column) {
    try {
      const answer = await fetch(key, { redirect: "error" });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      const [ny, nx] = source.levels[level].shape;
      const width = Math.min(this.side, nx - column * this.side);
      const height = Math.min(this.side, ny - row * this.side);
      const n = width * height;
      if (bytes.length !== 2 * n) throw new Error("it is not as long as it should be");
      const codes = new Uint16Array(n);
      for (let i = 0; i < n; i += 1) codes[i] = bytes[i] | (bytes[n + i] << 8);
      this.keep(key, { codes, width, height });
      this.failed.delete(key);
      this.onTrouble("");
    } catch (error) {
      this.failed.set(key, Date.now());
      this.onTrouble(`A part of the image could not be loaded: ${error.message}.`);
      setTimeout(() => this.onLoad(), AGAIN_MS + 50);
    }
    this.flying.delete(key);
    this.onLoad();
    this.pump();
  }

  keep(key, tile) {
    this.kept.set(key, tile);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(old);
    }
  }

  // Code of one pixel of the finest level; undefined while its tile is on its way, null outside.
  codeAt(source, x, y) {
    const [ny, nx] = source.levels[0].shape;
    if (x < 0 || y < 0 || x >= nx || y >= ny) return null;
    const [row, column] = [Math.floor(y / this.side), Math.floor(x / this.side)];
    const tile = this.peek(source, 0, row, column);
    return tile?.codes[(y - row * this.side) * tile.width + (x - column * this.side)];
  }
}
