// The candidates that wait ready: their cards are here and their pixels are on the way before
// anybody looks at them.
export const AHEAD = 10;
const BATCH = 4;

export class Queue {
  constructor({ address, narrowed, store, busy, onPixels, onHeard }) {
    Object.assign(this, { address, narrowed, store, busy, onPixels, onHeard });
    this.cards = [];
    this.loading = null;
  }

  parse(html) {
    return [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("[data-candidate]")]
      .map((card) => document.adoptNode(card));
  }

  prepare(card) {
    const { pixels } = JSON.parse(card.querySelector("[data-pictures]").dataset.pictures);
    // a failure is told when the candidate is looked at, and tried again then
    this.store.get(pixels).then(this.onPixels, () => {});
  }

  held() { return [...this.cards.map((card) => card.dataset.candidate), ...this.busy()]; }

  // Ask for more where there is room; false if that failed.
  fill() {
    if (this.loading || this.cards.length > AHEAD - BATCH) return this.loading;
    const query = new URLSearchParams({ ...this.narrowed, limit: AHEAD - this.cards.length, exclude: this.held().join(",") });
    this.loading = fetch(`${this.address}?${query}`, { redirect: "error" })
      .then((answer) => {
        if (!answer.ok) throw new Error(String(answer.status));
        this.onHeard(answer.headers.get("X-AstrID-Heard-At"));
        return answer.text();
      })
      .then((html) => {
        const held = new Set(this.held());
        const fresh = this.parse(html).filter((card) => !held.has(card.dataset.candidate));
        for (const card of fresh) { this.prepare(card); this.cards.push(card); }
        return true;
      })
      .catch(() => false)
      .finally(() => { this.loading = null; });
    return this.loading;
  }

  next() { return this.cards.shift(); }

  putBack(card) { this.cards.unshift(card); }

  // Whether there is anything at all that could be decided.
  async isEmpty() {
    const query = new URLSearchParams({ ...this.narrowed, limit: 1, exclude: this.busy().join(",") });
    const answer = await fetch(`${this.address}?${query}`, { redirect: "error" }).catch(() => null);
    return !(answer?.ok && this.parse(await answer.text()).length);
  }
}
