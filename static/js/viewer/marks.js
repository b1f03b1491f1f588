// Candidates as rings over the frame. The rings are links for the pointer; by keyboard the list
// beside the frame has the same links.
const SVG = "http://www.w3.org/2000/svg";
const REACH_PIX = 3;

export class Marks {
  constructor(drawing, marks, canvas) {
    Object.assign(this, { drawing, marks, canvas });
    this.elements = marks.map((mark) => this.ring(mark));
    drawing.append(...this.elements);
  }

  ring(mark) {
    const link = document.createElementNS(SVG, "a");
    if (mark.url) link.setAttribute("href", mark.url);
    link.setAttribute("tabindex", "-1");
    link.setAttribute("class", mark.kept ? "mark" : "mark failed");
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${mark.label}, ${mark.note}`;
    link.append(title, ...["halo", "ring", "touch"].map((name) => {
      const circle = document.createElementNS(SVG, "circle");
      circle.setAttribute("class", name);
      circle.setAttribute("r", name === "touch" ? 14 : 11);
      return circle;
    }));
    return link;
  }

  place(chosen, isShown) {
    this.drawing.toggleAttribute("hidden", !isShown);
    if (!isShown) return;
    const { width, height } = this.canvas;
    this.marks.forEach((mark, i) => {
      const [left, top] = this.canvas.toScreen(mark.x, mark.y);
      const element = this.elements[i];
      const isSeen = left > -20 && top > -20 && left < width + 20 && top < height + 20;
      element.toggleAttribute("hidden", !isSeen);
      element.classList.toggle("chosen", i === chosen);
      if (isSeen) element.setAttribute("transform", `translate(${left.toFixed(1)} ${top.toFixed(1)})`);
    });
  }

  nearest(x, y) {
    const far = this.marks.map((mark) => Math.hypot(mark.x - x, mark.y - y));
    const least = Math.min(...far);
    return least < REACH_PIX ? far.indexOf(least) : -1;
  }
}
