// The numbers under the cursor, in every picture at once, and where on the sky it is.
const PANELS = { science: "noise", template: "template-noise", difference: "difference-noise", score: null };
const NAMES = { science: "science", template: "reference", difference: "difference", score: "score" };

function number(value) {
  if (!Number.isFinite(value)) return "no value";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

const sigmas = (ratio) => `${ratio.toFixed(1).replace("-", "−")} σ`;

// One plane at the cursor: its value, and how many times its noise that is.
function valueAt(packet, name, { x, y }) {
  const value = packet.at(name, x, y);
  if (value === undefined) return null;
  if (name === "score") return Number.isFinite(value) ? sigmas(value) : number(value);
  const noise = packet.at(PANELS[name], x, y);
  return noise > 0 && Number.isFinite(value) ? `${number(value)} (${sigmas(value / noise)})` : number(value);
}

// Where the cursor is against the candidate: east and north where the frame has a place on the sky.
function offset(place, { x, y }) {
  const [a, b, c, d] = place.turn;
  const [u, v] = [x - place.x, place.y - y];
  const [right, down] = [a * u + c * v, b * u + d * v];
  if (!place.isNorthUp) return `${Math.hypot(right, down).toFixed(1)} pix from it`;
  const [east, north] = [-right * place.scale, -down * place.scale];
  return `${Math.abs(east).toFixed(1)}″ ${east >= 0 ? "E" : "W"} ${Math.abs(north).toFixed(1)}″ ${north >= 0 ? "N" : "S"} of it`;
}

function maskWords(packet, planes, { x, y }) {
  const bits = ["mask", "frame-mask"].reduce((sum, name) => sum | (packet.at(name, x, y) ?? 0), 0);
  return planes.filter((plane) => bits & plane.bit).map((plane) => plane.label).join(", ");
}

// All of it as one line; an empty text without a cursor.
export function readout({ packet, cursor, place, planes }) {
  if (!packet || !cursor) return "";
  const values = Object.keys(PANELS)
    .map((name) => [NAMES[name], valueAt(packet, name, cursor)])
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${value}`);
  const masked = maskWords(packet, planes, cursor);
  const where = `x ${cursor.x} y ${cursor.y}, ${offset(place, cursor)}`;
  return [where, ...values, masked && `masked: ${masked}`].filter(Boolean).join(" · ");
}
