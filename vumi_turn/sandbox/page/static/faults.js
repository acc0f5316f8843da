// Faults, health, counters, and what is parked.

import { $, attempt, call, element, setText } from "./common.js";
import { idButton } from "./traffic.js";

const TURN_FAULTS = {
  up: { mode: "up" },
  down: { mode: "down" },
  slow: { mode: "up", delay: 3 },
  error500: { mode: "error", status: 500 },
  error400: { mode: "error", status: 400 },
  throttle: { mode: "throttle", retry_after: 10 },
  error401: { mode: "error", status: 401 },
  hang: { mode: "hang" },
  lost_answer: { mode: "lost_answer" },
};

function turnFaultsName(faults) {
  if (faults.turn_script.length) return "other";
  const { mode, status, delay } = faults.turn;
  if (mode === "error") return { 400: "error400", 401: "error401", 500: "error500" }[status] || "other";
  return mode === "up" && delay > 0 ? "slow" : mode;
}

export function showFaults(faults) {
  const chosen = {
    turn: faults.turn && turnFaultsName(faults), network: faults.network && faults.network.mode, broker: faults.broker,
  };
  for (const [name, value] of Object.entries(chosen)) {
    const select = $("faults-" + name);
    select.disabled = value === null;
    if (value === null) select.replaceChildren(element("option", "is the real one"));
    else select.value = value;
    $("node-" + name).classList.toggle("trouble", value !== null && value !== "up");
  }
}

// Name in the API, title, and whether a number above 0 is a warning.
const COUNTERS = [
  ["in_flight", "in flight"], ["held", "held", true], ["parked", "parked", true], ["posted", "POSTs to Turn"], ["accepted", "accepted"],
  ["retried", "retried", true], ["recovered", "recovered"], ["inbound_queue", "inbound queue"], ["event_queue", "event queue"],
  ["outbound_queue", "outbound queue"], ["remembered", "in the cache"],
];

function healthText(health) {
  const bad = Object.entries(health.components).filter(([, part]) => part.health !== "ok" || (part.state !== "ok" && part.state !== "connected"));
  return [health.health, ...bad.map(([name, part]) => `${name} ${part.state}`)].join(" · ");
}

export function showHealth(health) {
  setText($("health"), healthText(health));
  setText($("health-short"), `worker ${healthText(health)}`);
  $("node-worker").className = $("health-short").className = `node ${health.health}`;
  for (const [name, title, alarming] of COUNTERS) showCounter(name, title, alarming, health.counters[name]);
  showParked(health.parked);
}

function showCounter(name, title, alarming, value) {
  let box = $("counters").querySelector(`[data-counter=${name}]`);
  if (!box) {
    box = element("div");
    box.dataset.counter = name;
    box.append(element("dt", title), element("dd"));
    $("counters").append(box);
  }
  box.hidden = value === undefined;
  setText(box.lastElementChild, String(value));
  box.lastElementChild.className = alarming && value > 0 ? "some" : "";
}

function showParked(parked) {
  const signature = JSON.stringify(parked);
  if ($("parked").dataset.shown === signature) return;
  $("parked").dataset.shown = signature;
  const hadFocus = $("parked").contains(document.activeElement);
  $("parked-empty").hidden = parked.length > 0;
  $("replay").disabled = parked.length === 0;
  $("parked").replaceChildren(...parked.map(parkedElement));
  if (hadFocus) $("parked-title").focus();
}

function parkedElement(one) {
  const item = element("li");
  const text = element("p");
  text.append(element("span", one.code, "code"), " ", idButton(one.id), ` from ${one.queue || "an unknown queue"}: ${one.reason}`);
  const button = element("button", "Replay", "quiet");
  button.type = "button";
  button.setAttribute("aria-label", `Replay ${one.id}`);
  button.addEventListener("click", () => replay({ ids: [one.id] }));
  item.append(text, button);
  return item;
}

const replay = (which) => attempt("parked-error", () => call("POST", "parked/replay", which));

export function setUpFaults() {
  const set = (change) => attempt("faults-error", () => call("PUT", "faults", change));
  $("faults-turn").addEventListener("change", () => set({ turn: TURN_FAULTS[$("faults-turn").value] }));
  $("faults-network").addEventListener("change", () => set({ network: { mode: $("faults-network").value } }));
  $("faults-broker").addEventListener("change", () => set({ broker: $("faults-broker").value }));
  $("replay").addEventListener("click", () => replay({}));
  // On a narrow screen the phone comes first: the faults opens when it is asked for.
  const narrow = matchMedia("(max-width: 720px)");
  const fold = () => { $("flow").open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  for (const link of document.querySelectorAll('a[href="#flow"]')) link.addEventListener("click", () => { $("flow").open = true; });
}
