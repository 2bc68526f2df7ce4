"use strict";
// What the theme leaves to say to those who don't see the page, or have no mouse.
addEventListener("load", () => {
  const asides = { ".sidebar-drawer": "Pages", ".toc-drawer": "On this page" };
  for (const [place, name] of Object.entries(asides)) document.querySelector(place)?.setAttribute("aria-label", name);
  for (const box of document.querySelectorAll(".highlight pre, .output pre, div.math, .table-wrapper, .output_html"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  for (const corner of document.querySelectorAll("th")) // of data frames
    if (!corner.textContent.trim()) corner.outerHTML = "<td></td>";
  const article = document.querySelector("article[role=main]");
  if (article && !document.querySelector("h1"))
    article.insertAdjacentHTML("afterbegin", `<h1>${document.title.split(" - ")[0]}</h1>`);
});
