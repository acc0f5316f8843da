"use strict";

const $ = (id) => document.getElementById(id);
const KEEP = 500;
const state = { phones: new Map(), conversations: new Map(), lines: [], health: "" };

// -- talking to the API --------------------------------------------------------

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch("api/" + path, options);
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.errors[0].details);
  return value;
}

async function attempt(errorId, work) {
  $(errorId).textContent = "";
  try {
    await work();
  } catch (error) {
    $(errorId).textContent = error instanceof TypeError ? "The sandbox does not answer." : error.message;
  }
}

// -- small things ----------------------------------------------------------------

const number = () => $("number").value.trim();
const person = (address) => address.replace(/^\+/, "");
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
const short = (id) => (id.length > 12 ? id.slice(0, 8) + "…" : id);

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function idButton(id, text) {
  const button = element("button", text || short(id));
  button.type = "button";
  button.title = `Show only ${id} on the wire`;
  button.setAttribute("aria-label", `Only ${id} on the wire`);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    $("wire-message").value = id;
    filterWire();
  });
  return button;
}

function talk(list, entries) {
  const signature = JSON.stringify(entries);
  if (list.dataset.shown === signature) return;
  list.dataset.shown = signature;
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  list.replaceChildren(...entries.map((entry) => {
    const item = element("li", entry.text, `${entry.out ? "out" : ""} ${entry.failed ? "failed" : ""}`.trim());
    const note = element("small", time(entry.at));
    for (const [text, className] of entry.notes) note.append(element("span", text, className));
    if (entry.id) note.append(idButton(entry.id, "wire"));
    item.append(note);
    return item;
  }));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// -- the phone -------------------------------------------------------------------

const phone = () => state.phones.get(person(number())) || { screen: null, session: null, texts: [] };
const isCode = (text) => /^\*.+#$/.test(text);

function showPhone() {
  const { screen, session, texts } = phone();
  const waiting = session !== null && session.waiting;
  setText($("session"), session === null ? "No session" : `Session on ${session.code}`);
  setText($("screen"), waiting ? "Waiting for the service…" : screen || (session ? "" : "Dial a code, for example *120*8864#"));
  $("display").classList.toggle("open", session !== null);
  setText($("ussd-send"), session === null ? "Call" : "Answer");
  $("ussd-end").disabled = session === null;
  talk($("sms-log"), texts.map((text) => ({
    id: text.id, text: text.text, at: text.at, out: text.direction === "out", failed: text.error !== null,
    notes: text.error === null ? [] : [[text.error, "failed"]],
  })));
}

function listNumbers() {
  const known = [...state.phones.values()].map((one) => one.number);
  $("numbers").replaceChildren(...known.map((one) => {
    const option = document.createElement("option");
    option.value = one;
    return option;
  }));
}

function chooseTab(name) {
  for (const tab of ["ussd", "sms"]) {
    const chosen = tab === name;
    $(tab).hidden = !chosen;
    $("tab-" + tab).setAttribute("aria-selected", String(chosen));
    $("tab-" + tab).tabIndex = chosen ? 0 : -1;
  }
  $("sms-log").scrollTop = $("sms-log").scrollHeight;
}

function setUpPhone() {
  for (const key of "123456789*0#") {
    const button = element("button", key);
    button.type = "button";
    button.addEventListener("click", () => { $("ussd-input").value += key; });
    $("keypad").append(button);
  }
  for (const [name, other] of [["ussd", "sms"], ["sms", "ussd"]]) {
    $("tab-" + name).addEventListener("click", () => chooseTab(name));
    $("tab-" + name).addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      chooseTab(other);
      $("tab-" + other).focus();
    });
  }
  $("number").addEventListener("input", () => { showPhone(); showTalk(); });
  $("ussd-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("ussd-input").value.trim();
    const path = `phones/${encodeURIComponent(number())}/`;
    attempt("phone-error", async () => {
      if (phone().session === null || isCode(text)) await call("POST", path + "dial", { code: text });
      else await call("POST", path + "answer", { text });
      $("ussd-input").value = "";
    });
    $("ussd-input").focus();
  });
  $("ussd-end").addEventListener("click", () => attempt("phone-error", () =>
    call("POST", `phones/${encodeURIComponent(number())}/hangup`, {})));
  $("sms-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt("phone-error", async () => {
      const text = $("sms-input").value;
      $("sms-input").value = "";
      await call("POST", `phones/${encodeURIComponent(number())}/sms`, { text });
    });
  });
}

