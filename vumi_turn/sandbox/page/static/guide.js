// The first minute: one step at a time, each done by what happens.

import { setText } from "./design/parts.js";
import { $, state } from "./common.js";
import { brokenTurn } from "./faults.js";

const said = (test) => [...state.messages.values()].some((one) => one.direction === "in" && test(one));
const inHand = () => (state.health && state.health.counters.now.waiting) || 0;
const parked = () => (state.health ? state.health.parked.length : 0);

const STEPS = [
  ["Press Call on the phone: it dials the clinic.", () => said((one) => one.session === "new")],
  ["The clinic asks something. Type 1 and press Answer.", () => said((one) => one.session === "resume")],
  ["Now break something: press Down at Turn.", () => brokenTurn()],
  ["Call or answer again, and watch the worker try, and hold, your message.", () => brokenTurn() && inHand() > 0],
  ["Press Restore: what waited arrives.", () => !brokenTurn() && inHand() === 0],
  ["Let Turn refuse: More…, 400. Then send an SMS: it is parked.", () => parked() > 0],
  ["Restore Turn, open Parked and press Replay.", () => parked() === 0 && !brokenTurn()],
];
const KEY = "vumi_turn sandbox guide";

let step = 0;

function stored() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

function store(value) {
  try { localStorage.setItem(KEY, value); } catch { /* without a memory the guide is shown again */ }
}

// Go on as far as what was asked for has happened.
export function follow() {
  if (!state.setup.phones || state.setup.turn !== "simulated" || stored() === "dismissed") {
    $("guide").hidden = true;
    return;
  }
  if (step < STEPS.length && STEPS[step][1]()) step += 1;
  $("guide").hidden = false;
  setText($("guide-step"), step < STEPS.length ? `${step + 1} of ${STEPS.length}` : "Done");
  setText($("guide-text"), step < STEPS.length ? STEPS[step][0] : "That was the whole way of a message. Open one in Messages to see each hop, or answer as an agent.");
}

export function setUpGuide() {
  $("guide-close").addEventListener("click", () => {
    store("dismissed");
    $("guide").hidden = true;
  });
}
