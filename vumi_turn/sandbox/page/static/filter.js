// What is shown of all that passed: by words, by chips, and since it was cleared.

export const filter = {
  words: "",
  chips: new Set(),
  paused: false,
  afterLine: 0,
  afterMessage: 0,

  // After the sandbox has been reset, numbers begin anew.
  forget() { this.afterLine = this.afterMessage = 0; },

  wantsWords(item) { return !this.words || JSON.stringify(item).toLowerCase().includes(this.words); },

  message(one) {
    if (one.number <= this.afterMessage || !this.wantsWords(one)) return false;
    const directions = ["in", "out"].filter((name) => this.chips.has(name));
    if (directions.length && !directions.includes(one.direction)) return false;
    return !this.chips.has("errors") || hasTrouble(one);
  },

  line(line) {
    if (line.number <= this.afterLine || !this.wantsWords(line)) return false;
    const protocols = ["amqp", "http"].filter((name) => this.chips.has(name));
    if (protocols.length && !protocols.includes(line.protocol)) return false;
    return !this.chips.has("errors") || isBad(line);
  },
};

const hasTrouble = (one) => ["bad", "warn"].includes(one.outcome.tone) || one.tries > 1 || one.hops.some((hop) => hop.tone === "bad");

export function isBad(line) {
  if (line.protocol === "amqp") return ["requeue", "refused"].includes(line.what) || /failures$/.test(line.where);
  return line.what === "response" && (line.status === null || line.status >= 300);
}
