// Tells the server which candidates this page holds and which one it shows; learns who else is here.
const EVERY_MS = 10000;

export class Presence {
  constructor({ address, leaveAddress, token, page, onPeople }) {
    Object.assign(this, { address, leaveAddress, token, page, onPeople });
    this.told = 0;
    this.timer = 0;
  }

  start() {
    this.tell();
    setInterval(() => this.tell(), EVERY_MS);
    document.addEventListener("visibilitychange", () => this.tell());
    // what is left is free for others at once; a page that comes back asks for candidates anew
    addEventListener("pagehide", () => {
      if (!this.at) return;
      navigator.sendBeacon(this.leaveAddress, new URLSearchParams({ csrfmiddlewaretoken: this.token, at: this.at }));
    });
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  // Another candidate is on the screen: told at once, but not with every key of a fast hand.
  change() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell(), Math.max(1000, 2000 - (Date.now() - this.told)));
  }

  async tell() {
    if (document.hidden || !navigator.onLine) return;
    this.told = Date.now();
    const answer = await fetch(this.address, {
      method: "POST",
      body: new URLSearchParams(this.page()),
      headers: { Accept: "application/json", "X-CSRFToken": this.token },
      redirect: "manual",
    }).catch(() => null); // the network is gone: the outbox tells, and tries again
    if (!answer?.ok) return;
    const said = await answer.json();
    this.at = said.at;
    this.onPeople(said);
  }
}
