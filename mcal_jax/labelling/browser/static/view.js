/* What is seen: built once, then redrawn from the desk's state. */

import { disable, dollars, duration, element, helpDialog, number, welcome } from "./parts.js";

const PURPOSES = {
  test: "Test set",
  train: "Training set",
  certify: "Certificate",
  residual: "The rest",
  relabel: "Second opinion",
};
const KEYED = 10; // classes that have a key
const FEW = 12; // classes that need no search

export class View {
  constructor(root, desk) {
    this.root = root;
    this.desk = desk;
    this.shownClasses = [];
    root.classList.add("mcal-desk");
  }

  askName(name) {
    const { form, input, refusal } = welcome(name, (given) => this.desk.join(given));
    this.refusal = refusal;
    this.root.replaceChildren(element("main", { class: "centre" }, form));
    input.focus();
  }

  nameRefused(why) {
    this.refusal.textContent = why;
  }

  open() {
    const { classes, name } = this.desk.about;
    this.live = element("p", { class: "unseen", "aria-live": "polite" });
    this.banner = element("p", { class: "banner", role: "alert", hidden: true });
    this.toast = element("p", { class: "toast", role: "status", hidden: true });
    this.root.replaceChildren(this.header(name), this.banner, this.main(classes), this.strip(), this.toast, this.live);
    this.dialog = helpDialog((use) => (this.desk.shortcuts = use));
    this.root.append(this.dialog);
    this.stage.focus();
    this.filter();
  }

  header(name) {
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Labels given" });
    this.count = element("span", { class: "strong" });
    this.cost = element("span");
    this.end = element("span");
    this.pauseButton = element("button", { type: "button", onclick: () => this.desk.pause() }, "Pause");
    return element(
      "header",
      {},
      element("h1", {}, element("span", { class: "brand" }, "mcal"), element("span", { class: "source" }, name)),
      element("div", { class: "how-far" }, this.bar, element("p", {}, this.count, this.cost, this.end)),
      element(
        "div",
        { class: "tools" },
        element("span", { class: "who", title: "You" }, this.desk.annotator),
        element("button", { type: "button", onclick: () => this.help(), "aria-label": "Help and keys" }, "?"),
        this.pauseButton,
      ),
    );
  }

  main(classes) {
    this.picture = element("img", { class: "picture", alt: "" });
    this.caption = element("figcaption");
    this.figure = element("figure", {}, element("div", { class: "frame" }, this.picture), this.caption);
    this.message = element("div", { class: "message", hidden: true, tabindex: -1 });
    this.stage = element("section", { class: "stage", "aria-label": "Image", tabindex: -1 }, this.figure, this.message);
    return element("main", { class: "work" }, this.stage, this.choices(classes));
  }

  choices(classes) {
    this.search = element("input", {
      type: "search",
      placeholder: `Search ${classes.length} classes  ( / )`,
      "aria-label": "Search the classes",
      autocomplete: "off",
      hidden: classes.length <= FEW,
      oninput: () => this.filter(),
      onkeydown: (event) => this.searchKey(event),
    });
    this.buttons = classes.map((name, label) =>
      element(
        "button",
        { type: "button", class: "choice", onclick: () => this.desk.choose(label) },
        element("kbd", { "aria-hidden": "true" }),
        element("span", {}, name),
      ),
    );
    this.list = element("div", { class: "classes", role: "group", "aria-label": "Classes" }, ...this.buttons);
    this.undoButton = this.act("Undo", "Z", () => this.desk.undo());
    this.others = [
      this.act("Can’t tell", "X", () => this.desk.cannotTell()),
      this.act("Skip", "S", () => this.desk.skip()),
    ];
    const actions = element("div", { class: "actions" }, ...this.others, this.undoButton);
    this.panel = element("section", { class: "choices", "aria-label": "Answer" }, this.search, this.list, actions);
    return this.panel;
  }

  act(text, key, onclick) {
    return element("button", { type: "button", class: "act", onclick }, text, element("kbd", { "aria-hidden": "true" }, key));
  }

  strip() {
    this.thumbs = element("ol", { class: "strip", "aria-label": "Images before and after this one" });
    this.film = element("nav", { class: "film", "aria-label": "Neighbours" }, this.thumbs);
    return this.film;
  }

  help() {
    this.dialog?.showModal();
  }

  get isDialogOpen() {
    return Boolean(this.dialog?.open);
  }

  draw() {
    if (!this.bar) return;
    this.drawStatus();
    this.drawPicture();
    this.drawStrip();
    const over = ["finished", "failed"].includes(this.desk.mode);
    for (const part of [this.panel, this.film, this.pauseButton]) part.hidden = over;
    const idle = !this.desk.current;
    for (const button of [...this.buttons, ...this.others]) disable(button, idle);
    disable(this.undoButton, !this.desk.answers.length || this.desk.mode !== "at work");
    this.pauseButton.textContent = this.desk.mode === "paused" ? "Go on" : "Pause";
  }

  drawStatus() {
    if (!this.desk.status) return;
    const { progress, pace } = this.desk.status;
    const unsaved = this.desk.outbox.filter((call) => call.name === "answer").length;
    const labelled = progress.labelled + unsaved;
    const expected = progress.expected ?? progress.images;
    this.bar.max = Math.max(expected, labelled, 1);
    this.bar.value = labelled;
    const over = this.desk.mode === "finished";
    const of = over ? "" : ` of ${progress.expected === null ? "at most" : "about"} ${number(expected)}`;
    this.count.textContent = `${number(labelled)}${of} labels`;
    this.cost.textContent = `${dollars(progress.cost)} so far`;
    const left = pace > 0 && progress.expected !== null ? (expected - labelled) / pace : null;
    this.end.textContent = left === null || over ? "" : left < 30 ? "almost done" : `about ${duration(left)} left`;
  }

