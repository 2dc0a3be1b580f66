// Keeps an agent's page up to date from its event stream. The page is complete without it.
"use strict";
const page = document.getElementById("agent");
const find = (id) => document.getElementById(id);

// Like the server: escape characters that are invisible or reorder the text.
function visible(text) {
  return text.replace(/(?![\n\t])[\p{C}\p{Zl}\p{Zp}]/gu, (sign) => {
    const code = sign.codePointAt(0).toString(16);
    return code.length <= 2 ? "\\x" + code.padStart(2, "0") : "\\u" + code.padStart(4, "0");
  });
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = visible(text);
  if (kind) made.className = kind;
  return made;
}

function local(time, at) {
  time.dateTime = at;
  showLocal(time);
  return time;
}

function moment(at) {
  return local(element("time", at.slice(0, 16).replace("T", " ") + " UTC"), at);
}

function instant(at) {
  return local(element("time", at.slice(5, 19).replace("T", " ")), at);
}

// Keep in step with `common/approval/values.py`.
function plain(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return Math.abs(value) < 10_000 ? String(value) : value.toLocaleString("en-US");
  if (typeof value === "string") return /^[0-9a-f]{64}$/.test(value) ? value.slice(0, 12) : value;
  if (Array.isArray(value) && value.length) return value.map(plain).join(", ");
  return Object.entries(value ?? {}).map(([name, each]) => `${name}: ${plain(each)}`).join(", ") || "none";
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$/;
function fact(value) {
  if (!INSTANT.test(value)) return plain(value);
  return value.slice(0, value.slice(17, 19) === "00" ? 16 : 19).replace("T", " ") + " UTC";
}

function note(entry) {
  const line = document.createElement("li");
  line.append(instant(entry.at), " ", element("b", entry.node), " ", element("span", entry.text, "text"));
  const facts = Object.entries(entry.facts).filter(([, value]) => value !== "")
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${fact(value)}`);
  if (facts.length) line.append(" ", element("span", facts.join(", "), "quiet"));
  find("notebook").append(line);
}

// The server draws it; redraw at most once a second.
let drawing;
function drawTimeline() {
  drawing ??= setTimeout(async () => {
    drawing = undefined;
    const answer = await fetch(find("timeline").dataset.from).catch(() => null);
    if (!answer?.ok || answer.redirected) return;
    const drawn = await answer.text();
    if (!drawn.trim()) return;
    find("timeline").innerHTML = drawn;
    find("timeline").hidden = false;
    showTimes(find("timeline"));
  }, 1000);
}

function changed(words) {
  find("changed").firstElementChild.textContent = visible(words);
  find("changed").hidden = false;
}

// Keep in step with `common/client/batches.py`.
function batch(now) {
  const box = find("batch");
  if (!box) return changed("It has a batch.");
  const part = (count) => now.items ? Math.round(10000 * count / now.items) / 100 : 0;
  let x = 0;
  for (const name of ["done", "quarantined", "in_flight"]) {
    const rect = box.querySelector("rect." + name);
    rect.setAttribute("x", x);
    rect.setAttribute("width", part(now[name]));
    x += part(now[name]);
  }
  const words = [`${now.done} of ${now.items} done`];
  for (const name of ["quarantined", "in_flight", "waiting", "duplicates"])
    if (now[name]) words.push(`${now[name]} ${name.replace("_", " ")}`);
  const percent = now.items ? Math.floor(100 * (now.done + now.quarantined) / now.items) + " %" : "";
  find("batch-percent").textContent = percent;
  find("batch-counts").textContent = words.join(", ");
  box.querySelector("svg").setAttribute("aria-label", `${percent}: ${words.join(", ")}`);
  find("batch-width").textContent = now.at_once;
  find("batch-pace").textContent = now.pace === null ? "not known yet" : `${now.pace} an hour`;
  if (now.eta) find("batch-pace").append(", done about ", moment(now.eta));
  find("batch-asking").hidden = !now.asking;
  find("batch-asking").querySelector("span").textContent =
    `${now.asking} ${now.asking === 1 ? "question waits" : "questions wait"}`;
}

function state(now) {
  find("state").textContent = now.state.replaceAll("_", " ");
  find("state").className = "chip " + now.state;
  find("node").textContent = visible(now.node || "none");
  const asks = now.requests.length;
  const waits = asks ? (asks === 1 ? "a decision" : `${asks} decisions`) : now.waiting_for || "nothing";
  find("waits").textContent = visible(waits);
  if (now.wake_at) find("waits").append(" until ", moment(now.wake_at));
  const told = now.state === "stuck" && now.trouble.length;
  find("waits").parentElement.hidden = now.status !== "running" || Boolean(told);
  find("node").parentElement.hidden = now.state === "completed";
  find("progress").parentElement.parentElement.hidden = Boolean(now.batch) || !now.progress.total;
  find("progress").max = now.progress.total || 1;
  find("progress").value = now.progress.done;
  find("counted").textContent = `${now.progress.done} of ${now.progress.total}`;
  if (now.batch) batch(now.batch);
  find("trouble").replaceChildren(...now.trouble.map((each) => {
    const line = element("p", "", "notice bad");
    const fix = element("span", "To do: ", "quiet");
    // Commands are in backticks.
    each.fix.split("`").forEach((part, index) => fix.append(index % 2 ? element("code", part) : visible(part)));
    fix.append(".");
    line.append(element("b", "It is blocked:"), ` ${visible(each.words)}. `, fix);
    return line;
  }));
  find("silent").hidden = now.live;
  if (now.status !== "running") {
    if (page.dataset.follow === "running") changed("It has ended.");
    else if (now.live) changed("A worker has answered.");
    if (now.live) page.dataset.follow = "";
  } else if (now.live && now.requests.map((each) => each.id).join(" ") !== page.dataset.requests)
    changed(asks ? "It asks for a decision." : "The decision is made.");
}

// After the agent has ended, follow until a worker has supplied the rest.
if (page.dataset.follow) {
  const events = new EventSource(`${page.dataset.stream}?after=${page.dataset.after}`);
  events.addEventListener("note", (event) => { note(JSON.parse(event.data)); drawTimeline(); });
  events.addEventListener("state", (event) => { state(JSON.parse(event.data)); drawTimeline(); });
  setInterval(() => page.dataset.follow && !document.hidden && drawTimeline(), 60_000);
}
