// Pixel to sky: standard coordinates interpolated between the nodes of a table, then the
// gnomonic projection inverted. The server made the table and knows how exact it is.
const DEGREES = 180 / Math.PI;

export class Sky {
  constructor(grid) {
    Object.assign(this, grid);
    this.sin0 = Math.sin(grid.dec / DEGREES);
    this.cos0 = Math.cos(grid.dec / DEGREES);
  }

  plane(x, y) {
    const [ny, nx] = this.shape;
    const [i, u] = this.cell(x, nx);
    const [j, v] = this.cell(y, ny);
    const mix = (table) =>
      (1 - v) * ((1 - u) * table[j][i] + u * table[j][i + 1])
      + v * ((1 - u) * table[j + 1][i] + u * table[j + 1][i + 1]);
    return [mix(this.xi), mix(this.eta)];
  }

  cell(position, side) {
    const last = this.xi.length - 2;
    const at = ((position + 0.5) / side) * (last + 1);
    const cell = Math.min(last, Math.max(0, Math.floor(at)));
    return [cell, at - cell];
  }

  // Degrees of a 0-based pixel position.
  at(x, y) {
    const [xi, eta] = this.plane(x, y);
    const down = this.cos0 - eta * this.sin0;
    const turn = Math.atan2(xi, down) * DEGREES;
    const dec = Math.atan2(this.sin0 + eta * this.cos0, Math.hypot(xi, down)) * DEGREES;
    return { ra: (this.ra + turn + 720) % 360, dec };
  }

  // Arcseconds a pixel at the middle of the frame.
  scale() {
    const [ny, nx] = this.shape;
    const [a, b] = [this.plane(nx / 2, ny / 2), this.plane(nx / 2 + 1, ny / 2)];
    return Math.hypot(b[0] - a[0], b[1] - a[1]) * DEGREES * 3600;
  }
}

// Truncated like the server's: a position in a name must not move to the next minute.
function sexagesimal(value, decimals) {
  const ticks = Math.floor(value * 3600 * 10 ** decimals + 1e-6);
  const minute = 60 * 10 ** decimals;
  const pad = (number, width) => String(number).padStart(width, "0");
  const seconds = ticks % minute;
  const fraction = pad(seconds % 10 ** decimals, decimals);
  const whole = pad(Math.floor(seconds / 10 ** decimals), 2);
  return `${pad(Math.floor(ticks / (60 * minute)), 2)}:${pad(Math.floor(ticks / minute) % 60, 2)}:${whole}.${fraction}`;
}

export const hms = (ra) => sexagesimal((((ra % 360) + 360) % 360) / 15, 2);
export const dms = (dec) => (dec < 0 ? "-" : "+") + sexagesimal(Math.abs(dec), 1);
