// Which part of the page is shown, on screens that are not wide.

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