// -- Turn --------------------------------------------------------------------------

function notesOf(entry) {
  const notes = entry.statuses.map((status) => [(status === "failed" ? "✕ " : "✓ ") + status, status]);
  if (entry.waiting) notes.unshift(["waiting for input", ""]);
  if (entry.error !== null) notes.push([entry.sending ? `${entry.error}; trying again (${entry.tries})` : entry.error, "sending"]);
  else if (entry.sending) notes.push(["sending…", ""]);
  return notes;
}

function showTalk() {
  const entries = state.conversations.get(person(number())) || [];
  talk($("talk"), entries.map((entry) => ({
    id: entry.id, text: entry.text, at: entry.at, out: entry.direction === "outbound",
    failed: (entry.error !== null && !entry.sending) || entry.statuses.includes("failed"),
    notes: notesOf(entry),
  })));
}

function setUpTurn() {
  $("turn-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("turn-input").value;
    $("turn-input").value = "";
    attempt("turn-error", () => call("POST", `conversations/${encodeURIComponent(number())}`,
      { text, waiting: $("waiting").checked }));
  });
  $("journey").addEventListener("change", () => attempt("turn-error", () =>
    call("PUT", "journey", { on: $("journey").checked })));
}

// -- the wire ------------------------------------------------------------------------

const AMQP_WORDS = { publish: "publish to", deliver: "deliver from", ack: "ack", requeue: "requeue", refused: "not taken:" };
const GOOD = "good", BAD = "bad", PLAIN = "plain";

function summaryOf(line) {
  if (line.protocol === "amqp") {
    const result = { ack: ["ack", GOOD], requeue: ["requeue", BAD], refused: ["refused", BAD] }[line.what];
    return { how: AMQP_WORDS[line.what], where: line.where, result: result || (line.redelivered ? ["redelivered", PLAIN] : null) };
  }
  const arrow = line.who === "worker" ? "worker → Turn" : "Turn → worker";
  const back = line.who === "worker" ? "worker ← Turn" : "Turn ← worker";
  if (line.what === "request") return { how: arrow, where: line.where, result: null };
  if (line.status === null) return { how: back, where: line.where, result: [line.reason || "no answer", BAD] };
  return { how: back, where: line.where, result: [String(line.status), line.status < 300 ? GOOD : BAD] };
}

// The few words that tell one line from the next.
function gistOf(body) {
  if (!body || typeof body !== "object") return "";
  const quoted = (text) => (text ? `“${text.length > 40 ? text.slice(0, 40) + "…" : text}”` : "");
  if (body.message_type === "event") return body.delivery_status || body.event_type;
  if (body.message_type === "failure_message") return body.failure_code;
  if (body.message_type === "user_message") return [body.session_event, quoted(body.content)].filter(Boolean).join(" ");
  if (body.status && body.status.status) return body.status.status;
  if (body.message && body.message.text) return quoted(body.message.text.body);
  if (body.errors && body.errors[0]) return body.errors[0].details || "";
  return typeof body.content === "string" ? quoted(body.content) : "";
}

function lineElement(line) {
  const item = element("li");
  const details = element("details");
  const summary = element("summary");
  const { how, where, result } = summaryOf(line);
  const what = element("span", undefined, "what");
  what.append(element("span", how + " ", "how"), where);
  const gist = gistOf(line.body);
  if (gist) what.append(element("span", " " + gist, "gist"));
  summary.append(element("span", time(line.at), "at"), element("span", line.protocol.toUpperCase(), "tag " + line.protocol), what);
  if (result) summary.append(element("span", result[0], "result " + result[1]));
  details.append(summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(openedElement(line));
  });
  item.append(details);
  return item;
}

