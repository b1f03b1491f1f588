// Codes to values to colours. There are only 65536 codes, so every step is a table.
const CODES = 65536;
// Brightness, in units of the range, where asinh turns from linear to logarithmic.
const ASINH = 0.1;

let sinh = null;

function sinhTable(softening) {
  if (!sinh) {
    sinh = new Float64Array(CODES);
    for (let code = 0; code < CODES; code += 1) {
      const level = (code >> 1) ^ -(code & 1);
      sinh[code] = softening * Math.sinh(level / softening);
    }
  }
  return sinh;
}

export function valueOf(code, step, state) {
  return code === state.missing ? NaN : step * sinhTable(state.softening)[code];
}

// What filter: invert(1) hue-rotate(180deg) makes of a colour: light becomes dark, red stays red.
function atNight([r, g, b]) {
  const [x, y, z] = [255 - r, 255 - g, 255 - b];
  return [
    -0.574 * x + 1.43 * y + 0.144 * z,
    0.426 * x + 0.43 * y + 0.144 * z,
    0.426 * x + 1.43 * y - 0.856 * z,
  ].map((part) => Math.min(255, Math.max(0, part)));
}

// 256 packed RGBA colours between the anchors of a map.
export function ramp(anchors, { isInverted, isNight }) {
  const isDiverging = anchors.length > 2 && anchors[0][2] > anchors[0][0] && anchors.at(-1)[0] > anchors.at(-1)[2];
  let colours = anchors;
  if (isDiverging && isInverted !== isNight) colours = anchors.map(atNight);
  else if (!isDiverging && isInverted) colours = [...anchors].reverse();
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i += 1) {
    const at = (i / 255) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(at));
    const [r, g, b] = [0, 1, 2].map((k) => Math.round(colours[low][k] + (at - low) * (colours[low + 1][k] - colours[low][k])));
    table[i] = pack(r, g, b, 255);
  }
  return table;
}

export const pack = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

export function transfer(value, [low, high], { stretch, isSigned }) {
  const unit = (value - low) / (high - low);
  if (stretch !== "asinh") return unit;
  if (!isSigned) return Math.asinh(Math.max(0, unit) / ASINH) / Math.asinh(1 / ASINH);
  return 0.5 + (0.5 * Math.asinh((2 * unit - 1) / ASINH)) / Math.asinh(1 / ASINH);
}

// Colour of every code of one layer at one level of the pyramid.
export function colourTable(layer, step, state, { stretch, isInverted, appearance }) {
  // red light shows brightness alone, so two colours that are equally bright would be one
  const colours = appearance === "red" ? "gray" : layer.colours;
  const shades = ramp(state.colours[colours], { isInverted, isNight: appearance === "dark" });
  const values = sinhTable(state.softening);
  const limits = layer.limits[stretch];
  const rule = { stretch, isSigned: layer.isSigned };
  const table = new Uint32Array(CODES);
  for (let code = 0; code < CODES; code += 1) {
    const unit = Math.min(1, Math.max(0, transfer(step * values[code], limits, rule)));
    table[code] = shades[Math.round(255 * unit)];
  }
  table[state.missing] = pack(...state.missingColour, 255);
  return table;
}

// Colour of every value of the mask: that of its lowest plane that is shown.
export function maskTable(planes, shown) {
  const table = new Uint32Array(CODES);
  for (const plane of [...planes].reverse()) {
    if (!(shown & plane.bit)) continue;
    const colour = pack(...plane.colour, 190);
    for (let value = 0; value < CODES; value += 1) if (value & plane.bit) table[value] = colour;
  }
  return table;
}
