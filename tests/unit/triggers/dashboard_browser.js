// Runs the dashboard's script with as much of a browser as it asks for: {script, answers, secret, key} on stdin, what is
// shown and asked as JSON on stdout. Elements hold text alone, so that markup in a name would show as text.
"use strict";
const vm = require("node:vm");

class Element {
  constructor(name) { Object.assign(this, { name, children: [], text: "", hidden: false, listeners: {}, value: "" }); }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; this.text = ""; }
  setAttribute(name, value) { this[`@${name}`] = value; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  get textContent() { return [this.text, ...this.children.map(child => child.textContent)].filter(Boolean).join(" "); }
  set textContent(text) { this.text = text; this.children = []; }
}

async function main(given) {
  const elements = {}, calls = [], stored = {};
  const byId = id => (elements[id] ??= new Element(id));
  byId("access").hidden = byId("data").hidden = true;
  const document = { hidden: false, getElementById: byId,
    createElement: name => new Element(name), createElementNS: (_, name) => new Element(name) };
  const sessionStorage = { getItem: name => stored[name] ?? null, setItem: (name, value) => { stored[name] = value; } };
  async function fetch(path, options) {
    const place = path.split("?")[0], key = options.headers["x-functions-key"], token = options.headers.Authorization;
    if (place !== "/api/health") calls.push({ path, key, token });
    const letIn = place === "/api/health" || key === given.key || token === `Bearer ${given.key}`;
    if (!letIn) return { ok: false, status: 401, json: async () => { throw new Error("no body"); } };
    const body = given.answers[place];
    const status = body.failing ?? 200;
    return { ok: status < 400, status, json: async () => body };
  }
  if (given.secret) stored.secret = given.secret;
  vm.runInNewContext(given.script, { document, sessionStorage, fetch, setInterval: () => {}, console });
  for (let turn = 0; turn < 20; turn += 1) await new Promise(resolve => setImmediate(resolve));
  const texts = Object.fromEntries(Object.entries(elements).map(([id, one]) => [id, one.textContent]));
  const hidden = { access: byId("access").hidden, data: byId("data").hidden };
  return { ...texts, trouble: byId("trouble").textContent, hidden, calls, bars: byId("days").children.length };
}

let text = "";
process.stdin.on("data", piece => { text += piece; });
process.stdin.on("end", () => main(JSON.parse(text)).then(found => process.stdout.write(JSON.stringify(found))));
