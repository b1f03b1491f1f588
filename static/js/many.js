// Many candidates on one page: arrows move, Space pulls out, Enter calls the rest bogus.
const form = document.querySelector("[data-many]");
const boxes = form ? [...form.querySelectorAll('input[type="checkbox"]')] : [];
const announcer = document.querySelector("[data-announce]");
const tabs = form ? [...form.querySelectorAll("[data-panel]")] : [];
// Shorter than anybody looks: a held Enter calls nothing bogus that was not seen.
const LOOK_MS = 400;
let shownAt = Infinity;
let isSent = false;

function columns() {
  return getComputedStyle(form.querySelector(".tiles")).gridTemplateColumns.split(" ").length;
}

function tell() {
  const kept = boxes.filter((box) => box.checked).length;
  form.querySelector("[data-n-rest]").textContent = String(boxes.length - kept);
}

function move(step) {
  const place = boxes.indexOf(document.activeElement);
  const next = place < 0 ? 0 : Math.min(boxes.length - 1, Math.max(0, place + step));
  boxes[next].focus({ focusVisible: true });
}

function show(tab) {
  for (const one of tabs) one.toggleAttribute("aria-current", false);
  tab.setAttribute("aria-current", "true");
  for (const window of form.querySelectorAll("[data-window]")) window.setAttribute("viewBox", `${tab.dataset.panel} 0 63 63`);
  announcer.textContent = `${tab.textContent} shown`;
}

const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns(), ArrowDown: () => columns() };

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, a, button")) return;
  if (event.key in STEPS) {
    event.preventDefault();
    move(STEPS[event.key]());
  } else if (event.key === "Enter") {
    event.preventDefault();
    if (!event.repeat) form.requestSubmit();
  } else if (/^[1-4]$/.test(event.key) && tabs[event.key - 1]) show(tabs[event.key - 1]);
}

// Nobody decides what was not seen: all pictures must be there.
async function whenSeen() {
  const pictures = [...form.querySelectorAll("image")].map((image) => image.href.baseVal);
  await Promise.all(pictures.map((address) => {
    const picture = new Image();
    picture.src = address;
    return picture.decode().catch(() => {});
  }));
  requestAnimationFrame(() => requestAnimationFrame(() => {
    shownAt = performance.now();
    form.dataset.painted = "";
  }));
}

if (form) {
  for (const element of form.querySelectorAll(".needs-js")) element.hidden = false;
  document.addEventListener("keydown", onKey);
  form.addEventListener("change", tell);
  form.addEventListener("click", (event) => {
    const tab = event.target.closest("[data-panel]");
    if (tab) { event.preventDefault(); show(tab); }
  });
  form.addEventListener("submit", (event) => {
    if (isSent || performance.now() - shownAt < LOOK_MS) event.preventDefault();
    else isSent = true;
  });
  whenSeen();
}
