// Decisions on their way to the server: sent one by one in order, each until it is answered,
// and kept in this browser meanwhile, so that neither a lost network nor a reload loses one. Each
// has a key of its own, by which the server stores it once and windows keep theirs apart.
const LONGEST_WAIT_MS = 30000;

// crypto.randomUUID exists on secure origins alone; an observatory's machine may have none.
function drawKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export class Outbox {
  constructor({ name, token, onChange, onRefused, onLoggedOut }) {
    Object.assign(this, { name, token, onChange, onRefused, onLoggedOut });
    this.items = this.stored();
    this.isSending = false;
    this.wait = 0;
    window.addEventListener("online", () => { this.wait = 0; this.send(); });
  }

  // What was not answered when a page was closed, in the order in which it was decided.
  stored() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(`${this.name}:`))
      .map((key) => JSON.parse(localStorage.getItem(key)))
      .sort((one, other) => one.at - other.at);
  }

  keyOf(item) { return `${this.name}:${item.fields.decision}`; }

  get size() { return this.items.length; }

  ids() { return this.items.map((item) => item.fields.detection); }

  add(url, fields) {
    const at = Math.max(Date.now(), (this.items.at(-1)?.at ?? 0) + 1);
    const item = { url, at, fields: { ...fields, decision: drawKey() } };
    this.items.push(item);
    localStorage.setItem(this.keyOf(item), JSON.stringify(item));
    this.onChange(this.size);
    this.send();
  }

  async send() {
    if (this.isSending || !this.items.length) return;
    this.isSending = true;
    const isAnswered = await this.post(this.items[0]);
    this.isSending = false;
    if (isAnswered) {
      this.wait = 0;
      localStorage.removeItem(this.keyOf(this.items.shift()));
      this.onChange(this.size);
      this.send();
    } else {
      this.wait = Math.min(LONGEST_WAIT_MS, this.wait ? this.wait * 2 : 1000);
      setTimeout(() => this.send(), this.wait);
    }
  }

  async post({ url, fields }) {
    let answer;
    try {
      answer = await fetch(url, {
        method: "POST",
        body: new URLSearchParams(fields),
        headers: { Accept: "application/json", "X-CSRFToken": this.token },
        redirect: "manual",
      });
    } catch {
      return false;
    }
    if (answer.ok) return true;
    const isJson = (answer.headers.get("Content-Type") ?? "").includes("json");
    if (answer.status >= 400 && answer.status < 500 && isJson) {
      this.onRefused((await answer.json()).error, fields);
      return true;
    }
    if (answer.type === "opaqueredirect" || answer.status === 403) this.onLoggedOut();
    return false;
  }
}
