// Mouse, finger and wheel over the pictures, as what they mean.
const STILL_PX = 4;

export function listenToPictures(stage, pictures, { onPoint }) {
  let before = null;
  let isDragging = false;
  const canvasOf = (event) => event.target.closest?.("[data-pictures] canvas");
  const point = (event, canvas) => {
    const view = pictures.views.get(canvas.dataset.panel);
    if (!view || !pictures.packet) return;
    const box = canvas.getBoundingClientRect();
    pictures.point(view.toFrame(event.clientX - box.left, event.clientY - box.top));
    onPoint();
  };

  stage.addEventListener("pointerdown", (event) => {
    const canvas = canvasOf(event);
    if (!canvas || event.button > 0) return;
    before = { x: event.clientX, y: event.clientY };
    isDragging = false;
    point(event, canvas);
  });
  stage.addEventListener("pointermove", (event) => {
    const canvas = canvasOf(event);
    if (!before) {
      if (canvas) point(event, canvas);
      return;
    }
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
    if (!isDragging && Math.hypot(dx, dy) < STILL_PX) return;
    if (!isDragging) event.target.setPointerCapture?.(event.pointerId);
    isDragging = true;
    before = { x: event.clientX, y: event.clientY };
    // a finger that moves down scrolls the page
    pictures.drag(dx, event.pointerType === "touch" ? 0 : dy);
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, () => { before = null; });
  stage.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "touch" || !pictures.packet) return;
    pictures.point(null);
    onPoint();
  });
  stage.addEventListener("dblclick", (event) => { if (canvasOf(event)) pictures.reset(); });
  stage.addEventListener("wheel", (event) => {
    if (!canvasOf(event) || event.ctrlKey) return;
    event.preventDefault();
    if (event.deltaY) pictures.zoomBy(event.deltaY < 0 ? 1 : -1);
  }, { passive: false });
}
