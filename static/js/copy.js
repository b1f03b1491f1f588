// Buttons with data-copy put their text on the clipboard; without a clipboard they stay hidden.
const say = document.querySelector("[data-announce]");

function offer(root) {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const before = button.textContent;
  button.textContent = "Copied";
  if (say) say.textContent = `Copied ${button.dataset.copy}`;
  setTimeout(() => { button.textContent = before; }, 1500);
});

offer(document);
document.addEventListener("htmx:afterSwap", (event) => offer(event.target));
