// Which of the three appearances is on: day, night, or red for eyes that are used to the dark.
export function appearance() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function onAppearance(tell) {
  new MutationObserver(tell).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
}
