/* The page: the desk over HTTP. The token comes behind "#", which browsers never send, and is kept for this tab alone. */

import { start } from "./app.js";

function token() {
  const given = location.hash.slice(1);
  if (given) {
    sessionStorage.setItem("mcal-token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("mcal-token") ?? "";
}

const headers = { Authorization: `Bearer ${token()}`, "Content-Type": "application/json" };

async function request(path, options) {
  const response = await fetch(path, { headers, ...options });
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({ error: response.statusText }));
    throw Object.assign(new Error(error), { refused: response.status < 500, status: response.status });
  }
  return response;
}

const transport = {
  canWait: true,
  call: async (name, body) => (await request(`/api/${name}`, { method: "POST", body: JSON.stringify(body) })).json(),
  image: async (image) => URL.createObjectURL(await (await request(`/api/image/${image}`)).blob()),
};

const desk = start(document.getElementById("desk"), transport, { keys: document });

/* Whoever leaves gives their images back at once. */
addEventListener("pagehide", () => {
  if (!desk.annotator) return;
  const body = JSON.stringify({ annotator: desk.annotator });
  fetch("/api/pause", { method: "POST", headers, body, keepalive: true }).catch(() => {});
});
