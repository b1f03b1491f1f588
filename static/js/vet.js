// Vetting by keyboard: digits decide and advance at once, the next candidates wait ready.
import { onAppearance } from "./night.js";
import { Outbox } from "./outbox.js";
import { PacketStore } from "./vet/packets.js";
import { Pictures } from "./vet/pictures.js";
import { listenToPictures } from "./vet/pointer.js";
import { Presence } from "./vet/presence.js";
import { Queue } from "./vet/queue.js";
import { readout } from "./vet/readout.js";

// Shorter than anybody looks, longer than a key bounces.
const LOOK_MS = 120;
// Cards of so many decisions are kept for undo; older ones are asked for again.
const KEPT_CARDS = 50;

const page = document.querySelector("[data-vet]");
const stage = page.querySelector("[data-stage]");
const form = page.querySelector("[data-decide]");
const undoForm = page.querySelector("[data-undo]");
const later = page.querySelector("[data-later]");
const keyCard = page.querySelector("[data-key-card]");
const announcer = document.querySelector("[data-announce]");
const messages = document.querySelector(".messages");
const url = page.dataset;
const labels = [...page.querySelectorAll("[data-answer]")].map((button) => button.value);
const reasons = [...page.querySelectorAll("[data-reason]")].map((option) => ({ value: option.value, letter: option.dataset.reason }));
// The queue may be narrowed to one survey; every step stays in it.
const narrowed = url.survey ? { survey: url.survey } : {};
const kept = url.survey ? `?${new URLSearchParams(narrowed)}` : "";

const decided = [];
let current = stage.querySelector("[data-candidate]");
let since = performance.now();
let count = Number(page.querySelector("[data-tally]").dataset.decided);
let left = Number(page.querySelector("[data-tally]").dataset.waiting);
let blinkTimer = 0;
let isDone = false;
let isPainted = false;
const stretches = () => [...page.querySelectorAll("[data-stretch]")].map((link) => link.dataset.stretch);

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

const look = JSON.parse(url.look);
const store = new PacketStore(look.codes);
const pictures = new Pictures({ store, ...look });
const queue = new Queue({
  address: url.queueUrl,
  narrowed,
  store,
  onPixels: (packet) => pictures.warm(packet),
  onHeard: (at) => { presence.at = at; },
  busy: () => [...(current ? [current.dataset.candidate] : []), ...outbox.ids()],
});

const presence = new Presence({
  address: url.presenceUrl,
  leaveAddress: url.leaveUrl,
  token: outbox.token,
  page: () => ({
    showing: current?.dataset.candidate ?? "",
    held: queue.cards.map((card) => card.dataset.candidate).join(","),
  }),
  onPeople({ people, here }) {
    const also = people.length ? `· with ${people.join(", ")}` : "";
    page.querySelector("[data-people]").textContent = here.length ? `${also} (${here.join(", ")} at this one)` : also;
  },
});

// --- pictures
function setLook(change) {
  pictures.set(change);
  sessionStorage.setItem("astrid-stretch", pictures.look.stretch);
  sessionStorage.setItem("astrid-invert", pictures.look.isInverted ? "1" : "0");
  for (const link of page.querySelectorAll("[data-stretch]")) {
    if (link.dataset.stretch === pictures.look.stretch) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  press("invert", pictures.look.isInverted);
  if (form) form.elements.stretch.value = pictures.look.stretch;
}

function setStretch(stretch) {
  setLook({ stretch });
  say(`Stretch ${stretch}`);
}

function nextStretch() {
  const names = stretches();
  setStretch(names[(names.indexOf(pictures.look.stretch) + 1) % names.length]);
}

function press(tool, isOn) {
  page.querySelector(`[data-tool="${tool}"]`)?.setAttribute("aria-pressed", String(isOn));
}

function toggle(tool, what, words) {
  const isOn = pictures.toggle(what);
  press(tool, isOn);
  say(`${words} ${isOn ? "shown" : "hidden"}`);
}

function setBlinking(isOn) {
  clearInterval(blinkTimer);
  press("blink", isOn);
  pictures.blink(false);
  if (isOn) blinkTimer = setInterval(() => pictures.blink(!pictures.isBlinking), 500);
}

const isPressed = (tool) => page.querySelector(`[data-tool="${tool}"]`)?.getAttribute("aria-pressed") === "true";

function tellPixel() {
  const line = current?.querySelector("[data-readout]");
  if (line) line.textContent = readout({ ...pictures, planes: look.planes }) || line.dataset.readout;
  return line?.textContent;
}

function movePixel(dx, dy) {
  pictures.moveCursor(dx, dy);
  say(tellPixel());
}

// --- nobody decides what was not seen: a key that bounces or a double click comes too early
async function lookAt(card) {
  since = performance.now();
  isPainted = false;
  await pictures.show(card);
  // the time to decide begins when there is something to see
  if (current === card) since = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => { if (current === card) isPainted = true; }));
}