function openedElement(line) {
  const opened = element("div", undefined, "opened");
  if (line.ids.length) {
    const ids = element("div", undefined, "ids");
    for (const id of line.ids) ids.append(idButton(id, id));
    opened.append(element("h3", "Only the lines of"), ids);
  }
  if (line.reason) opened.append(element("h3", "Reason"), element("pre", line.reason));
  if (line.headers) {
    const headers = Object.entries(line.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
    opened.append(element("h3", "Headers"), element("pre", headers));
  }
  if (line.body !== undefined) {
    const text = typeof line.body === "string" ? line.body : JSON.stringify(line.body, null, 2);
    opened.append(element("h3", "Body"), element("pre", text));
  }
  return opened;
}

function wanted(line) {
  const id = $("wire-message").value.trim();
  const protocol = $("wire-protocol").value;
  return (!id || line.ids.some((one) => one.startsWith(id))) && (!protocol || line.protocol === protocol);
}

function addLine(line) {
  state.lines.push(line);
  if (state.lines.length > KEEP) state.lines.shift();
  if (!wanted(line)) return;
  const list = $("lines");
  const top = list.scrollTop;
  const item = lineElement(line);
  item.className = "new";
  list.prepend(item);
  // Who reads further down, or has opened a line, is not moved.
  if (top > 0) list.scrollTop = top + item.offsetHeight;
  while (list.children.length > KEEP) list.lastElementChild.remove();
  $("wire-empty").hidden = true;
}

function filterWire() {
  $("lines").replaceChildren(...state.lines.filter(wanted).reverse().map(lineElement));
  $("lines").scrollTop = 0;
  $("wire-empty").hidden = state.lines.length > 0;
}

function setUpWire() {
  $("wire-message").addEventListener("input", filterWire);
  $("wire-protocol").addEventListener("change", filterWire);
  $("wire-filter").addEventListener("submit", (event) => event.preventDefault());
  $("wire-filter").addEventListener("reset", () => setTimeout(filterWire));
}

// -- weather, health and what is parked --------------------------------------------------

const TURN_WEATHER = {
  up: { mode: "up" },
  down: { mode: "down" },
  slow: { mode: "up", delay: 3 },
  error500: { mode: "error", status: 500 },
  error400: { mode: "error", status: 400 },
  throttle: { mode: "throttle", retry_after: 10 },
  error401: { mode: "error", status: 401 },
  hang: { mode: "hang" },
  liar: { mode: "liar" },
};

function turnWeatherName(weather) {
  if (weather.turn_script.length) return "other";
  const { mode, status, delay } = weather.turn;
  if (mode === "error") return { 400: "error400", 401: "error401", 500: "error500" }[status] || "other";
  return mode === "up" && delay > 0 ? "slow" : mode;
}

function showWeather(weather) {
  const chosen = {
    turn: weather.turn && turnWeatherName(weather), network: weather.network && weather.network.mode, broker: weather.broker,
  };
  for (const [name, value] of Object.entries(chosen)) {
    const select = $("weather-" + name);
    select.disabled = value === null;
    if (value === null) select.replaceChildren(element("option", "is the real one"));
    else select.value = value;
    $("node-" + name).classList.toggle("trouble", value !== null && value !== "up");
  }
}

const COUNTERS = [
  ["in_flight", "in flight"], ["held", "held", true], ["parked", "parked", true], ["posted", "POSTs to Turn"], ["accepted", "accepted"],
  ["retried", "retried", true], ["recovered", "recovered"], ["inbound_queue", "inbound queue"], ["event_queue", "event queue"],
  ["outbound_queue", "outbound queue"], ["remembered", "in the cache"],
];

function healthText(health) {
  const bad = Object.entries(health.components).filter(([, part]) => part.health !== "ok" || (part.state !== "ok" && part.state !== "connected"));
  return [health.health, ...bad.map(([name, part]) => `${name} ${part.state}`)].join(" · ");
}

function showHealth(health) {
  setText($("health"), healthText(health));
  $("node-worker").className = `node ${health.health}`;
  const pairs = COUNTERS.filter(([name]) => name in health.counters).map(([name, title, alarming]) => {
    const box = element("div");
    const value = health.counters[name];
    box.append(element("dt", title), element("dd", String(value), alarming && value > 0 ? "some" : ""));
    box.dataset.counter = name;
    return box;
  });
  $("counters").replaceChildren(...pairs);
  showParked(health.parked);
}

function showParked(parked) {
  const signature = JSON.stringify(parked);
  if ($("parked").dataset.shown === signature) return;
  $("parked").dataset.shown = signature;
  $("parked-empty").hidden = parked.length > 0;
  $("replay").disabled = parked.length === 0;
  $("parked").replaceChildren(...parked.map((one) => {
    const item = element("li");
    item.append(element("span", one.code, "code"), " ", idButton(one.id), ` from ${one.queue || "an unknown queue"}: ${one.reason}`);
    return item;
  }));
}

function setUpWeather() {
  const set = (change) => attempt("weather-error", () => call("PUT", "weather", change));
  $("weather-turn").addEventListener("change", () => set({ turn: TURN_WEATHER[$("weather-turn").value] }));
  $("weather-network").addEventListener("change", () => set({ network: { mode: $("weather-network").value } }));
  $("weather-broker").addEventListener("change", () => set({ broker: $("weather-broker").value }));
  $("replay").addEventListener("click", () => attempt("parked-error", () => call("POST", "parked/replay", {})));
}

// -- live --------------------------------------------------------------------------------

const HANDLERS = {
  phone(one) { state.phones.set(person(one.number), one); listNumbers(); showPhone(); },
  conversation(one) { state.conversations.set(person(one.address), one.entries); showTalk(); },
  wire: addLine,
  weather: showWeather,
  health: showHealth,
  journey(one) { $("journey").checked = one.on; },
};

function showSetup(setup) {
  for (const [part, there] of [["phone", setup.phones], ["turn", setup.turn === "simulated"]]) {
    $(part + "-body").hidden = !there;
    $(part + "-note").hidden = there;
  }
  setText($("connection"), `Live. Connector ${setup.connector}, ${setup.broker === "memory" ? "broker in memory" : "RabbitMQ"}, Turn ${setup.turn}.`);
  $("connection").classList.remove("lost");
}

function showAll(all) {
  state.phones = new Map(all.phones.map((one) => [person(one.number), one]));
  state.conversations = new Map(all.conversations.map((one) => [person(one.address), one.entries]));
  state.lines = all.lines;
  $("journey").checked = all.journey;
  showSetup(all.setup);
  showWeather(all.weather);
  showHealth(all.health);
  listNumbers();
  showPhone();
  showTalk();
  filterWire();
}

// Events that come while the whole state is on its way wait for it; lines that it has are not added twice.
function listen() {
  const source = new EventSource("api/events");
  let waiting = null;
  const handle = (name, data) => {
    if (name === "wire" && state.lines.length && data.number <= state.lines[state.lines.length - 1].number) return;
    HANDLERS[name](data);
  };
  source.addEventListener("open", async () => {
    waiting = [];
    try {
      showAll(await call("GET", "state"));
    } catch (error) {
      setText($("connection"), "The sandbox does not answer.");
    }
    const missed = waiting;
    waiting = null;
    for (const [name, data] of missed) handle(name, data);
  });
  source.addEventListener("error", () => {
    setText($("connection"), "The sandbox does not answer; trying again…");
    $("connection").classList.add("lost");
  });
  for (const name of Object.keys(HANDLERS)) {
    source.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      if (waiting === null) handle(name, data);
      else waiting.push([name, data]);
    });
  }
}

setUpPhone();
setUpTurn();
setUpWire();
setUpWeather();
listen();