  drawPicture() {
    const { current, mode } = this.desk;
    this.figure.hidden = !current;
    this.message.hidden = Boolean(current);
    if (!current) {
      this.shown = null;
      this.say(mode);
      return;
    }
    this.said = "";
    if (this.asked === current.image) return;
    this.asked = current.image;
    this.shown = null;
    this.picture.classList.add("loading");
    const purpose = element("span", { class: "purpose" }, PURPOSES[current.purpose] ?? "");
    this.caption.replaceChildren(element("span", {}, current.name), purpose);
    this.show(current);
  }

  async show(image) {
    try {
      this.picture.src = await this.desk.url(image.image);
      await this.picture.decode();
    } catch {
      if (this.asked === image.image) {
        this.asked = null;
        setTimeout(() => this.draw(), 500);
      }
      return;
    }
    if (this.desk.current?.image !== image.image) return;
    this.picture.alt = `Image to label: ${image.name}`;
    this.picture.classList.remove("loading");
    this.shown = image.image;
  }

  isShown(image) {
    return this.shown === image.image;
  }

  say(mode) {
    this.asked = null;
    const [title, text, share] = this.words(mode);
    const said = title + text;
    if (this.said !== said) {
      const bar = share === null ? [] : [element("progress", { max: 1, value: share, "aria-label": title })];
      this.message.replaceChildren(element("h2", {}, title), ...bar, element("p", {}, text));
      if (this.said?.split("|")[0] !== title) this.announce(`${title}. ${text}`);
    }
    this.said = said;
  }

  words(mode) {
    const { status } = this.desk;
    if (mode === "paused") return ["Paused", "Your images went back to the others. Press P or “Go on” to continue.", null];
    if (mode === "finished") {
      const { images, labelled, cost } = status.progress;
      return ["All images have labels", `People gave ${number(labelled)} labels for ${number(images)} images, the classifier the rest. Total: ${dollars(cost)}. You can close this page.`, null];
    }
    if (mode === "failed") return ["Labelling stopped", status.message, null];
    if (status?.state === "working") {
      const time = status.seconds === null ? "" : `About ${duration(status.seconds)} left. `;
      return ["The classifier is learning", `${time}The next images appear here by themselves.`, status.progress.training];
    }
    if (status) return ["Nothing to do for a moment", "Others have the last images of this batch. The next ones appear here by themselves.", null];
    return ["Loading", "", null];
  }

  drawStrip() {
    const before = this.desk.answers.slice(-4).map(({ image, label }) => [image, label === null || label < 0 ? "can’t tell" : this.desk.about.classes[label], "done"]);
    const after = this.desk.queue.slice(0, 5).map(({ image }, at) => [image, "", at ? "next" : "now"]);
    const wanted = [...before, ...after];
    const key = JSON.stringify(wanted);
    if (key === this.drawn) return;
    this.drawn = key;
    this.thumbs.replaceChildren(...wanted.map(([image, text, kind]) => this.thumb(image, text, kind)));
  }

  thumb(image, text, kind) {
    const picture = element("img", { alt: kind === "done" ? `labelled ${text}` : kind === "now" ? "this image" : "next" });
    this.desk.url(image).then((url) => (picture.src = url)).catch(() => {});
    return element("li", { class: kind, "aria-current": kind === "now" ? "true" : null }, picture, element("span", {}, text));
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    const { classes } = this.desk.about;
    const places = classes.map((name, label) => [name.toLowerCase().indexOf(wanted), label]).filter(([at]) => at >= 0);
    if (wanted) places.sort(([a, i], [b, j]) => Math.min(a, 1) - Math.min(b, 1) || i - j);
    this.shownClasses = places.map(([, label]) => label);
    for (const button of this.buttons) button.hidden = true;
    this.shownClasses.forEach((label, at) => {
      const button = this.buttons[label];
      button.hidden = false;
      const key = at < KEYED ? String((at + 1) % 10) : "";
      button.firstChild.textContent = key;
      button.classList.toggle("first", Boolean(wanted) && at === 0);
      button.setAttribute("aria-keyshortcuts", key);
      this.list.append(button);
    });
    if (wanted) this.announce(`${this.shownClasses.length} classes`);
  }

  searchKey(event) {
    if (event.key === "Enter" && this.shownClasses.length) {
      event.preventDefault();
      this.desk.choose(this.shownClasses[0]);
      this.search.value = "";
      this.filter();
    } else if (event.key === "ArrowDown" && this.shownClasses.length) {
      event.preventDefault();
      this.buttons[this.shownClasses[0]].focus();
    }
  }

  focusSearch() {
    if (!this.search.hidden) this.search.focus();
  }

  leaveSearch() {
    this.search.value = "";
    this.filter();
    this.search.blur();
  }

  announce(text) {
    if (this.live) this.live.textContent = text;
  }

  notice(text) {
    this.toast.textContent = text;
    this.toast.hidden = false;
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => (this.toast.hidden = true), 5000);
  }

  trouble(text) {
    if (!this.banner) return;
    this.banner.textContent = text;
    this.banner.hidden = !text;
  }
}
