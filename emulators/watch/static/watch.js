// The live view. What is shown is kept in a few maps; each update changes them, and a frame of the browser draws what changed.
// Values of registers are BigInt: they have up to 64 bits, and a number has 53.

const $ = (id) => document.getElementById(id);
const KEPT = 2000; // lines of the log that are kept, and of the messages of each kind
const SHOWN = 300; // and drawn
const hex = (value, size) => "0x" + value.toString(16).padStart(2 * size, "0");

let described = {}, current = "", live = true, stream = null;
let first = null; // time zero
const values = {}, touched = {}, inMemory = {}, rows = {};
const log = [], messages = {}; // messages are by kind: many of one kind push out no other
let arrived = 0;
let stale = { registers: true, log: true, messages: true };

function text(tag, content, className) {
  const node = document.createElement(tag);
  node.textContent = content;
  if (className) node.className = className;
  return node;
}

// -- registers

function fieldsOf(register, value) {
  const shown = [];
  for (const field of register.fields) {
    const number = (value >> BigInt(field.lsb)) & ((1n << BigInt(field.width)) - 1n);
    const name = field.values[number];
    if (field.width === 1 && !number && name === undefined) continue;
    if (field.width > 1 && !number && name === undefined) continue;
    const item = text("span", field.width === 1 && name === undefined ? field.name : `${field.name}=${name ?? (number > 9 ? "0x" + number.toString(16) : number)}`);
    item.title = `${field.name} ${field.access}: ${field.prose}. ${field.doc}`;
    shown.push(item);
  }
  return shown;
}

function buildRegisters() {
  const body = $("registers");
  body.replaceChildren();
  rows[current] = {};
  for (const bar of described[current].bars) {
    const head = document.createElement("tr");
    head.className = "bar";
    const cell = text("th", bar.index === 7 ? "configuration space" : `BAR ${bar.index}: ${bar.name}`);
    cell.colSpan = 5;
    head.append(cell);
    body.append(head);
    for (const register of bar.registers) {
      const row = document.createElement("tr");
      const name = text("td", register.path);
      name.title = register.doc;
      row.append(text("td", hex(register.offset, 2)), name, text("td", ""), document.createElement("td"), text("td", ""));
      row.dataset.path = register.path;
      rows[current][register.path] = { row, register, head };
      body.append(row);
    }
  }
  for (const path of Object.keys(values[current])) drawValue(path, false);
  drawTouched();
}

function drawValue(path, changed) {
  const known = rows[current]?.[path];
  if (!known) return;
  const value = values[current][path];
  known.row.children[2].textContent = hex(value, known.register.size);
  const shown = fieldsOf(known.register, value).flatMap((item, i) => (i ? [" ", item] : [item]));
  known.row.children[3].replaceChildren(...shown);
  if (changed) {
    known.row.classList.add("changed");
    clearTimeout(known.timer);
    known.timer = setTimeout(() => known.row.classList.remove("changed"), 600);
  }
}

function drawTouched() {
  const counts = touched[current] ?? {};
  let seen = 0, set = 0, fields = 0;
  for (const [path, { row, register }] of Object.entries(rows[current] ?? {})) {
    const found = counts[path];
    const unset = register.fields.map((field) => field.name).filter((name) => !found?.[2].includes(name));
    row.children[4].textContent = found ? `${found[0]} / ${found[1]}` : "";
    row.children[4].title = found && unset.length ? `never written other than 0: ${unset.join(", ")}` : "";
    if (found) seen++;
    fields += register.fields.length;
    set += register.fields.length - unset.length;
  }
  const all = Object.keys(rows[current] ?? {}).length;
  $("coverage").textContent = `${seen} of ${all} registers touched, ${set} of ${fields} fields set`;
  filterRegisters();
}

function filterRegisters() {
  const words = $("find").value.toLowerCase().split(/[ ,]+/).filter(Boolean);
  const only = $("touched").checked, counts = touched[current] ?? {};
  for (const [path, { row, register }] of Object.entries(rows[current] ?? {})) {
    const names = path + " " + register.fields.map((field) => field.name).join(" ");
    const wanted = (!words.length || words.some((word) => names.includes(word))) && (!only || path in counts);
    row.hidden = !wanted;
  }
}

function drawRings() {
  const parts = [];
  for (const ring of described[current].rings) {
    for (const path of Object.keys(values[current])) {
      const [name, index] = path.split("[");
      if (name !== ring.tail) continue;
      const place = index ? "[" + index : "";
      const held = (name) => Number(values[current][name + place] ?? 0n);
      const head = held(ring.head), tail = held(ring.tail), count = held(ring.length) / ring.descriptor;
      if (!count) continue;
      parts.push(ringOf(`${ring.name}${place}`, head, (tail - head + count) % count, count));
    }
  }
  for (const ring of inMemory[current] ?? []) parts.push(ringOf(ring.name, ring.head, ring.waiting, ring.size));
  if (!parts.length) parts.push(text("p", live ? "no ring is set up" : "no ring is set up, or its indices are in memory", "empty"));
  $("rings").replaceChildren(...parts);
}

