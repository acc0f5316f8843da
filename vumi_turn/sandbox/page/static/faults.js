// Breaking things, what is broken now, and how the worker is.

import { duration, element, plural, setText } from "./design/parts.js";
import { $, attempt, call, state } from "./common.js";
import { showNextTries, tick } from "./messages.js";
import { openView } from "./traffic.js";

const TURN = {
  up: { mode: "up" },
  down: { mode: "down" },
  slow: { mode: "up", delay: 3 },
  throttle: { mode: "throttle", retry_after: 10 },
  error400: { mode: "error", status: 400 },
  error401: { mode: "error", status: 401 },
  error500: { mode: "error", status: 500 },
  hang: { mode: "hang" },
  lost_answer: { mode: "lost_answer" },
};

const SENTENCES = {
  turn: {
    down: "You switched Turn off.", slow: "You made Turn slow: each answer takes 3 s.", throttle: "You let Turn answer 429: wait 10 s.",
    error400: "You let Turn refuse everything with 400.", error401: "You let Turn refuse the token with 401.", error500: "You let Turn fail with 500.",
    hang: "You let Turn hang: it answers nothing.", lost_answer: "You let Turn take requests and cut the connection.", other: "Turn follows a script.",
  },
  network: { nack: "You let the phone network refuse messages.", fail: "You let the phone network fail to deliver.", late: "You made the phone network 10 s late." },
  broker: { away: "You took the broker away." },
};

function turnFault(faults) {
  if (faults.turn === null) return null;
  if (faults.turn_script.length) return "other";
  const { mode, status, delay } = faults.turn;
  if (mode === "error") return { 400: "error400", 401: "error401", 500: "error500" }[status] || "other";
  return mode === "up" && delay > 0 ? "slow" : mode;
}

export function showFaults(faults) {
  state.faults = faults;
  const now = { turn: turnFault(faults), network: faults.network && faults.network.mode, broker: faults.broker };
  const sentences = [];
  for (const [name, value] of Object.entries(now)) {
    const group = document.querySelector(`[data-fault=${name}]`);
    group.hidden = value === null;
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.value === value));
    const broken = value !== null && value !== "up";
    $(`node-${name}`).classList.toggle("broken", broken);
    if (broken) sentences.push(SENTENCES[name][value]);
  }
  $("turn-more").hidden = now.turn === null;
  $("turn-more").value = now.turn in TURN && !["up", "down", "slow", "throttle"].includes(now.turn) ? now.turn : now.turn === "other" ? "other" : "";
  $("turn-more").classList.toggle("chosen", $("turn-more").value !== "");
  $("limit-row").hidden = now.turn === null;
  $("limit").checked = faults.limit !== null;
  $("faults-banner").hidden = sentences.length === 0;
  setText($("faults-text"), sentences.join(" "));
  showLimit();
}

function showLimit() {
  const limit = state.health && state.health.limit !== undefined ? state.health.limit : state.faults.limit;
  if (!state.faults.limit || !limit) return setText($("limit-text"), "Rate limit: off");
  const seconds = Math.max(0, Math.ceil(limit.until - Date.now() / 1000));
  const left = seconds ? `${limit.left} of ${limit.calls} calls left, new in ${seconds} s` : `${limit.calls} calls in ${duration(limit.window)}`;
  setText($("limit-text"), `Rate limit: ${left}`);
}

export const brokenTurn = () => state.faults.turn && turnFault(state.faults) !== "up";

