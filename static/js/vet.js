// Vetting by keyboard: digits decide and advance at once, the next candidates wait ready.
import { Outbox } from "./outbox.js";

const AHEAD = 5;
// Shorter than anybody looks, longer than a key bounces.
const LOOK_MS = 120;
const REASONS = ["dipole", "wing", "cosmic_ray", "hot_pixel", "trail", "edge", "bad_reference", "ghost"];
const LABELS = ["real", "bogus", "unsure", "variable", "moving"];

const page = document.querySelector("[data-vet]");
const stage = page.querySelector("[data-stage]");
const form = page.querySelector("[data-decide]");
const undoForm = page.querySelector("[data-undo]");
const keyCard = page.querySelector("[data-key-card]");
const blinkButton = page.querySelector("[data-blink]");
const announcer = document.querySelector("[data-announce]");
const messages = document.querySelector(".messages");
const url = page.dataset;
// The queue may be narrowed to one survey; every step stays in it.
const narrowed = url.survey ? { survey: url.survey } : {};
const kept = url.survey ? `?${new URLSearchParams(narrowed)}` : "";

const waiting = [];
const decided = [];
let current = stage.querySelector("[data-candidate]");
let since = performance.now();
let count = Number(page.querySelector("[data-tally]").dataset.decided);
let left = Number(page.querySelector("[data-tally]").dataset.waiting);
let loading = null;
let blinkTimer = 0;
let isDone = false;
let isPainted = false;
const stretches = () => [...page.querySelectorAll("[data-stretch]")].map((link) => link.dataset.stretch);

let picture = {
  stretch: new URLSearchParams(location.search).get("stretch") ?? sessionStorage.getItem("astrid-stretch") ?? "zscale",
  isInverted: sessionStorage.getItem("astrid-invert") === "1",
};

const say = (text) => { announcer.textContent = text; };

function warn(text, address) {
  const line = document.createElement("p");
  line.className = "message error";
  line.textContent = text;
  if (address) {
    const link = document.createElement("a");
    link.href = address;
    link.textContent = " Log in";
    line.append(link);
  }
  messages.replaceChildren(line);
}

const outbox = new Outbox({
  name: `astrid-outbox-${url.user}`,
  token: undoForm.elements.csrfmiddlewaretoken.value,
  onChange: (size) => {
    page.querySelector("[data-outbox]").textContent = size > 1 ? `· ${size} being sent` : "";
    if (!size && isDone) finish();
  },
  onRefused: (reason, fields) => warn(`Not recorded (${fields.label ?? "undo"}): ${reason}`),
  onLoggedOut: () => warn("You were logged out. Your decisions are kept in this browser.", `/account/login/?next=${encodeURIComponent(url.vetUrl + kept)}`),
});

// --- pictures
function address(image) {
  return `${image.dataset.strip}?stretch=${picture.stretch}${picture.isInverted ? "&invert=1" : ""}`;
}

function dress(card) {
  for (const image of card.querySelectorAll("image[data-strip]")) image.setAttribute("href", address(image));
}

function preload(card) {
  const image = card.querySelector("image[data-strip]");
  if (image) new Image().src = address(image);
}

function setPicture(change) {
  picture = { ...picture, ...change };
  sessionStorage.setItem("astrid-stretch", picture.stretch);
  sessionStorage.setItem("astrid-invert", picture.isInverted ? "1" : "0");
  for (const link of page.querySelectorAll("[data-stretch]")) {
    if (link.dataset.stretch === picture.stretch) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (form) form.elements.stretch.value = picture.stretch;
  if (current) dress(current);
  waiting.forEach((card) => { dress(card); preload(card); });
}

function nextStretch() {
  if (!current) return;
  const names = stretches();
  setPicture({ stretch: names[(names.indexOf(picture.stretch) + 1) % names.length] });
  say(`Stretch ${picture.stretch}`);
}

function showReference(isShown) {
  const panel = current?.querySelector('[data-panel="science"]');
  if (!panel) return;
  panel.querySelector("[data-window]").setAttribute("viewBox", isShown ? "63 0 63 63" : "0 0 63 63");
  const label = panel.closest("figure").querySelector("[data-panel-label]");
  label.textContent = isShown ? "Reference" : "Science";
}

function setBlinking(isOn) {
  clearInterval(blinkTimer);
  blinkButton.setAttribute("aria-pressed", String(isOn));
  let isReference = false;
  showReference(false);
  if (isOn) blinkTimer = setInterval(() => { isReference = !isReference; showReference(isReference); }, 500);
}

// --- nobody decides what was not seen: a key that bounces or a double click comes too early
function awaitPaint() {
  const card = current;
  since = performance.now();
  isPainted = false;
  requestAnimationFrame(() => requestAnimationFrame(() => { if (current === card) isPainted = true; }));
}

const isSeen = () => isPainted && performance.now() - since >= LOOK_MS;

// --- cards
function parse(html) {
  return [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("[data-candidate]")]
    .map((card) => document.adoptNode(card));
}

function fill() {
  if (loading || waiting.length >= AHEAD) return loading;
  const held = [current, ...waiting].filter(Boolean).map((card) => card.dataset.candidate);
  const query = new URLSearchParams({ ...narrowed, limit: AHEAD, exclude: [...held, ...outbox.ids()].join(",") });
  loading = fetch(`${url.queueUrl}?${query}`, { redirect: "error" })
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(String(answer.status)))))
    .then((html) => {
      const busy = new Set([current?.dataset.candidate, ...waiting.map((c) => c.dataset.candidate), ...outbox.ids()]);
      const fresh = parse(html).filter((card) => !busy.has(card.dataset.candidate));
      for (const card of fresh) { dress(card); preload(card); waiting.push(card); }
      return true;
    })
    .catch(() => false)
    .finally(() => { loading = null; });
  return loading;
}

