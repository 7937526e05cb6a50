// Elements, made from code alone: whatever comes from a schema or an answer becomes text or an attribute, never markup.

const $ = (id) => document.getElementById(id);
const own = (object, key) => (Object.hasOwn(Object(object), key) ? object[key] : undefined);
let serial = 0;
const unique = () => `f${++serial}`;

// Properties named `on…` are listeners; true means an attribute without a value; false, null and undefined mean none.
function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked") node[key] = value;
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

// A button that says in words for screen readers what its short text is about.
const button = (text, act, about, look = "small") =>
  el("button", { type: "button", class: look, onclick: act, "aria-label": about ? `${text} ${about}` : null }, text);

// Radio buttons that look like tabs; many of them become a select. `pick` gets the name that was chosen.
function tabs(title, names, chosen, pick) {
  if (names.length > 6) {
    const list = el("select", { "aria-label": title, onchange: () => pick(list.value) });
    list.append(...names.map((name) => el("option", { value: name }, name)));
    list.value = chosen;
    return list;
  }
  const group = unique();
  const choice = (name) =>
    el("label", {}, el("input", { type: "radio", name: group, value: name, checked: name === chosen, onchange: () => pick(name) }), name);
  return el("fieldset", { class: "tabs" }, el("legend", { class: "hidden" }, title), names.map(choice));
}

// Part of a list, and a button for the next part: a page stays quick with any answer.
function inParts(items, make, size, into, more = into) {
  let shown = 0;
  const next = button("", () => show());
  const show = () => {
    into.append(...items.slice(shown, shown + size).map((item, index) => make(item, shown + index)));
    shown += size;
    next.textContent = `Show more (${items.length - shown} left)`;
    if (shown < items.length) more.append(next);
    else next.remove();
  };
  show();
}

const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const bytesText = (size) =>
  size < 1000 ? `${size} B` : size < 1e6 ? `${(size / 1e3).toPrecision(3)} kB` : size < 1e9 ? `${(size / 1e6).toPrecision(3)} MB` : `${(size / 1e9).toPrecision(3)} GB`;
const timeText = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : spanText(ms / 1000));

function spanText(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function fileFrom(base64, name, type) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new File([bytes], name, { type });
}
