// Which part of the page is shown, on screens that are not wide.

import { shortcuts } from "./design/parts.js";
import { $ } from "./common.js";

export function setUpParts() {
  for (const button of $("parts").querySelectorAll("button")) {
    button.addEventListener("click", () => showPart(button.dataset.part));
  }
  showPart("phone");
}

// On screens that are not wide one part is shown at a time.
export function showPart(part) {
  document.body.dataset.part = part;
  for (const button of $("parts").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.part === part));
  }
  if (part === "parked") $("tab-parked").click();
  else if (part === "messages" && !["tab-messages", "tab-raw"].some((id) => $(id).getAttribute("aria-selected") === "true")) $("tab-messages").click();
}

const KEYS_OFF = "vumi_turn sandbox keys off";

// Single keys disturb who speaks to the computer, or has them taken by something else: they can be switched off.
export function setUpKeys() {
  const off = () => { try { return localStorage.getItem(KEYS_OFF) === "yes"; } catch { return false; } };
  $("keys").checked = !off();
  $("keys").addEventListener("change", () => { try { localStorage.setItem(KEYS_OFF, $("keys").checked ? "" : "yes"); } catch { /* for this page only */ } });
  const lead = (part, tab, field) => () => {
    if (!$("keys").checked) return;
    showPart(part);
    if (tab) $(tab).click();
    $(field || tab).focus();
  };
  shortcuts({
    "/": lead("messages", null, "search"), d: lead("phone", "tab-ussd", "ussd-input"), s: lead("phone", "tab-sms", "sms-input"),
    t: lead("turn", null, "turn-input"), m: lead("messages", "tab-messages"), r: lead("messages", "tab-raw"), p: lead("parked", "tab-parked"),
    "?": () => { if ($("keys").checked) $("words").showModal(); },
  });
}
