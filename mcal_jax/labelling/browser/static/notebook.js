/* The desk in a cell of a notebook: calls are messages to the kernel, which answers each by its number. */

import { start } from "./app.js";

function notebookTransport(model) {
  const waiting = new Map();
  let count = 0;
  model.on("msg:custom", (message, buffers) => {
    const promise = waiting.get(message.id);
    if (!promise) return;
    waiting.delete(message.id);
    if (message.error) promise.reject(Object.assign(new Error(message.error), { refused: true }));
    else promise.resolve(message.type ? new Blob([buffers[0]], { type: message.type }) : message.reply);
  });
  const call = (name, body) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      model.send({ id: count, name, body });
    });
  return { canWait: false, call, image: async (image) => URL.createObjectURL(await call("image", { image })) };
}

export default {
  render({ model, el }) {
    const cell = document.createElement("div");
    cell.classList.add("mcal-cell");
    cell.tabIndex = -1;
    el.append(cell);
    const desk = start(cell, notebookTransport(model));
    /* JupyterLab would cut the cell at X, and take Enter from the form. */
    cell.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
    });
    return () => desk.stop();
  },
};
