// Keeps the live parts of a page true. One event stream per visible page; an element with
// data-live="job observation" reloads itself (hx-trigger="astrid:refresh") when such an event came.
const QUIET_MS = 1000;
const state = { after: document.body.dataset.sequence ?? "", source: null, due: new Map() };
const light = document.querySelector("[data-live-light]");

function show(text, isLive) {
  if (!light) return;
  light.textContent = text;
  light.classList.toggle("good", isLive);
}

function refresh(element) {
  if (state.due.has(element)) return;
  const last = Number(element.dataset.refreshedAt ?? 0);
  const wait = Math.max(0, QUIET_MS - (Date.now() - last));
  state.due.set(element, setTimeout(() => {
    state.due.delete(element);
    if (!element.isConnected) return;
    element.dataset.refreshedAt = String(Date.now());
    window.htmx.trigger(element, "astrid:refresh");
  }, wait));
}

function receive(message) {
  state.after = message.lastEventId;
  const event = JSON.parse(message.data);
  const family = event.kind.split(".")[0];
  for (const element of document.querySelectorAll("[data-live]")) {
    const isMine = !element.dataset.subject || element.dataset.subject === event.subject_id || family === "job";
    if (isMine && element.dataset.live.split(" ").includes(family)) refresh(element);
  }
}

function open() {
  if (state.source || document.hidden) return;
  state.source = new EventSource(`/events/?after=${encodeURIComponent(state.after)}`);
  state.source.addEventListener("open", () => show("live", true));
  state.source.addEventListener("message", receive);
  state.source.addEventListener("reset", () => document.querySelectorAll("[data-live]").forEach(refresh));
  state.source.addEventListener("error", () => {
    show("reconnecting", false);
    if (state.source.readyState === EventSource.CLOSED) {
      state.source = null;
      setTimeout(open, 5000);
    }
  });
}

function close() {
  state.source?.close();
  state.source = null;
  show("paused", false);
}

if (document.querySelector("[data-live]")) {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  open();
}
