import { Source, apply } from "./source.js";
import { Tree, preview } from "./tree.js";

const REPAINT = 100; // milliseconds between two repaints, at least
const POLL = 2000; // milliseconds between two looks at the group
const SECONDS = 60; // of the chart
const SHOWN = 25; // last writes

const $ = (id) => document.getElementById(id);
const tree = new Tree($("tree"), $("rows"));
const page = { repaints: 0, events: 0, seen: 0 }; // for tests
window.page = page;

let name = "", source = null, poll = 0, pids = {};
let live = { value: {} }, past = null, version = 0, oldest = null;
let writes = [], counts = new Array(SECONDS).fill(0), second = Math.floor(Date.now() / 1000);
let painting = 0, reshaped = true, painted = 0, looking = 0;

const headers = () => {
  const token = sessionStorage.getItem("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
};

async function get(path) {
  const response = await fetch(path, { headers: headers(), cache: "no-store" });
  if (response.status === 401) askForToken();
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail), { body });
  return body;
}

function askForToken() {
  $("login").hidden = false;
  say("needs the token", true);
}

function say(text, bad = false) {
  $("state").textContent = text;
  $("state").className = bad ? "bad" : "";
}

async function begin() {
  try {
    const { objects } = await get("/");
    $("objects").replaceChildren(...objects.map((each) => new Option(each, each)));
    choose(objects.find((each) => `#${encodeURIComponent(each)}` === location.hash) ?? objects[0]);
  } catch (error) {
    if ($("login").hidden) {
      say("no answer, trying again", true);
      setTimeout(begin, 1000);
    }
  }
}

function choose(chosen) {
  source?.close();
  clearTimeout(poll);
  [name, writes, version, oldest] = [chosen, [], 0, null];
  counts.fill(0);
  goLive();
  $("objects").value = name;
  $("object-title").textContent = name;
  document.title = `${name} – memsync`;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  const url = `/${encodeURIComponent(name)}/changes`;
  source = new Source(url, headers(), onEvent, onState);
  look();
}

function onState(state) {
  if (state === "token") askForToken();
  else if (state === "live") say("live");
  else say("connection lost, trying again", true);
}

function onEvent(kind, data) {
  version = data.version;
  page.events++;
  if (kind === "snapshot") {
    live.value = data.value;
    reshaped = true;
  } else {
    reshaped = apply(live, data.patch) || reshaped;
    for (const { path } of data.patch.slice(0, 100)) tree.mark(path);
    count();
    writes.unshift(data);
    writes.length = Math.min(writes.length, SHOWN);
  }
  page.seen = version;
  schedule();
}

function count() {
  roll();
  counts[SECONDS - 1]++;
}

function roll() {
  const now = Math.floor(Date.now() / 1000);
  for (; second < now; second++) counts.push(0), counts.shift();
}

function schedule() {
  painting ||= setTimeout(paint, Math.max(REPAINT - (performance.now() - painted), 0));
}

function paint() {
  painting = 0;
  painted = performance.now();
  page.repaints++;
  if (reshaped && !past) tree.flatten();
  if (!past) reshaped = false;
  const glows = tree.paint();
  $("version").max = version;
  if (oldest !== null) $("version").min = Math.min(oldest, version);
  if (!past) $("version").value = version;
  $("shown").textContent = past ? past.version : version;
  rows("writes", writes.map((each) => [each.version, process(each.peer), summary(each.patch)]), 3);
  if (glows) schedule();
}

const process = (peer) => (pids[peer] ? `${pids[peer]}` : peer.slice(0, 8));
const summary = (patch) =>
  patch.slice(0, 3).map(({ op, path, value }) => `${op} ${path || "/"} ${op === "remove" ? "" : preview(value, 60)}`)
    .join("; ") + (patch.length > 3 ? ` and ${patch.length - 3} more` : "");

function chart() {
  roll();
  const canvas = $("chart"), pen = canvas.getContext("2d"), top = Math.max(...counts, 1);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = getComputedStyle(canvas).color;
  const step = canvas.width / SECONDS;
  counts.forEach((each, n) => {
    const height = (each / top) * (canvas.height - 2);
    pen.fillRect(n * step, canvas.height - height - 1, step - 1, height + 1);
  });
  $("rate").textContent = counts[SECONDS - 2];
}

function rows(id, lines, width) {
  const body = $(id);
  const wanted = lines.length ? lines : [["none"]];
  while (body.rows.length > wanted.length) body.lastElementChild.remove();
  while (body.rows.length < wanted.length) body.insertRow();
  wanted.forEach((line, n) => {
    const row = body.rows[n];
    while (row.cells.length > line.length) row.lastElementChild.remove();
    while (row.cells.length < line.length) row.insertCell();
    line.forEach((text, at) => {
      const cell = row.cells[at];
      if (cell.textContent !== String(text)) cell.textContent = text;
      cell.className = lines.length ? "" : "none";
      cell.colSpan = lines.length ? 1 : width;
    });
  });
}

async function look() {
  const asked = name, number = ++looking;
  try {
    const status = await get(`/${encodeURIComponent(asked)}/status?ping=1`);
    if (asked !== name || number !== looking) return;
    pids = Object.fromEntries(status.members.map((each) => [each.id, each.pid]));
    oldest = status.oldest;
    rows("peers", status.members.map((each) => [
      each.host ? "host" : "client", each.pid, each.roles.join(", ") || "reader",
      each.ping === null ? "–" : `${(each.ping * 1000).toFixed(1)} ms`,
      each.id.slice(0, 8) + (each.id === status.id ? " (serves this page)" : ""),
    ]), 5);
    const who = (peers) => peers.map((each) => each.pid ?? each.id.slice(0, 8)).join(", ") || "–";
    rows("locks", Object.entries(status.locks).map(([lock, facts]) =>
      [lock, who(facts.holders), who(facts.queue)]), 3);
    schedule();
  } catch { /* the stream says that the connection is lost */ }
  poll = setTimeout(look, POLL);
}

function goLive() {
  past = null;
  reshaped = true;
  $("gone").hidden = true;
  $("live").setAttribute("aria-pressed", "true");
  tree.show(live);
  schedule();
}

let scrubbing = 0;
function scrub() {
  clearTimeout(scrubbing);
  const wanted = Number($("version").value);
  past = past ?? { version: wanted, holder: live };
  past.version = wanted;
  $("shown").textContent = wanted;
  $("live").setAttribute("aria-pressed", "false");
  scrubbing = setTimeout(async () => {
    try {
      const value = await get(`/${encodeURIComponent(name)}?at=${wanted}`);
      if (past?.version !== wanted) return;
      $("gone").hidden = true;
      tree.show({ value });
    } catch (error) {
      if (past?.version !== wanted) return;
      $("gone").textContent = error.message;
      $("gone").hidden = false;
    }
  }, REPAINT);
}

$("objects").addEventListener("change", (event) => choose(event.target.value));
$("version").addEventListener("input", scrub);
$("live").addEventListener("click", goLive);
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) return askForToken(); // a header cannot carry it
  sessionStorage.setItem("token", token);
  $("login").hidden = true;
  begin();
});
setInterval(chart, 1000);
chart();
begin();
