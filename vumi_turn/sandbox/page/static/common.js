// What all parts of the page share: the API, what is known, and small helpers.

export const $ = (id) => document.getElementById(id);

export const state = { phones: new Map(), conversations: new Map(), lines: [] };

export async function call(method, path, body) {
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

// Do something, and say in an element what was wrong; whether it worked.
export async function attempt(errorId, work) {
  $(errorId).textContent = "";
  try {
    await work();
    return true;
  } catch (error) {
    $(errorId).textContent = error instanceof TypeError ? "The sandbox does not answer." : error.message;
    return false;
  }
}

// The number that the page shows: of its phone, and of Turn's conversation.
export const number = () => $("number").value.trim();

// An address is the same person's with and without its +.
export const person = (address) => address.replace(/^\+/, "");

const CLOCK = { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit" };
export const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], CLOCK);
export const exactTime = (seconds) => `${time(seconds)}.${String(Math.floor((seconds % 1) * 1000)).padStart(3, "0")}`;

export const short = (id) => (id.length > 12 ? id.slice(0, 8) + "…" : id);

export function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// A text that stays the same is not set again: a screen reader would say it again.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