const isSeen = () => isPainted && performance.now() - since >= LOOK_MS;

// --- cards
function show(card) {
  setBlinking(false);
  current = card;
  stage.replaceChildren(card);
  lookAt(card);
  presence.change();
  form.hidden = false;
  form.elements.detection.value = card.dataset.candidate;
  if (later) later.open = false;
  form.elements.reason.value = "";
  form.elements.comment.value = "";
}

async function advance() {
  if (!queue.cards.length) {
    stage.setAttribute("aria-busy", "true");
    const isLoaded = await queue.fill();
    stage.removeAttribute("aria-busy");
    if (isLoaded === false) warn("The next candidates could not be loaded. Your decisions are kept; reload to go on.");
  }
  const next = queue.next();
  if (next) show(next);
  else leave();
  queue.fill();
}

// Nothing more to decide here: on, as soon as all is sent.
function leave() {
  isDone = true;
  form.hidden = true;
  stage.replaceChildren();
  if (!outbox.size) finish();
}

function finish() {
  location.assign(url.settledUrl ?? url.vetUrl + kept);
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
    ...(url.settledUrl ? { tier: form.elements.tier.value, rating: form.elements.rating.value } : {}),
    seconds: ((performance.now() - since) / 1000).toFixed(2),
  };
  decided.push({ id: fields.detection, card });
  if (decided.length > KEPT_CARDS) decided.at(-1 - KEPT_CARDS).card = null;
  count += 1;
  left = Math.max(0, left - 1);
  current = null;
  outbox.add(url.decideUrl, fields);
  await (url.settledUrl ? leave() : advance());
  tick();
  say(`${label}${reason ? `, ${reason.replace("_", " ")}` : ""}. ${current ? `Next: ${current.dataset.words}` : "Nothing else waits."}`);
}

// Put off until something has happened: no decision, and taken back like one.
async function putOff(snooze) {
  if (!current || !isSeen()) return;
  const fields = { detection: current.dataset.candidate, condition: snooze.elements.condition.value, magnitude: snooze.elements.magnitude.value };
  if (fields.condition === "magnitude" && !fields.magnitude) return snooze.elements.magnitude.focus();
  decided.push({ id: fields.detection, card: current, undoUrl: snooze.dataset.wakeUrl });
  current = null;
  left = Math.max(0, left - 1);
  outbox.add(snooze.action, fields);
  later.open = false;
  document.activeElement.blur();
  await advance();
  tick();
  say(`Put off. ${current ? `Next: ${current.dataset.words}` : "Nothing else waits."}`);
}

later?.addEventListener("submit", (event) => { event.preventDefault(); putOff(event.target); });
later?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !isWriting(event.target)) return;
  event.preventDefault();
  putOff(later.querySelector("[data-snooze]"));
});

async function undo() {
  const last = decided.pop();
  if (!last) return undoOnServer();
  const card = last.card ?? await fetchCard(last.id);
  if (!card) {
    decided.push(last);
    return warn("The candidate could not be loaded again; nothing was undone.");
  }
  if (current) queue.putBack(current);
  outbox.add(last.undoUrl ?? url.undoUrl, { detection: last.id });
  isDone = false;
  show(card);
  if (!last.undoUrl) count = Math.max(0, count - 1);
  left += 1;
  tick();
  return say(`Taken back: ${card.dataset.words}`);
}

async function fetchCard(id) {
  const answer = await fetch(`${url.vetUrl}${id}/?part=card`, { redirect: "error" }).catch(() => null);
  return answer?.ok ? queue.parse(await answer.text())[0] : null;
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
  if (!(await queue.isEmpty())) finish();
}

stage.querySelector("[data-done]")?.addEventListener("astrid:refresh", lookAgain);

