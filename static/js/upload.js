// Sends files one after the other with progress; each gets its own honest answer.
const form = document.querySelector("[data-upload]");
const zone = form.querySelector("[data-drop]");
const input = form.elements.frames;
const table = form.elements.sidecar;
const results = document.querySelector("[data-results]");
const list = results.querySelector("[data-list]");
const BADGES = { created: "succeeded", updated: "succeeded", duplicate: "skipped", refused: "failed" };

// It reads the reason of a refusal; a 4xx beside it would only be an error in the console.
const HEADERS = { Accept: "application/json", "X-Requested-With": "upload.js" };

function line(file) {
  const item = document.createElement("li");
  const badge = Object.assign(document.createElement("span"), { className: "badge queued", textContent: "waiting" });
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: file.name });
  const note = Object.assign(document.createElement("span"), { className: "small muted" });
  const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0 });
  bar.setAttribute("aria-label", `Upload of ${file.name}`);
  item.append(badge, name, note, bar);
  list.append(item);
  return { badge, name, note, bar };
}

function mark(view, kind, label) {
  view.badge.className = `badge ${kind}`;
  view.badge.textContent = label;
}

function finish(view, result) {
  view.bar.remove();
  mark(view, BADGES[result.outcome] ?? "failed", result.outcome);
  view.note.textContent = result.reason ?? "";
  if (result.code) {
    const code = document.createElement("code");
    code.textContent = ` ${result.code}`;
    view.note.append(code);
  }
  if (result.url) {
    const link = Object.assign(document.createElement("a"), { href: result.url, textContent: view.name.textContent });
    view.name.replaceChildren(link);
  }
}

// Each request tells the names of all files and brings the table, so that one rule holds for all.
function packet(names) {
  const body = new FormData();
  body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  body.append("survey", form.elements.survey.value);
  body.append("names", JSON.stringify(names));
  if (table.files.length) body.append("sidecar", table.files[0]);
  return body;
}

function send(files, names, view) {
  const body = packet(names);
  for (const file of files) body.append("frames", file);
  const refused = (reason, code = "") => finish(view, { outcome: "refused", reason, code });
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    for (const [name, value] of Object.entries(HEADERS)) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => {
      if (!event.lengthComputable) return;
      view.bar.value = event.loaded / event.total;
      mark(view, "running", event.loaded < event.total ? `${Math.round(100 * view.bar.value)} %` : "checking");
    });
    request.addEventListener("load", () => {
      const said = request.response;
      if (said?.results) finish(view, said.results[0] ?? { outcome: "refused", reason: "its name cannot be used" });
      else refused(said?.error ?? `the server answered ${request.status}`);
      resolve();
    });
    request.addEventListener("error", () => { refused("the connection was lost; send it again"); resolve(); });
    request.send(body);
  });
}

// What is to be sent together; null, with the reason on the page, where the selection is refused.
async function askPlan(names) {
  const answer = await fetch(form.action, { method: "POST", body: packet(names), headers: HEADERS }).catch(() => null);
  const said = await answer?.json().catch(() => null);
  if (said?.plan) return said;
  const name = table.files[0]?.name ?? `${names.length} files`;
  const reason = said?.error ?? (answer ? `the server answered ${answer.status}` : "the connection was lost; send it again");
  finish(line({ name }), { outcome: "refused", reason });
  return null;
}

async function sendAll(files) {
  if (!files.length) return;
  if (!form.elements.survey.value.trim()) {
    form.elements.survey.setAttribute("aria-invalid", "true");
    form.elements.survey.focus();
    return;
  }
  form.elements.survey.removeAttribute("aria-invalid");
  results.hidden = false;
  const names = files.map((file) => file.name);
  const said = await askPlan(names);
  if (!said) return;
  // the server may know a file by a cleaner name
  const byName = new Map(said.names.map((name, i) => [name, files[i]]));
  for (const result of said.results) finish(line({ name: result.file_name }), result);
  const limit = Number(form.dataset.maxMb) * 2 ** 20;
  const work = said.plan.map((item) => [[item.file, ...item.with].map((name) => byName.get(name)), line({ name: item.file })]);
  for (const [group, view] of work) {
    if (group.some((file) => file.size > limit)) finish(view, { outcome: "refused", reason: `larger than the ${form.dataset.maxMb} MB allowed here`, code: "file_too_large" });
    else await send(group, said.names, view);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const files = [...input.files];
  input.value = "";
  sendAll(files);
});
zone.querySelector("[data-drop-hint]").hidden = false;
zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
zone.addEventListener("dragleave", () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  zone.classList.remove("over");
  sendAll([...event.dataTransfer.files]);
});
