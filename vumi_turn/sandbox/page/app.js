"use strict";

const $ = (id) => document.getElementById(id);
const state = { phones: {}, conversations: {}, lines: [], filter: "" };

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch("api/" + path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.errors ? value.errors[0].details : answer.statusText);
  return value;
}

async function attempt(errorId, work) {
  $(errorId).textContent = "";
  try { await work(); } catch (error) { $(errorId).textContent = error.message; }
}

const number = () => $("number").value.trim();
const phonePath = (action) => `phones/${encodeURIComponent(number())}/${action}`;
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString();

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// -- the phone ---------------------------------------------------------------

function showPhone() {
  const phone = state.phones[number()] || { screen: null, session: null, log: [] };
  const open = phone.session !== null;
  $("screen").textContent = phone.screen === null ? "" : phone.screen;
  $("session").textContent = open ? `Session open on ${phone.session.code}` : "No session";
  $("ussd-send").textContent = open ? "Answer" : "Call";
  $("ussd-end").disabled = !open;
  const texts = phone.log.filter((entry) => entry.channel === "sms");
  talk($("sms-log"), texts.map((entry) => ({
    text: entry.text, out: entry.direction === "out", note: time(entry.at),
  })));
}

function talk(list, entries) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.replaceChildren(...entries.map((entry) => {
    const item = element("li", entry.text, entry.out ? "out" : "");
    item.append(element("small", entry.note, entry.failed ? "failed" : ""));
    return item;
  }));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function chooseTab(name) {
  for (const tab of ["ussd", "sms"]) {
    const chosen = tab === name;
    $(tab).hidden = !chosen;
    $("tab-" + tab).setAttribute("aria-selected", String(chosen));
    $("tab-" + tab).tabIndex = chosen ? 0 : -1;
  }
}

function setUpPhone() {
  for (const key of "123456789*0#") {
    const button = element("button", key);
    button.type = "button";
    button.addEventListener("click", () => { $("ussd-input").value += key; $("ussd-input").focus(); });
    $("keypad").append(button);
  }
  for (const name of ["ussd", "sms"]) {
    $("tab-" + name).addEventListener("click", () => chooseTab(name));
    $("tab-" + name).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = name === "ussd" ? "sms" : "ussd";
      chooseTab(other);
      $("tab-" + other).focus();
    });
  }
  $("number").addEventListener("input", () => { showPhone(); showTalk(); });
  $("ussd-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("ussd-input").value;
    const phone = state.phones[number()];
    const open = phone && phone.session !== null;
    attempt("phone-error", async () => {
      if (open && !text.startsWith("*")) await call("POST", phonePath("answer"), { text });
      else await call("POST", phonePath("dial"), { code: text });
      $("ussd-input").value = "";
    });
    $("ussd-input").focus();
  });
  $("ussd-end").addEventListener("click", () =>
    attempt("phone-error", () => call("POST", phonePath("hangup"), {})));
  $("sms-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt("phone-error", async () => {
      await call("POST", phonePath("sms"), { text: $("sms-input").value });
      $("sms-input").value = "";
    });
  });
}

// -- Turn --------------------------------------------------------------------

function showTalk() {
  const entries = state.conversations[number()] || [];
  talk($("talk"), entries.map((entry) => ({
    text: entry.text,
    out: entry.direction === "outbound",
    failed: entry.error !== null || entry.statuses.includes("failed"),
    note: entry.error !== null ? entry.error : [time(entry.at), ...entry.statuses].join(" · "),
  })));
}

function setUpTurn() {
  $("turn-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt("turn-error", async () => {
      await call("POST", `turn/${encodeURIComponent(number())}/send`,
        { text: $("turn-input").value, waiting: $("waiting").checked });
      $("turn-input").value = "";
    });
  });
  $("journey").addEventListener("change", () =>
    attempt("turn-error", () => call("PUT", "turn/journey", { on: $("journey").checked })));
}

// -- the wire ----------------------------------------------------------------

function lineText(line) {
  if (line.protocol === "http") return `${line.what} ${line.where} → ${line.status === null ? "no answer" : line.status}`;
  return `${line.what} ${line.where}${line.redelivered ? " (redelivered)" : ""}`;
}