// --- keys
const isWriting = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;
const tools = {
  blink: () => setBlinking(!isPressed("blink")),
  mask: () => toggle("mask", "isMaskShown", "Mask"),
  score: () => toggle("score", "isScore", "Score image"),
  invert: () => setLook({ isInverted: !pictures.look.isInverted }),
  nearer: () => pictures.zoomBy(1),
  reset: () => pictures.reset(),
  keys: () => keyCard.showModal(),
};
const keys = {
  u: undo,
  s: nextStretch,
  z: () => setStretch("zscale"),
  p: () => setStretch("percentile"),
  a: () => setStretch("asinh"),
  l: () => setStretch("linear"),
  i: tools.invert,
  b: () => pictures.blink(true),
  m: tools.mask,
  n: tools.score,
  w: () => toggle("window", "isWindowShown", "Window of the network"),
  r: tools.reset,
  "+": tools.nearer,
  "=": tools.nearer,
  "-": () => pictures.zoomBy(-1),
  "]": () => pictures.stretchBy(1.25),
  "[": () => pictures.stretchBy(0.8),
  c: () => form?.elements.comment.focus(),
  f: () => { if (later) { later.open = true; later.querySelector("select").focus(); } },
  "?": tools.keys,
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
// Keys that may be held down; any other counts once.
const REPEATING = new Set(["+", "=", "-", "[", "]"]);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && later?.open) later.open = false;
  if (event.key === "Escape" && isWriting(event.target)) return event.target.blur();
  // a held Enter would press the button that has the focus again and again
  if (event.repeat && event.key === "Enter" && event.target.closest("button")) event.preventDefault();
  if (event.ctrlKey || event.altKey || event.metaKey) return undefined;
  if (isWriting(event.target) || keyCard.open) return undefined;
  const act = actOf(event);
  if (!act) return undefined;
  event.preventDefault();
  return act();
});

function actOf(event) {
  if (event.key in ARROWS) {
    const step = event.shiftKey ? 5 : 1;
    return event.target.closest("[data-pictures]") && (() => movePixel(...ARROWS[event.key].map((part) => part * step)));
  }
  if (event.repeat && !REPEATING.has(event.key)) return undefined;
  if (!form || form.hidden) return event.key === "u" ? undo : undefined;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) return digitAct(Number(digit[1]) - 1, event.shiftKey);
  const letter = event.shiftKey && reasons.find((reason) => reason.letter === event.key.toLowerCase());
  if (letter) return () => decide("bogus", letter.value);
  // a letter is the same with the shift lock on
  return keys[event.shiftKey ? event.key : event.key.toLowerCase()];
}

function digitAct(place, isShifted) {
  if (isShifted) return reasons[place] && (() => decide("bogus", reasons[place].value));
  return labels[place] && (() => decide(labels[place]));
}

document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "b" && !isPressed("blink")) pictures.blink(false);
});
addEventListener("blur", () => { if (!isPressed("blink")) pictures.blink(false); });

// --- the same by pointer
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  decide(event.submitter.value, form.elements.reason.value);
});
undoForm.addEventListener("submit", (event) => { event.preventDefault(); undo(); });
page.addEventListener("click", (event) => {
  const link = event.target.closest("[data-stretch]");
  if (link) { event.preventDefault(); setStretch(link.dataset.stretch); }
  const tool = event.target.closest("[data-tool]");
  if (tool) tools[tool.dataset.tool]();
});
listenToPictures(stage, pictures, { onPoint: tellPixel });
onAppearance(() => pictures.paint());
addEventListener("resize", () => pictures.paint());

const surveyChoice = page.querySelector("[data-survey-choice]");
surveyChoice?.querySelector("button").remove();
surveyChoice?.addEventListener("change", () => {
  surveyChoice.elements.stretch.value = pictures.look.stretch;
  surveyChoice.requestSubmit();
});

for (const element of page.querySelectorAll(".needs-js")) element.hidden = false;
const asked = new URLSearchParams(location.search).get("stretch") ?? sessionStorage.getItem("astrid-stretch");
pictures.look.isInverted = sessionStorage.getItem("astrid-invert") === "1";
if (stretches().includes(asked)) pictures.look.stretch = asked;
if (current) {
  setLook({});
  lookAt(current);
  setInterval(tick, 1000);
  queue.fill();
  presence.start();
}
outbox.send();
