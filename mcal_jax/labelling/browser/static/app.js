/* What happens when someone labels: answers are shown at once, sent one after the other, and sent again until they are
taken. It knows neither HTTP nor notebooks: a transport has
  call(name, body)  a promise of the reply; an error with "refused" is not worth another try
  image(number)     a promise of an image's URL
  canWait           whether a call may be held back until there are images */

import { followTheme } from "./parts.js";
import { View } from "./view.js";

const AHEAD = 8;
const CANNOT_TELL = null;

export function start(root, transport, { keys = root, annotator = "" } = {}) {
  const desk = new LabellingDesk(root, transport, keys);
  desk.begin(annotator);
  return desk;
}

class LabellingDesk {
  constructor(root, transport, keys) {
    this.transport = transport;
    this.queue = [];
    this.answers = [];
    this.status = null;
    this.outbox = [];
    this.urls = new Map();
    this.mode = "start";
    this.shortcuts = true;
    this.view = new View(root, this);
    this.onKey = (event) => this.key(event);
    keys.addEventListener("keydown", this.onKey);
    const unfollow = followTheme(root);
    this.stop = () => {
      unfollow();
      this.mode = "stopped";
      keys.removeEventListener("keydown", this.onKey);
    };
  }

  begin(annotator) {
    const name = annotator || recall("mcal-annotator") || "";
    this.view.askName(name);
    if (annotator) this.join(annotator);
  }

  async join(name) {
    this.annotator = name.trim();
    if (!this.annotator) return;
    remember("mcal-annotator", this.annotator);
    try {
      this.about = await this.transport.call("hello", { annotator: this.annotator });
    } catch (error) {
      this.view.nameRefused(error.refused ? error.message : "The server can't be reached.");
      return;
    }
    this.mode = "at work";
    this.view.open();
    this.send("take");
  }

  get current() {
    return this.queue[0];
  }

  choose(label) {
    const image = this.current;
    if (!image || this.mode !== "at work" || !this.view.isShown(image)) return;
    const name = label === CANNOT_TELL ? "can't tell" : this.about.classes[label];
    this.queue.shift();
    this.answers.push({ image: image.image, label, sent: false });
    this.view.announce(`${image.name}: ${name}.`);
    this.send("answer", { image: image.image, label });
  }

  cannotTell() {
    this.choose(CANNOT_TELL);
  }

  skip() {
    const image = this.current;
    if (!image || this.mode !== "at work") return;
    this.queue.shift();
    this.view.announce(`${image.name} skipped.`);
    this.send("skip", { image: image.image });
  }

  undo() {
    if (this.mode !== "at work") return;
    const last = this.answers.pop();
    this.view.announce("Taken back.");
    this.send("undo", last ? { image: last.image } : {});
  }

  pause() {
    if (this.mode === "paused") {
      this.mode = "at work";
      this.send("take");
    } else if (this.mode === "at work") {
      this.mode = "paused";
      this.queue = [];
      this.send("pause");
    }
  }

  send(name, body = {}) {
    this.outbox.push({ name, body });
    this.view.draw();
    if (!this.sending) this.sending = this.sendAll().finally(() => (this.sending = null));
  }

  async sendAll() {
    let failures = 0;
    while (this.outbox.length && this.mode !== "stopped") {
      const { name, body } = this.outbox[0];
      const wait = name === "take" && this.outbox.length === 1 && !this.queue.length;
      try {
        const sent = { ...body, annotator: this.annotator, count: AHEAD, wait: wait && this.transport.canWait };
        const reply = await this.transport.call(name, sent);
        this.outbox.shift();
        failures = 0;
        this.view.trouble("");
        if (!this.outbox.length) this.take(reply);
      } catch (error) {
        if (error.status === 401) return this.view.trouble(error.message);
        if (error.refused) {
          this.outbox.shift();
          this.view.notice(error.message);
          if (!this.outbox.length) this.outbox.push({ name: "take", body: {} });
        } else {
          this.view.trouble("The server can't be reached. Your last answer is not saved yet; trying again …");
          await pause(Math.min(500 * 2 ** failures++, 5000));
        }
      }
    }
  }

  take(reply) {
    this.status = reply.status;
    this.answers = reply.answers;
    this.queue = this.mode === "at work" ? reply.images : [];
    this.view.draw();
    const over = ["finished", "failed"].includes(this.status.state);
    if (over) this.mode = this.status.state;
    if (!this.queue.length && this.mode === "at work") this.takeLater();
    if (over) this.view.draw();
  }

  async takeLater() {
    await pause(this.transport.canWait ? 0 : 700);
    if (!this.outbox.length && !this.queue.length && this.mode === "at work") this.send("take");
  }

  url(image) {
    if (!this.urls.has(image)) {
      const url = this.transport.image(image);
      url.catch(() => this.urls.delete(image));
      this.urls.set(image, url);
      if (this.urls.size > 4 * AHEAD) this.forgetOldest();
    }
    return this.urls.get(image);
  }

  forgetOldest() {
    const [oldest, url] = this.urls.entries().next().value;
    this.urls.delete(oldest);
    url.then((text) => URL.revokeObjectURL(text)).catch(() => {});
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.shortcuts) return;
    const typing = event.target.matches?.("input, textarea");
    if (this.mode === "start" || this.view.isDialogOpen || (typing && event.key !== "Escape")) return;
    const act = this.action(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) act();
  }

  action({ key }) {
    if (/^[0-9]$/.test(key)) {
      const label = this.view.shownClasses[(Number(key) + 9) % 10];
      return label === undefined ? null : () => this.choose(label);
    }
    return {
      x: () => this.cannotTell(),
      s: () => this.skip(),
      z: () => this.undo(),
      Backspace: () => this.undo(),
      p: () => this.pause(),
      "/": () => this.view.focusSearch(),
      "?": () => this.view.help(),
      Escape: () => this.view.leaveSearch(),
    }[key];
  }
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // notebooks may forbid it
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    /* then the name is asked for again */
  }
}
