// Says what the light-curve point under the pointer, or with the focus, is.
function tell(event) {
  const mark = event.target.closest?.("[data-mark]");
  if (!mark) return;
  const note = mark.closest("figure")?.querySelector("[data-chart-note]");
  if (note) note.textContent = mark.getAttribute("aria-label");
}

document.addEventListener("pointerover", tell);
document.addEventListener("focusin", tell);
