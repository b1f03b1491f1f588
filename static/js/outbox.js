// Decisions on their way to the server: sent one by one in order, each until it is answered,
// and kept in this browser meanwhile, so that neither a lost network nor a reload loses one.
const LONGEST_WAIT_MS = 30000;

export class Outbox {
  constructor({ name, token, onChange, onRefused, onLoggedOut }) {
    Object.assign(this, { name, token, onChange, onRefused, onLoggedOut });
    this.items = JSON.parse(localStorage.getItem(name) ?? "[]");
    this.isSending = false;
    this.wait = 0;
    window.addEventListener("online", () => { this.wait = 0; this.send(); });
  }

  get size() { return this.items.length; }

  ids() { return this.items.map((item) => item.fields.detection); }

  add(url, fields) {
    this.items.push({ url, fields });
    this.keep();
    this.send();
  }

  keep() {
    localStorage.setItem(this.name, JSON.stringify(this.items));
    this.onChange(this.size);
  }

  async send() {
    if (this.isSending || !this.items.length) return;
    this.isSending = true;
    const isAnswered = await this.post(this.items[0]);
    this.isSending = false;
    if (isAnswered) {
      this.wait = 0;
      this.items.shift();
      this.keep();
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
