// Fingers, mouse, wheel and keys, as what they mean.
const STILL_PX = 4;

export function listenToPointer(stage, blinkButton, actions) {
  const down = new Map();
  let travelled = 0;
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...down.values()];
    return { size: Math.hypot(ax - bx, ay - by), x: (ax + bx) / 2, y: (ay + by) / 2 };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    down.set(event.pointerId, place(event));
    if (down.size === 1) travelled = 0;
    stage.querySelector("canvas").focus({ preventScroll: true });
    actions.point(...place(event), event.pointerType !== "mouse");
  });
  stage.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      actions.point(...now, event.pointerType !== "mouse");
      return;
    }
    const pair = down.size === 2 ? spread() : null;
    down.set(event.pointerId, now);
    travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    // captured only now: a link under a finger that stays still is still a link
    if (travelled > STILL_PX && !stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
    if (pair) {
      const after = spread();
      actions.drag(after.x - pair.x, after.y - pair.y);
      if (pair.size > 0) actions.zoomAt(after.size / pair.size, after.x, after.y);
    } else {
      actions.drag(now[0] - before[0], now[1] - before[1]);
      actions.point(...now, event.pointerType !== "mouse");
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => down.delete(event.pointerId));
  stage.addEventListener("click", (event) => { if (travelled > STILL_PX) event.preventDefault(); }, true);
  // a link that is pressed would take the focus from the frame
  stage.addEventListener("mousedown", (event) => event.preventDefault());
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    actions.zoomAt(Math.exp(-Math.min(300, Math.max(-300, event.deltaY * lines)) / 400), ...place(event));
  }, { passive: false });

  blinkButton.addEventListener("pointerdown", () => actions.blink(true));
  for (const kind of ["pointerup", "pointercancel", "pointerleave", "blur"]) blinkButton.addEventListener(kind, () => actions.blink(false));
  blinkButton.addEventListener("keydown", (event) => { if (" Enter".includes(event.key)) actions.blink(true); });
  blinkButton.addEventListener("keyup", () => actions.blink(false));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export function listenToKeys(canvas, actions) {
  const anywhere = {
    "+": () => actions.zoom("in"),
    "=": () => actions.zoom("in"),
    "-": () => actions.zoom("out"),
    0: () => actions.zoom("fit"),
    z: () => actions.zoom("one"),
    b: () => actions.blink(true),
    s: () => actions.nextStretch(),
    i: () => actions.invert(),
    m: () => actions.togglePlanes(),
    c: () => actions.toggleMarks(),
    n: () => actions.goTo(1),
    p: () => actions.goTo(-1),
    "?": () => { const keys = document.querySelector(".viewer-keys"); keys.open = !keys.open; keys.scrollIntoView({ block: "nearest" }); },
  };
  const isWriting = (target) => target.closest?.("select, textarea, input:not([type=checkbox]):not([type=radio])");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
    const isOnCanvas = event.target === canvas;
    if (isOnCanvas && event.key in ARROWS) actions.pan(...ARROWS[event.key], event.shiftKey);
    else if (isOnCanvas && event.key === "Enter") actions.openMark();
    else if (event.key in anywhere) anywhere[event.key]();
    else if (/^[1-9]$/.test(event.key)) actions.layer(Number(event.key));
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") actions.blink(false); });
  addEventListener("blur", () => actions.blink(false));
}
