// Messages as they look in Turn: texts, buttons, lists, pictures, files, places and contacts.

import { element, icon } from "./design/parts.js";

const text = (value, className) => (value ? element("p", className ? { class: className } : {}, String(value)) : null);

// The message in WhatsApp's shape; a text where there is none, or it is of a kind that is not known.
export function showShape(shape, fallback) {
  const box = element("div", { class: "said" });
  try {
    box.append(...(SHAPES[shape && shape.type] || plain)(shape, fallback).filter(Boolean));
  } catch {
    box.replaceChildren(text(fallback));
  }
  return box;
}

const plain = (shape, fallback) => [text(fallback)];

const medium = (name) => (shape) => {
  const one = shape[shape.type];
  return [
    element("figure", {}, icon(name), element("figcaption", {}, one.filename || one.link || shape.type)),
    text(one.caption),
  ];
};

const SHAPES = {
  text: plain,
  interactive(shape) {
    const { header, body, footer, action, type } = shape.interactive;
    return [
      header && header.text ? text(header.text, "heading") : null,
      text(body && body.text),
      footer ? text(footer.text, "footing") : null,
      ...choices(type, action || {}),
    ];
  },
  image: medium("image"), sticker: medium("image"), video: medium("play"), audio: medium("play"), document: medium("file"),
  location(shape) {
    const { name, address, latitude, longitude } = shape.location;
    return [element("figure", {}, icon("place"), element("figcaption", {}, [name, address].filter(Boolean).join(", ") || `${latitude}, ${longitude}`))];
  },
  contacts(shape) {
    return shape.contacts.map((one) => element("figure", {}, icon("person"), element("figcaption", {}, one.name.formatted_name)));
  },
};

function choices(type, action) {
  if (type === "button") {
    return [element("ul", { class: "buttons", "aria-label": "Buttons" }, ...action.buttons.map((one) => element("li", {}, icon("reply"), one.reply.title)))];
  }
  if (type === "list") {
    const rows = action.sections.flatMap((section) => [
      section.title ? element("li", { class: "section" }, section.title) : null,
      ...section.rows.map((row) => element("li", {}, row.title, row.description ? element("small", {}, row.description) : null)),
    ]);
    return [element("div", { class: "menu" }, element("p", { class: "opener" }, icon("list"), action.button || "Choose"), element("ul", { "aria-label": "List" }, ...rows.filter(Boolean)))];
  }
  if (type === "cta_url") return [element("ul", { class: "buttons" }, element("li", {}, icon("external"), action.parameters.display_text))];
  return [];
}