function show(card) {
  setBlinking(false);
  current = card;
  dress(card);
  stage.replaceChildren(card);
  awaitPaint();
  form.hidden = false;
  form.elements.detection.value = card.dataset.candidate;
  form.elements.reason.value = "";
  form.elements.comment.value = "";
}

async function advance() {
  if (!waiting.length) {
    stage.setAttribute("aria-busy", "true");
    const isLoaded = await fill();
    stage.removeAttribute("aria-busy");
    if (isLoaded === false) warn("The next candidates could not be loaded. Your decisions are kept; reload to go on.");
  }
  const next = waiting.shift();
  if (next) show(next);
  else {
    isDone = true;
    form.hidden = true;
    stage.replaceChildren();
    if (!outbox.size) finish();
  }
  fill();
}

function finish() {
  location.assign(url.vetUrl + kept);
}

// --- decisions
async function decide(label, reason = "") {
  if (!current || !isSeen()) return;
  const card = current;
  const fields = {
    detection: card.dataset.candidate,
    label,
    reason: label === "bogus" ? reason : "",
    comment: form.elements.comment.value,
    seconds: ((performance.now() - since) / 1000).toFixed(2),
  };
  decided.push(card);
  count += 1;
  left = Math.max(0, left - 1);
  current = null;
  outbox.add(url.decideUrl, fields);
  await advance();
  tick();
  say(`${label}${reason ? `, ${reason.replace("_", " ")}` : ""}. ${current ? `Next: ${current.dataset.words}` : "Nothing else waits."}`);
}

async function undo() {
  const card = decided.pop();
  if (!card) return undoOnServer();
  if (current) waiting.unshift(current);
  outbox.add(url.undoUrl, { detection: card.dataset.candidate });
  show(card);
  count = Math.max(0, count - 1);
  left += 1;
  tick();
  say(`Taken back: ${card.dataset.words}`);
}

async function undoOnServer() {
  const answer = await fetch(url.undoUrl, {
    method: "POST",
    headers: { Accept: "application/json", "X-CSRFToken": outbox.token },
  }).catch(() => null);
  if (!answer) return warn("The server could not be reached; nothing was undone.");
  const said = await answer.json().catch(() => ({ error: "You were logged out." }));
  if (!answer.ok) return say(said.error);
  location.assign(`${url.vetUrl}${said.detection}/${kept}`);
}

function tick() {
  page.querySelector("[data-decided-count]").textContent = String(count);
  page.querySelector("[data-waiting-count]").textContent = String(left);
  const seconds = Math.floor((performance.now() - since) / 1000);
  page.querySelector("[data-clock]").textContent = current ? `· this one ${seconds} s` : "";
}

// --- the end of the queue: live.js tells when something was found
async function lookAgain() {
  const query = new URLSearchParams({ ...narrowed, limit: 1, exclude: outbox.ids().join(",") });
  const answer = await fetch(`${url.queueUrl}?${query}`, { redirect: "error" }).catch(() => null);
  if (answer?.ok && parse(await answer.text()).length) finish();
}

stage.querySelector("[data-done]")?.addEventListener("astrid:refresh", lookAgain);

// --- keys
const isWriting = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;

const keys = {
  u: undo,
  s: nextStretch,
  i: () => setPicture({ isInverted: !picture.isInverted }),
  b: () => showReference(true),
  c: () => form?.elements.comment.focus(),
  "?": () => keyCard.showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isWriting(event.target)) return event.target.blur();
  // a held Enter would press the button that has the focus again and again
  if (event.repeat && event.key === "Enter" && event.target.closest("button")) event.preventDefault();
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return undefined;
  if (isWriting(event.target) || keyCard.open) return undefined;
  const digit = /^(?:Digit|Numpad)([1-8])$/.exec(event.code);
  const act = digit && form ? digitAct(Number(digit[1]), event.shiftKey) : keys[event.key];
  if (!act) return undefined;
  event.preventDefault();
  return act();
});

function digitAct(digit, isShifted) {
  if (isShifted) return () => decide("bogus", REASONS[digit - 1]);
  return digit <= LABELS.length ? () => decide(LABELS[digit - 1]) : null;
}

document.addEventListener("keyup", (event) => { if (event.key === "b") showReference(false); });

// --- the same by pointer
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  decide(event.submitter.value, form.elements.reason.value);
});
undoForm.addEventListener("submit", (event) => { event.preventDefault(); undo(); });
page.addEventListener("click", (event) => {
  const link = event.target.closest("[data-stretch]");
  if (link) { event.preventDefault(); setPicture({ stretch: link.dataset.stretch }); }
  if (event.target.closest("[data-keys]")) keyCard.showModal();
  if (event.target.closest("[data-blink]")) setBlinking(blinkButton.getAttribute("aria-pressed") !== "true");
});

const surveyChoice = page.querySelector("[data-survey-choice]");
surveyChoice?.querySelector("button").remove();
surveyChoice?.addEventListener("change", () => {
  surveyChoice.elements.stretch.value = picture.stretch;
  surveyChoice.requestSubmit();
});

for (const element of page.querySelectorAll(".needs-js")) element.hidden = false;
if (current) {
  awaitPaint();
  setPicture(stretches().includes(picture.stretch) ? {} : { stretch: stretches()[0] });
  setInterval(tick, 1000);
  fill();
}
outbox.send();
