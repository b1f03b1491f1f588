// Returns what is wrong with the page: too wide, or words missing for those who cannot see it.
() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
  const sketch = (element) => element.outerHTML.replace(/\s+/g, " ").slice(0, 120);
  const text = (element) => (element?.textContent ?? "").trim();

  // for screen readers only: visually hidden, or the headings of a table drawn as cards
  const isClipped = (element) =>
    element !== null
    && (getComputedStyle(element).clipPath !== "none" || isClipped(element.parentElement));

  const beyond = document.documentElement.scrollWidth - innerWidth;
  if (beyond > 0) faults.push(`the page is ${beyond} pixels too wide`);

  for (const box of all("h1, h2, h3, p, li, dt, dd, th, td, label, a, button, figcaption, summary")) {
    const spill = box.scrollWidth - box.clientWidth;
    const isBox = box.clientWidth > 0 && getComputedStyle(box).overflowX === "visible";
    if (isShown(box) && isBox && spill > 1 && !isClipped(box)) {
      faults.push(`text runs ${spill} pixels out of ${sketch(box)}`);
    }
  }

  for (const table of all("table.cards")) {
    const spill = table.parentElement.scrollWidth - table.parentElement.clientWidth;
    if (spill > 1) faults.push(`${spill} pixels of the table ${text(table.caption)} are cut off`);
  }

  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.trim()) faults.push("no title");
  const counts = { h1: 1, main: 1, "body > header, [role=banner]": 1 };
  for (const [selector, wanted] of Object.entries(counts)) {
    const found = all(selector).filter(isShown).length;
    if (found !== wanted) faults.push(`${found} times ${selector}`);
  }
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6").filter(isShown)) {
    const next = Number(heading.tagName[1]);
    if (level && next > level + 1) faults.push(`h${level} is followed by ${sketch(heading)}`);
    level = next;
  }

  const named = (ids) => ids.split(/\s+/).some((id) => text(document.getElementById(id)));
  const hasName = (element) =>
    Boolean(
      element.getAttribute("aria-label")?.trim()
      || (element.hasAttribute("aria-labelledby") && named(element.getAttribute("aria-labelledby")))
      || [...(element.labels ?? [])].some(text),
    );
  for (const field of all("input:not([type=hidden]), select, textarea, progress, meter")) {
    if (isShown(field) && !hasName(field)) faults.push(`no label: ${sketch(field)}`);
  }
  for (const control of all("a[href], button, summary")) {
    const picture = control.querySelector("img[alt]:not([alt='']), svg[aria-label]");
    if (isShown(control) && !hasName(control) && !text(control) && !picture) {
      faults.push(`no name: ${sketch(control)}`);
    }
  }
  for (const image of all("img:not([alt])")) faults.push(`no alt: ${sketch(image)}`);
  for (const image of all("svg").filter((svg) => !svg.parentElement.closest("svg"))) {
    const isSilent = image.getAttribute("aria-hidden") === "true";
    if (!isSilent && !hasName(image)) faults.push(`no words: ${sketch(image)}`);
  }
  for (const landmark of all("nav, aside, section[role=region]")) {
    if (!hasName(landmark)) faults.push(`unnamed landmark: ${sketch(landmark)}`);
  }
  for (const cell of all("th:not([scope])")) faults.push(`no scope: ${sketch(cell)}`);
  for (const element of all("[tabindex]")) {
    if (element.tabIndex > 0) faults.push(`jumps the order of Tab: ${sketch(element)}`);
  }
  const ids = all("[id]").map((element) => element.id);
  for (const id of new Set(ids.filter((one, i) => ids.indexOf(one) !== i))) {
    faults.push(`two elements are called ${id}`);
  }

  // WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 for large letters.
  const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let up = element; up; up = up.parentElement) {
      const colour = rgba(getComputedStyle(up).backgroundColor);
      if (colour[3] > 250) return colour;
      if (colour[3] > 5) return null;
    }
    return rgba("white");
  };
  const reported = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !isShown(element)) continue;
    if (element.closest(":disabled, .overlay-text, script, style")) continue;
    if (isClipped(element)) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    if (!behind) continue;
    const letters = rgba(element.closest("svg") ? style.fill : style.color);
    const [low, high] = [luminance(letters), luminance(behind)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const words = walker.currentNode.data.trim().slice(0, 40);
    if (ratio < (isLarge ? 3 : 4.5) && !reported.has(words)) {
      reported.add(words);
      faults.push(`contrast ${ratio.toFixed(1)}: ${words}`);
    }
  }
  return faults;
}
