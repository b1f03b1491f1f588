// Runs before the first paint (classic script in the head), so that a chosen theme never flashes.
(() => {
  const root = document.documentElement;
  const AFTER = { light: "dark", dark: "red", red: "light" };
  const SIGNS = { light: "☾", dark: "◉", red: "☀" };
  const NAMES = { light: "light colours", dark: "dark colours", red: "red night light" };
  const kept = localStorage.getItem("astrid-theme");
  if (kept in AFTER) root.dataset.theme = kept;

  const now = () => root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

  // The sign is that of what a press brings.
  const label = (button) => {
    button.textContent = SIGNS[now()];
    const words = `Switch to ${NAMES[AFTER[now()]]}`;
    button.setAttribute("aria-label", words);
    button.title = words;
  };

  document.addEventListener("DOMContentLoaded", () => {
    // where the pages' names take more than the screen, the one that is open is in view
    const open = document.querySelector('.site-nav [aria-current="page"]');
    if (open) open.parentElement.scrollLeft = open.offsetLeft - open.parentElement.offsetLeft - open.parentElement.clientWidth / 3;
    const button = document.querySelector("[data-theme-toggle]");
    if (!button) return;
    button.hidden = false;
    label(button);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => label(button));
    button.addEventListener("click", () => {
      root.dataset.theme = AFTER[now()];
      localStorage.setItem("astrid-theme", root.dataset.theme);
      label(button);
    });
  });
})();
