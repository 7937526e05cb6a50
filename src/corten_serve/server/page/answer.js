// Answers: what was predicted, in the form that reads best, and always as JSON too.

const PICTURES = { iVBORw0KGgo: "png", "/9j/": "jpeg", R0lGOD: "gif", UklGR: "webp" };
const ADDRESS = /^data:image\/(png|jpe?g|gif|webp|avif|bmp|svg\+xml);base64,[A-Za-z0-9+/=\s]+$/;
const isPlain = (value) => typeof value !== "object" || value === null;
const isNumeric = (value) => typeof value === "number" || typeof value === "bigint";

// The type of a picture by how its base64 begins; or undefined.
function pictureType(text) {
  const found = Object.keys(PICTURES).find((start) => text.startsWith(start));
  return found && `image/${PICTURES[found]}`;
}

// The address of the picture that a text holds, by its schema or by how pictures begin; or undefined.
function pictureIn(text, schema) {
  if (text.length < 40) return undefined;
  if (text.startsWith("data:")) return ADDRESS.test(text) ? text : undefined;
  const said = /^image\/[a-z.+-]+$/.exec(schema?.contentMediaType ?? "")?.[0];
  const type = pictureType(text) ?? said;
  return type && /^[A-Za-z0-9+/=\s]+$/.test(text) ? `data:${type};base64,${text}` : undefined;
}

const picture = (address, words) => el("a", { href: address, download: "answer", title: "Save this picture" }, el("img", { src: address, alt: words }));

// A table for a list of flat objects, or of rows; undefined for any other value.
function tableOf(value, title) {
  if (!Array.isArray(value) || !value.length || value.length === 1 && Array.isArray(value[0]) && !value[0].length) return undefined;
  const flat = (row) => Object.values(row).every((cell) => isPlain(cell) || (Array.isArray(cell) && cell.length < 20 && cell.every(isPlain)));
  const objects = value.every((row) => isObject(row) && flat(row));
  if (!objects && !value.every((row) => Array.isArray(row) && row.length && row.every(isPlain))) return undefined;
  const columns = objects ? [...new Set(value.flatMap(Object.keys))] : Array.from({ length: Math.max(...value.slice(0, 1000).map((row) => row.length)) }, (_, index) => index);
  if (!columns.length || columns.length > 200) return undefined;
  const cell = (inside) => {
    const text = inside === undefined ? "" : typeof inside === "string" ? inside : spell(inside);
    return el("td", { class: isNumeric(inside) && "number" }, text);
  };
  const body = el("tbody");
  const scroll = el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": title });
  const numeric = (column) => isNumeric(own(value[0], column));
  scroll.append(el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "number" }, "#"), columns.map((column) => el("th", { scope: "col", class: numeric(column) && "number" }, String(column))))),
    body));
  inParts(value, (row, index) => el("tr", {}, el("th", { scope: "row", class: "number quiet" }, index + 1), columns.map((column) => cell(own(row, column)))), 100, body, scroll);
  return scroll;
}

// A value as people would write it down. `schema` may say more about it.
function show(value, title, raw, depth = 0) {
  const schema = raw ? unfold(raw).schema : {};
  if (typeof value === "string") {
    const address = pictureIn(value, schema);
    if (address) return picture(address, `Picture: ${title}`);
    return el("div", { class: depth || value.length > 60 ? "text" : "text alone" }, value);
  }
  if (isPlain(value)) return el("div", { class: depth ? "text" : "text alone" }, spell(value));
  const table = tableOf(value, title);
  if (table) return table;
  if (Array.isArray(value)) {
    if (!value.length || value.length > 50 || depth > 4) return tree(value);
    const text = value.every(isPlain) ? spell(value) : "\n";
    if (!text.includes("\n")) return el("div", { class: "value" }, text);
    if (value.every(isNumeric)) return tree(value);
    return el("div", { class: "items" }, value.map((item, index) => el("div", {}, show(item, `${title} ${index + 1}`, schema.items, depth + 1))));
  }
  const entries = Object.entries(value);
  if (!entries.length || entries.length > 100 || depth > 4) return tree(value);
  const inner = (key) => own(schema.properties, key) ?? (isObject(schema.additionalProperties) ? schema.additionalProperties : undefined);
  return el("dl", {}, entries.map(([key, item]) => [el("dt", {}, key), el("dd", {}, show(item, key, inner(key), depth + 1))]));
}

const weight = (value, most) => {
  if (isPlain(value)) return 1 + (typeof value === "string" ? value.length / 80 : 0);
  let sum = 1;
  for (const item of Object.values(value)) if ((sum += weight(item, most - sum)) > most) break;
  return sum;
};

// JSON: small as text, large as parts that open. What is closed does not exist yet, so size costs nothing.
function tree(value) {
  return weight(value, 400) <= 400 ? el("pre", {}, spell(value)) : el("div", { class: "value" }, branch(undefined, value, true));
}

function branch(key, value, open) {
  const name = key === undefined ? "" : typeof key === "number" ? `${key}: ` : `${JSON.stringify(key)}: `;
  if (isPlain(value) || weight(value, 12) <= 12) {
    const text = spell(value);
    return el("div", { class: "leaf" }, name + (text.length > 2000 ? `${text.slice(0, 2000)}… (${text.length} characters)` : text));
  }
  const list = Array.isArray(value);
  const entries = list ? value.map((item, index) => [index, item]) : Object.entries(value);
  const inside = el("div");
  const node = el("details", { class: "tree" }, el("summary", {}, `${name}${list ? `[ ${counted(entries.length, "item")} ]` : `{ ${counted(entries.length, "field")} }`}`), inside);
  const fill = () => inside.childNodes.length || inParts(entries, ([at, item]) => branch(at, item, false), 100, inside);
  node.addEventListener("toggle", () => node.open && fill());
  if (open) {
    fill();
    node.open = true;
  }
  return node;
}

// The ways to look at a whole answer: [name, node maker] pairs.
function viewsOf(text, value, schema) {
  const views = [["JSON", () => tree(value)], ["Raw", () => el("pre", {}, text.length > 1e6 ? `${text.slice(0, 1e6)}… (${bytesText(text.length)} in all)` : text)]];
  return [["Result", () => show(value, "Answer", schema)], ...views];
}

// An answer that is no JSON: pictures, sounds, films, text, and files to save.
function media(blob, type, name) {
  const address = URL.createObjectURL(blob);
  if (/^image\//.test(type)) return picture(address, "The answer");
  if (/^(audio|video)\//.test(type)) return el(type.slice(0, 5), { src: address, controls: true });
  return el("p", {}, el("a", { href: address, download: name }, `Save ${name}`), ` ${type || "unknown type"}, ${bytesText(blob.size)}`);
}
