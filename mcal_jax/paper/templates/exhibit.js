"use strict";
// A picture fills the window when it is chosen, twice as large when it is chosen again; Escape closes it.
(() => {
  const buttons = document.querySelectorAll(".exhibit .zoom");
  if (!buttons.length) return;
  const dialog = document.createElement("dialog");
  dialog.className = "picture";
  dialog.innerHTML =
    '<div tabindex="0" role="region" aria-label="Picture"><img alt=""></div>' +
    '<form method="dialog"><button type="button">Larger</button><button>Close</button></form>';
  document.body.append(dialog);
  const [image, larger] = [dialog.querySelector("img"), dialog.querySelector("button")];

  function resize(large) {
    dialog.classList.toggle("large", large);
    larger.textContent = large ? "Smaller" : "Larger";
  }
  for (const button of buttons)
    button.addEventListener("click", () => {
      const shown = button.querySelector("img");
      [image.src, image.alt] = [shown.src, shown.alt];
      dialog.setAttribute("aria-label", shown.alt);
      resize(false);
      dialog.showModal();
    });
  for (const part of [larger, image]) part.addEventListener("click", () => resize(!dialog.classList.contains("large")));
})();
