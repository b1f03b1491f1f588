// Values to colours. One stretch for science image, reference and difference: equal steps of
// brightness are equal counts in all three. Ratios to the noise have one scale for ever.
import { pack, ramp, transfer } from "../viewer/colours.js";

// Where the colours of a ratio step [sigma], and how far from the middle colour each part reaches.
const STEPS = [[3, 0, 0.14], [5, 0.24, 0.32], [10, 0.38, 0.46]];
// Side of a pixel that has no value, drawn as a cross on the colour of missing pixels.
const CROSS = 5;

function unitOfRatio(ratio) {
  const size = Math.abs(ratio);
  let least = 0;
  for (const [limit, from, to] of STEPS) {
    if (size < limit) return 0.5 + Math.sign(ratio) * (from + ((to - from) * (size - least)) / (limit - least));
    least = limit;
  }
  return ratio > 0 ? 1 : 0;
}

function unitOf(square, limits, stretch) {
  if (square.unit === "sigma") return unitOfRatio;
  if (square.name !== "difference") return (value) => transfer(value, limits, { stretch, isSigned: false });
  const reach = (limits[1] - limits[0]) / 2;
  return (value) => transfer(value, [-reach, reach], { stretch, isSigned: true });
}

// 256 colours of a square as it is looked at now.
function shadesOf(square, look, colours) {
  const isRatio = square.unit === "sigma" && look.appearance !== "red";
  return ramp(colours[isRatio ? "diverging" : "gray"], {
    isInverted: look.isInverted,
    isNight: look.appearance === "dark",
  });
}

// A square as a small canvas with its first row at the bottom; pixels without a value are crossed.
export function drawSquare(square, limits, { look, colours, missing }) {
  const { side, values } = square;
  const grain = values.some(Number.isNaN) ? CROSS : 1;
  const shades = shadesOf(square, look, colours);
  const unit = unitOf(square, limits, look.stretch);
  const isFixed = square.unit === "sigma";
  const pixels = new Uint32Array((side * grain) ** 2);
  for (let row = 0; row < side; row += 1) {
    for (let column = 0; column < side; column += 1) {
      const value = values[(side - 1 - row) * side + column];
      if (Number.isNaN(value)) {
        fillMissing(pixels, [row, column], { side, grain, missing });
        continue;
      }
      const raw = unit(value);
      const level = isFixed ? raw : (raw - look.bias) * look.contrast + 0.5;
      const colour = shades[Math.round(255 * Math.min(1, Math.max(0, level)))];
      fill(pixels, [row, column], { side, grain, colour });
    }
  }
  return toCanvas(pixels, side * grain);
}

function fill(pixels, [row, column], { side, grain, colour }) {
  for (let j = 0; j < grain; j += 1) {
    const start = (row * grain + j) * side * grain + column * grain;
    pixels.fill(colour, start, start + grain);
  }
}

function fillMissing(pixels, place, { side, grain, missing }) {
  fill(pixels, place, { side, grain, colour: pack(...missing, 255) });
  const [row, column] = place;
  for (let j = 0; j < grain; j += 1) {
    const start = (row * grain + j) * side * grain + column * grain;
    for (const i of [j, grain - 1 - j]) pixels[start + i] = pack(20, 0, 12, 255);
  }
}

// The masked pixels of a square in the colour of their lowest plane, translucent.
export function drawMask(square, planes) {
  const { side, values } = square;
  const pixels = new Uint32Array(side ** 2);
  for (let row = 0; row < side; row += 1) {
    for (let column = 0; column < side; column += 1) {
      const bits = values[(side - 1 - row) * side + column];
      const plane = bits ? planes.find((one) => bits & one.bit) : null;
      if (plane) pixels[row * side + column] = pack(...plane.colour, 150);
    }
  }
  return toCanvas(pixels, side);
}

function toCanvas(pixels, side) {
  const canvas = new OffscreenCanvas(side, side);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), side, side), 0, 0);
  return canvas;
}