function ringOf(name, head, waiting, count) {
  const node = text("div", "", "ring");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${count} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${name}: ${waiting} of ${count} are the device's, from ${head} on`);
  const straight = Math.min(waiting, count - head);
  const spans = [[head, straight], [0, waiting - straight]];
  for (const [x, width] of spans) {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [key, value] of Object.entries({ x, y: 0, width, height: 10 })) rect.setAttribute(key, value);
    svg.append(rect);
  }
  node.append(text("span", name), svg, text("span", `${head} … ${(head + waiting) % count} of ${count}`));
  return node;
}

// -- lines

function lineOf(entry) {
  const item = document.createElement("li");
  if (["diagnose", "lost"].includes(entry.kind)) item.className = "diagnose";
  const when = text("time", ((entry.t - first) / 1e9).toFixed(6).padStart(11));
  item.append(when, ` ${entry.function} ${entry.text}`);
  return item;
}

function newest(entries, words) {
  const wanted = words.toLowerCase().split(" ").filter(Boolean);
  const found = [];
  for (let i = entries.length - 1; i >= 0 && found.length < SHOWN; i--) {
    const line = `${entries[i].function} ${entries[i].text}`.toLowerCase();
    if (wanted.every((word) => line.includes(word))) found.push(entries[i]);
  }
  return found;
}

function drawLog() {
  $("log").replaceChildren(...newest(log, $("filter").value).map(lineOf));
}

function drawMessages() {
  const words = $("filter-messages").value;
  const found = Object.values(messages).flatMap((entries) => newest(entries, words));
  $("messages").replaceChildren(...found.sort((a, b) => b.number - a.number).map(lineOf));
}

function keep(list, more) {
  for (const entry of more) list.push(entry);
  if (live && list.length > KEPT) list.splice(0, list.length - KEPT);
}

// -- updates

function take(update) {
  if (first === null) {
    for (const entries of [update.log, update.messages]) {
      for (const entry of entries) first = Math.min(first ?? entry.t, entry.t);
    }
  }
  for (const [name, changes] of Object.entries(update.values)) {
    const initial = !Object.keys(values[name]).length;
    for (const [path, value] of Object.entries(changes)) values[name][path] = BigInt(value);
    if (name === current) for (const path of Object.keys(changes)) drawValue(path, !initial && live);
  }
  if (update.coverage) {
    Object.assign(touched, update.coverage);
    stale.registers = true;
  }
  Object.assign(inMemory, update.rings);
  keep(log, update.log);
  for (const entry of update.messages) {
    entry.number = arrived++;
    keep((messages[entry.kind] ??= []), [entry]);
  }
  stale.log ||= update.log.length > 0;
  stale.messages ||= update.messages.length > 0;
  document.body.dataset.updates = String(1 + Number(document.body.dataset.updates ?? 0));
  requestAnimationFrame(draw);
}

function draw() {
  drawRings();
  if (stale.registers) drawTouched();
  if (stale.log && !$("hold").checked) drawLog();
  if (stale.messages) drawMessages();
  stale = { registers: false, log: stale.log && $("hold").checked, messages: false };
}

function choose(name) {
  current = name;
  for (const button of $("functions").children) button.setAttribute("aria-pressed", String(button.dataset.name === name));
  buildRegisters();
  draw();
}

function listen() {
  stream?.close();
  stream = new EventSource($("packets").checked ? "/updates?packets" : "/updates");
  $("state").className = "";
  stream.addEventListener("open", () => ($("state").textContent = live ? "live" : "reading"));
  stream.addEventListener("update", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("end", (event) => {
    stream.close();
    $("state").textContent = live ? "ended: " + JSON.parse(event.data).why : "a saved trace";
    $("state").className = live ? "ended" : "";
  });
  stream.addEventListener("error", () => ($("state").textContent = "waiting for `regmodel watch`"));
}

async function start() {
  const found = await (await fetch("/describe")).json();
  described = found.functions;
  live = found.live;
  for (const [name, device] of Object.entries(described)) {
    values[name] = {};
    const button = text("button", name);
    button.dataset.name = name;
    button.title = `${device.title}, ${device.id}`;
    button.addEventListener("click", () => choose(name));
    $("functions").append(button);
  }
  choose(Object.keys(described)[0]);
  for (const id of ["find", "touched"]) $(id).addEventListener("input", filterRegisters);
  $("filter").addEventListener("input", drawLog);
  $("filter-messages").addEventListener("input", drawMessages);
  $("hold").addEventListener("input", () => { stale.log = true; draw(); });
  $("packets").addEventListener("input", listen);
  listen();
}

start();
