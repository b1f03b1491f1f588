// What lies over the pixels: the candidate's place, scale, compass, the window of the network.
const NETWORK_SIDE = 63;
const BARS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
const BARS_PIX = [1, 2, 5, 10, 20, 50, 100, 200];
const HALO = "rgb(0 0 0 / 65%)";
const LINE = "#ffd166";

// Draw lines twice: a dark halo below, so that they are seen on white and on black.
function twice(brush, dpr, draw, { width = 1.5, dash = [] } = {}) {
  for (const [colour, extra] of [[HALO, 2], [LINE, 0]]) {
    brush.strokeStyle = colour;
    brush.lineWidth = (width + extra) * dpr;
    brush.setLineDash(dash.map((part) => part * dpr));
    brush.beginPath();
    draw();
    brush.stroke();
  }
  brush.setLineDash([]);
}

function write(brush, dpr, text, { x, y, align = "left" }) {
  brush.font = `600 ${12 * dpr}px system-ui, sans-serif`;
  brush.textAlign = align;
  brush.lineJoin = "round";
  brush.strokeStyle = HALO;
  brush.lineWidth = 3 * dpr;
  brush.strokeText(text, x, y);
  brush.fillStyle = LINE;
  brush.fillText(text, x, y);
}

// Two ticks beside the candidate, never over it.
export function drawTicks(brush, view, x, y) {
  const [left, top] = view.toCanvas(x, y);
  const [gap, size] = [0.055 * view.width + 4 * view.dpr, 0.06 * view.width];
  twice(brush, view.dpr, () => {
    brush.moveTo(left - gap, top);
    brush.lineTo(left - gap - size, top);
    brush.moveTo(left, top - gap);
    brush.lineTo(left, top - gap - size);
  });
}

// A square of the frame around the middle, turned as the pixels are.
export function drawOutline(brush, view, side, dash) {
  const half = side / 2;
  const [x, y] = view.middle;
  const corners = [[-half, -half], [half, -half], [half, half], [-half, half]].map(([dx, dy]) => view.toCanvas(x + dx, y + dy));
  twice(brush, view.dpr, () => {
    corners.forEach((corner, i) => (i ? brush.lineTo(...corner) : brush.moveTo(...corner)));
    brush.closePath();
  }, { width: 1, dash });
}

export const drawWindow = (brush, view) => drawOutline(brush, view, NETWORK_SIDE, [3, 3]);

export function drawBar(brush, view, arcsecPerPixel) {
  const pixels = view.width / view.scale;
  const unit = arcsecPerPixel || 1;
  const fitting = (arcsecPerPixel ? BARS : BARS_PIX).filter((bar) => bar <= 0.34 * pixels * unit);
  const bar = fitting.at(-1) ?? (arcsecPerPixel ? BARS[0] : BARS_PIX[0]);
  const [x, y] = [8 * view.dpr, view.width - 9 * view.dpr];
  twice(brush, view.dpr, () => {
    brush.moveTo(x, y);
    brush.lineTo(x + (bar / unit) * view.scale, y);
  }, { width: 2 });
  write(brush, view.dpr, barLabel(bar, arcsecPerPixel), { x, y: y - 5 * view.dpr });
}

function barLabel(bar, isSky) {
  if (!isSky) return `${bar} pix`;
  return bar >= 60 ? `${bar / 60}′` : `${bar}″`;
}

// North up and east left, or the axes of the detector where the frame has no place on the sky.
export function drawCompass(brush, view, isNorthUp) {
  const size = 22 * view.dpr;
  const x = isNorthUp ? view.width - 14 * view.dpr : view.width - 38 * view.dpr;
  const y = 40 * view.dpr;
  const across = isNorthUp ? -size : size;
  twice(brush, view.dpr, () => {
    for (const [dx, dy] of [[0, -size], [across, 0]]) {
      brush.moveTo(x, y);
      brush.lineTo(x + dx, y + dy);
    }
  });
  write(brush, view.dpr, isNorthUp ? "N" : "y", { x, y: y - size - 4 * view.dpr, align: "center" });
  write(brush, view.dpr, isNorthUp ? "E" : "x", { x: x + across * 1.3, y: y + 4 * view.dpr, align: "center" });
}

// The pixel that is read, at least large enough to be seen.
export function drawCursor(brush, view, { x, y }, grain) {
  const [left, top] = view.toCanvas(x, y);
  const half = Math.max((grain * view.scale) / 2, 3 * view.dpr);
  brush.strokeStyle = HALO;
  brush.lineWidth = 3 * view.dpr;
  brush.strokeRect(left - half, top - half, 2 * half, 2 * half);
  brush.strokeStyle = "#ffffff";
  brush.lineWidth = view.dpr;
  brush.strokeRect(left - half, top - half, 2 * half, 2 * half);
}
