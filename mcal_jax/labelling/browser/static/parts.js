/* Parts of the page that know nothing of the desk: elements, the welcome, the help, numbers as text. */

const KEYS = [
  ["1 … 9 0", "choose one of the first ten classes shown"],
  ["X", "can’t tell"],
  ["S", "skip: later, or someone else"],
  ["Z", "undo"],
  ["/", "search the classes; Enter takes the first"],
  ["P", "pause"],
  ["?", "this help"],
];

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/* Whether the notebook around the page is dark (Jupyter, VS Code, Colab), or else the system. */
function isDark(system) {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  if (jpThemeLight) return jpThemeLight === "false";
  if (vscodeThemeKind) return !vscodeThemeKind.includes("light");
  const colab = document.documentElement.getAttribute("theme");
  return colab ? colab === "dark" : system.matches;
}

/* Give a part of the page the colours of what is around it, now and when they change. Returns how to stop that. */
export function followTheme(part) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => part.classList.toggle("mcal-dark", isDark(system));
  const observer = new MutationObserver(draw);
  for (const place of [document.documentElement, document.body]) {
    observer.observe(place, { attributeFilter: ["theme", "data-jp-theme-light", "data-vscode-theme-kind"] });
  }
  system.addEventListener("change", draw);
  draw();
  return () => {
    observer.disconnect();
    system.removeEventListener("change", draw);
  };
}

/* Disabled, but it keeps the focus, and with it the keys. */
export function disable(button, off) {
  button.setAttribute("aria-disabled", String(off));
}

/* A form that asks for a name and passes it on. */
export function welcome(name, onName) {
  const input = element("input", { id: "mcal-name", maxlength: 60, autocomplete: "nickname", required: true });
  input.value = name;
  const refusal = element("p", { class: "refusal", role: "alert" });
  const submit = (event) => {
    event.preventDefault();
    onName(input.value);
  };
  const form = element(
    "form",
    { class: "card welcome", onsubmit: submit },
    element("h1", {}, "Label images"),
    element("p", {}, "Your name is kept with each label that you give, on the machine that this page comes from."),
    element("label", { for: "mcal-name" }, "Your name"),
    input,
    refusal,
    element("button", { class: "primary", type: "submit" }, "Start"),
  );
  return { form, input, refusal };
}

/* A dialog that lists the keys, and lets them be turned off. */
export function helpDialog(onUse) {
  const rows = KEYS.map(([key, text]) =>
    element("div", {}, element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)),
  );
  const change = (event) => onUse(event.target.checked);
  const box = element("input", { type: "checkbox", id: "mcal-keys", checked: true, onchange: change });
  const close = element("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close");
  const dialog = element(
    "dialog",
    { class: "card", "aria-labelledby": "mcal-help" },
    element("h2", { id: "mcal-help" }, "Keys"),
    element("dl", {}, ...rows),
    element("label", { class: "check", for: "mcal-keys" }, box, "Use these keys"),
    element("p", {}, "Every answer is saved at once. An answer can be taken back until its batch is complete."),
    close,
  );
  return dialog;
}

export function number(value) {
  return Math.round(value).toLocaleString("en-US");
}

export function dollars(value) {
  return value.toLocaleString("en-US", { style: "currency", currency: "USD" });
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