function lineElement(line) {
  const item = element("li");
  const details = element("details");
  const bad = line.protocol === "http" && (line.status === null || line.status >= 400);
  const summary = element("summary", undefined, `${line.protocol} ${line.what}${bad ? " bad" : ""}`);
  summary.textContent = `${time(line.at)} ${line.protocol.toUpperCase()} ${lineText(line)}`;
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    if (line.headers) details.append(element("pre", JSON.stringify(line.headers, null, 2)));
    details.append(element("pre", JSON.stringify(line.body, null, 2)));
    for (const id of line.ids) {
      const only = element("button", `only ${id}`);
      only.type = "button";
      only.addEventListener("click", () => { $("wire-message").value = id; filterWire(); });
      details.append(only, document.createTextNode(" "));
    }
  });
  item.append(details);
  return item;
}

const wanted = (line) => !state.filter || line.ids.includes(state.filter);

function addLine(line) {
  state.lines.push(line);
  if (state.lines.length > 500) state.lines.shift();
  if (!wanted(line)) return;
  $("lines").prepend(lineElement(line));
  while ($("lines").children.length > 500) $("lines").lastElementChild.remove();
}

function filterWire() {
  state.filter = $("wire-message").value.trim();
  $("lines").replaceChildren(...state.lines.filter(wanted).reverse().map(lineElement));
}

function setUpWire() {
  $("wire-message").addEventListener("input", filterWire);
  $("wire-filter").addEventListener("submit", (event) => event.preventDefault());
  $("wire-filter").addEventListener("reset", () => setTimeout(filterWire));
}

// -- weather and health ------------------------------------------------------

const TURN_WEATHER = {
  up: { mode: "up" },
  down: { mode: "down" },
  slow: { mode: "up", delay: 3 },
  error500: { mode: "error", status: 500 },
  throttle: { mode: "throttle", retry_after: 10 },
  error401: { mode: "error", status: 401 },
  hang: { mode: "hang" },
  liar: { mode: "liar" },
};

function weatherName(turn) {
  if (turn.mode === "error") return turn.status === 401 ? "error401" : "error500";
  return turn.mode === "up" && turn.delay > 0 ? "slow" : turn.mode;
}

function showWeather(weather) {
  if (weather.turn) $("weather-turn").value = weatherName(weather.turn);
  $("weather-network").value = weather.network.mode;
  $("weather-broker").value = weather.broker;
  for (const name of ["turn", "broker"]) $("weather-" + name).disabled = weather.fixed.includes(name);
}

function showHealth(health) {
  const pairs = [["Worker", health.health], ...Object.entries(health.components).map(([name, c]) => [name, c.health])];
  $("health").replaceChildren(...pairs.map(([name, value]) => pair(name, value, value)));
  $("counters").replaceChildren(...Object.entries(health.counters).map(([name, value]) => pair(name, value, "")));
  $("parked").replaceChildren(...health.parked.map((p) => element("li", `${p.id}: ${p.reason}`)));
  $("replay").disabled = health.parked.length === 0;
}

function pair(name, value, className) {
  const box = element("div");
  box.append(element("dt", name), element("dd", String(value), className));
  return box;
}

function setUpWeather() {
  $("weather-turn").addEventListener("change", () =>
    call("PUT", "weather", { turn: TURN_WEATHER[$("weather-turn").value] }));
  $("weather-network").addEventListener("change", () =>
    call("PUT", "weather", { network: { mode: $("weather-network").value } }));
  $("weather-broker").addEventListener("change", () =>
    call("PUT", "weather", { broker: $("weather-broker").value }));
  $("replay").addEventListener("click", () => call("POST", "parked/replay", {}));
}

// -- live --------------------------------------------------------------------

const HANDLERS = {
  phone(data) { state.phones[data.number] = data; if (data.number === number()) showPhone(); },
  conversation(data) { state.conversations[data.address] = data.entries; if (data.address === number()) showTalk(); },
  wire(data) { addLine(data.line); },
  weather(data) { showWeather(data); },
  health(data) { showHealth(data); },
};

async function load() {
  const all = await call("GET", "state");
  state.phones = all.phones;
  state.conversations = all.conversations;
  state.lines = all.lines;
  $("journey").checked = all.journey;
  showWeather(all.weather);
  showHealth(all.health);
  showPhone();
  showTalk();
  filterWire();
}

function listen() {
  const source = new EventSource("api/events");
  source.addEventListener("open", () => { load(); });
  for (const [name, handle] of Object.entries(HANDLERS)) {
    source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  }
}

setUpPhone();
setUpTurn();
setUpWire();
setUpWeather();
listen();
