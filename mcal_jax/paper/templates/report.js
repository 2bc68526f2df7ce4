"use strict";
// The filter shows the exhibits whose name, title, caption, notes and command hold every word typed.
(() => {
  const box = document.querySelector("nav input");
  const entries = document.querySelectorAll("nav li"); // in the order of the articles
  const exhibits = [...document.querySelectorAll("article")].map((article, i) => {
    const words = [...article.querySelectorAll(".words")].map((part) => part.textContent);
    return { parts: [article, entries[i]], text: [article.id, ...words].join(" ").toLowerCase() };
  });

  function filter() {
    const words = box.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const { parts, text } of exhibits) {
      const fits = words.every((word) => text.includes(word));
      shown += fits;
      for (const part of parts) part.hidden = !fits;
    }
    for (const group of document.querySelectorAll(".group"))
      group.hidden = !group.querySelector("article:not([hidden]), li:not([hidden])");
    document.querySelector(".none").hidden = shown > 0;
  }

  box.hidden = false; // without scripts there is nothing to type into
  box.addEventListener("input", filter);
  filter(); // a browser may keep what was typed over a reload
})();

// The entry of the exhibit that is read is marked in the navigation.
(() => {
  const entries = new Map([...document.querySelectorAll("nav li a")].map((a) => [a.hash.slice(1), a]));
  const visible = new Set();
  const watch = new IntersectionObserver(
    (changes) => {
      for (const { target, isIntersecting } of changes) visible[isIntersecting ? "add" : "delete"](target.id);
      const first = [...entries.keys()].find((id) => visible.has(id));
      if (!first) return;
      for (const [id, a] of entries) id === first ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current");
      const list = document.querySelector("nav");
      const [entry, box] = [entries.get(first).getBoundingClientRect(), list.getBoundingClientRect()];
      if (entry.top < box.top || entry.bottom > box.bottom) list.scrollTop += entry.top - box.top - box.height / 3;
    },
    { rootMargin: "0px 0px -70% 0px" },
  );
  for (const article of document.querySelectorAll("article")) watch.observe(article);
})();