// Name in the API, words, whether a number above 0 needs a look, and where to look.
const NOW = [
  ["waiting", "in hand", false, ["tab-messages"]], ["in_flight", "POSTs under way", false, ["tab-raw", { chips: ["http"] }]], ["held", "held until Turn takes them", true, ["tab-messages", { chips: ["errors"] }]],
  ["parked", "parked", true, ["tab-parked"]], ["inbound_queue", "in the inbound queue", false, ["tab-raw", { words: ".inbound" }]],
  ["event_queue", "in the event queue", false, ["tab-raw", { words: ".event" }]], ["outbound_queue", "in the outbound queue", false, ["tab-raw", { words: ".outbound" }]],
  ["remembered", "remembered in the cache", false, null],
];
const SINCE = [
  ["posted", "POSTs to Turn", false, ["tab-raw", { chips: ["http"] }]], ["accepted", "taken by Turn", false, ["tab-messages", { words: "taken by Turn" }]],
  ["retried", "tried again", true, ["tab-messages", { chips: ["errors"] }]], ["recovered", "taken after a failure", false, ["tab-messages", { chips: ["errors"] }]],
];

const PARTS = { turn: "Turn", amqp: "RabbitMQ", redis: "Redis" };

export function showHealth(health) {
  state.health = health;
  const bad = Object.entries(health.components).filter(([, part]) => part.health !== "ok" || !["ok", "connected"].includes(part.state));
  const words = [health.health, ...bad.map(([name, part]) => `${PARTS[name] || name} ${part.state}`)].join(" · ");
  const tone = { ok: "good", degraded: "warn", down: "bad" }[health.health];
  for (const id of ["health", "flow-short"]) {
    setText($(id), words);
    $(id).className = `state ${tone}`;
  }
  showHolding();
  showNextTries();
  showLimit();
  $("counters").replaceChildren(group("Now", NOW, health.counters.now), group("Since the start", SINCE, health.counters.since_start));
}

function group(title, names, values) {
  const list = element("dl", { class: "values counters" });
  for (const [name, words, alarming, view] of names) {
    const value = values[name];
    if (value === undefined) continue;
    const label = view ? element("button", { type: "button", class: "link", onclick: () => openView(...view) }, words) : words;
    list.append(element("dt", {}, label), element("dd", { data: { counter: name }, class: value === 0 ? "zero" : alarming ? "some" : "" }, String(value)));
  }
  return list.children.length ? element("section", { "aria-label": title }, element("h3", {}, title), list) : element("span");
}

// "Holding 1 message, next try in 4 s"
function showHolding() {
  const { counters, next_try: next } = state.health;
  const { held = 0, waiting = 0 } = counters.now;
  const seconds = next ? Math.max(0, Math.ceil(next - Date.now() / 1000)) : null;
  const parts = held ? [`Holding ${plural(held, "message")}`] : waiting && brokenTurn() ? [`Trying ${plural(waiting, "message")}`] : [];
  if (seconds !== null && waiting) parts.push(`next try in ${seconds} s`);
  setText($("holding"), parts.join(", "));
}

const set = (change) => attempt("faults-problem", () => call("PUT", "faults", change));

export function setUpFaults() {
  for (const group of document.querySelectorAll("[data-fault]")) {
    for (const button of group.children) {
      const name = group.dataset.fault, value = button.dataset.value;
      button.addEventListener("click", () => set({ [name]: { turn: TURN[value], network: { mode: value }, broker: value }[name] }));
    }
  }
  $("turn-more").addEventListener("change", () => set({ turn: TURN[$("turn-more").value || "up"] }));
  $("limit").addEventListener("change", () => set({ limit: $("limit").checked ? {} : null }));
  $("restore").addEventListener("click", () => {
    const change = {};
    if (state.faults.turn !== null) change.turn = {};
    if (state.faults.network !== null) change.network = {};
    if (state.faults.broker !== null) change.broker = "up";
    set(change);
  });
  $("flow-fold").addEventListener("click", () => fold($("nodes").hidden));
  const narrow = matchMedia("(max-width: 1179px)");
  narrow.addEventListener("change", () => fold(!narrow.matches));
  fold(!narrow.matches);
  setInterval(() => { if (state.health) { showHolding(); showLimit(); tick(); } }, 500);
}

function fold(open) {
  $("nodes").hidden = !open;
  $("flow-fold").setAttribute("aria-expanded", String(open));
}
