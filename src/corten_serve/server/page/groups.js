// Fields that are made of fields: objects, lists, tuples, tables, unions, and what may be left out as a whole.

const DEEPEST = 8;

// The field for `raw`, a schema as it is written. Recursive types end because what is optional is made when it is asked for.
function field(name, raw, { required = true, depth = 0, whole = false } = {}) {
  const { schema, nullable, options } = unfold(raw);
  const context = { name: name || schema.title || "value", schema, required, nullable, depth, whole };
  const kind = options ? "union" : depth > DEEPEST ? "json" : kindOf(schema);
  const make = { constant: constantField, choice: choiceField, file: fileField, text: textField, number: numberField, boolean: booleanField, json: jsonField }[kind];
  if (make) return make(context);
  if (kind === "numbers") return numericDepth(schema) === 1 ? switching(context) : numbersField(context);
  const group = { object: objectField, list: listField, tuple: tupleField, table: tableField, union: unionField }[kind];
  const inner = { ...context, options };
  return !whole && (nullable || !required) ? optional(inner, group) : group(inner);
}

// A fieldset with its words. `parts` are the nodes in it; `find` turns a path into a field within it, or undefined.
function grouped(context, parts, { read, write, find }, note) {
  const { name, schema, whole, bare } = context;
  const help = schema.description && !whole && el("p", { class: "help", id: unique() }, schema.description);
  const problem = el("p", { class: "problem", id: unique() });
  const node = el("fieldset", { class: whole ? "top" : bare && "bare", "aria-describedby": [help && help.id, problem.id].filter(Boolean).join(" ") },
    el("legend", { class: (whole || bare) && "hidden" }, name, note && " ", note && el("small", {}, note)), help, parts, problem);
  const group = {
    node,
    read,
    write,
    locate: (path) => (path ? find(path) : undefined) ?? group,
    complain: (message) => (problem.textContent = message ?? ""),
    focus: () => node.querySelector("input, select, textarea, button")?.focus(),
  };
  return group;
}

const optionalNote = (context) => [wordsFor(context.schema), !context.required && "optional"].filter(Boolean).join(", ");

function objectField(context) {
  const { schema, depth } = context;
  const required = Array.isArray(schema.required) ? schema.required : [];
  const fields = new Map(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, field(name, inner, { required: required.includes(name), depth: depth + 1 })]));
  const open = schema.additionalProperties === true || (isObject(schema.additionalProperties) && schema.additionalProperties);
  const more = open && tableField({ name: "further fields", schema: { additionalProperties: open }, required: false, depth: depth + 1 });
  const read = () => Object.fromEntries([...[...fields].map(([name, one]) => [name, one.read()]), ...Object.entries((more && more.read()) || {})].filter(([, value]) => value !== undefined));
  const write = (value) => {
    if (!isObject(value)) return;
    for (const [name, one] of fields) one.write(own(value, name));
    if (more) more.write(Object.fromEntries(Object.entries(value).filter(([name]) => !fields.has(name))));
  };
  // Names may hold dots themselves: the longest name that fits counts.
  const find = (path) => {
    const name = [...fields.keys()].filter((one) => path === one || path.startsWith(`${one}.`) || path.startsWith(`${one}[`)).sort((a, b) => b.length - a.length)[0];
    if (name !== undefined) return fields.get(name).locate(path.slice(name.length).replace(/^\./, ""));
    return more ? more.locate(path) : undefined;
  };
  if (schema.default) write(schema.default);
  return grouped(context, [fields.size || more ? null : el("p", { class: "quiet" }, "Nothing is to be filled in."), [...fields.values()].map((one) => one.node), more && more.node], { read, write, find });
}

// Rows that can be added and removed. `make(index, value)` gives a field for one row.
function rows(context, make, word) {
  const { schema } = context;
  const fixed = [];
  const box = el("div");
  const add = button(`Add ${word}`, () => { append().focus(); changed(); }, `to ${context.name}`, "small add");
  const append = (value) => {
    const one = make(fixed.length, value);
    const remove = button("Remove", () => {
      const index = fixed.indexOf(one);
      fixed.splice(index, 1);
      row.remove();
      (fixed[Math.min(index, fixed.length - 1)] ?? { focus: () => add.focus() }).focus();
      renumber();
      changed();
    });
    const row = el("div", { class: "row" }, one.node, remove);
    one.renumber = (index) => remove.setAttribute("aria-label", `Remove ${word} ${index + 1} of ${context.name}`);
    fixed.push(one);
    box.append(row);
    renumber();
    return one;
  };
  const renumber = () => {
    fixed.forEach((one, index) => one.renumber(index));
    add.hidden = fixed.length >= (schema.maxItems ?? Infinity);
  };
  const clear = () => {
    fixed.length = 0;
    box.replaceChildren();
    renumber();
  };
  return { fixed, append, clear, nodes: [box, add] };
}

function listField(context) {
  const { schema, depth } = context;
  const list = rows(context, (index, value) => {
    const one = field(`item ${index + 1}`, schema.items, { depth: depth + 1 });
    if (value !== undefined) one.write(value);
    return one;
  }, "item");
  const read = () => list.fixed.map((one) => one.read()).map((value) => (value === undefined ? null : value));
  const write = (value) => {
    list.clear();
    if (Array.isArray(value)) value.forEach((item) => list.append(item));
  };
  const find = (path) => {
    const [found, index] = /^\[(\d+)\]\.?/.exec(path) ?? [];
    return list.fixed[index]?.locate(path.slice(found.length));
  };
  if (Array.isArray(schema.default)) write(schema.default);
  else if (context.required) for (let count = 0; count < Math.min(schema.minItems ?? 1, 20); count++) list.append();
  return grouped(context, list.nodes, { read, write, find }, optionalNote(context));
}

function tupleField(context) {
  const { schema, depth } = context;
  const places = schema.prefixItems.map((inner, index) => field(resolve(inner).title ?? `item ${index + 1}`, inner, { depth: depth + 1 }));
  const read = () => places.map((one) => one.read()).map((value) => (value === undefined ? null : value));
  const write = (value) => Array.isArray(value) && places.forEach((one, index) => one.write(value[index]));
  const find = (path) => {
    const [found, index] = /^\[(\d+)\]\.?/.exec(path) ?? [];
    return places[index]?.locate(path.slice(found.length));
  };
  if (schema.default) write(schema.default);
  return grouped(context, places.map((one) => one.node), { read, write, find }, optionalNote(context));
}

// An object with keys of one's own choosing.
function tableField(context) {
  const { schema, depth } = context;
  const list = rows(context, (index, entry) => {
    const key = field("key", { type: "string", maxLength: 0, ...resolve(schema.propertyNames), description: undefined }, { depth: depth + 1 });
    const value = field("value", schema.additionalProperties, { depth: depth + 1 });
    if (entry) [key, value].forEach((one, place) => one.write(entry[place]));
    return { key, value, node: el("div", { class: "pair" }, key.node, value.node), focus: key.focus };
  }, "entry");
  const read = () => {
    const entries = list.fixed.map((one) => [one.key.read() ?? "", one.value.read() ?? null]);
    return entries.length || context.required ? Object.fromEntries(entries) : undefined;
  };
  const write = (value) => {
    list.clear();
    if (isObject(value)) Object.entries(value).forEach((entry) => list.append(entry));
  };
  const find = (path) => {
    const named = list.fixed.map((one) => [String(one.key.read()), one]).filter(([name]) => path === name || path.startsWith(`${name}.`) || path.startsWith(`${name}[`));
    const [name, one] = named.sort((a, b) => b[0].length - a[0].length)[0] ?? [];
    return one?.value.locate(path.slice(name.length).replace(/^\./, ""));
  };
  if (schema.default) write(schema.default);
  return grouped(context, list.nodes, { read, write, find }, context.required ? "" : "optional");
}

function unionField(context) {
  const { schema, options, depth, name } = context;
  const schemas = options.map(resolve);
  const titles = schemas.map((one) => one.title ?? (one.anyOf || one.oneOf ? "one of several" : wordsFor(one)));
  let inner;
  const place = el("div");
  const pick = el("select", { "aria-label": `Kind of ${name}`, onchange: () => choose(Number(pick.value)) }, titles.map((title, index) => el("option", { value: index }, title)));
  const choose = (index) => {
    pick.value = index;
    inner = field("value", options[index], { depth: depth + 1 });
    place.replaceChildren(inner.node);
  };
  const fits = (one, value) => {
    if ("const" in one) return spell(one.const) === spell(value);
    if (one.enum) return one.enum.some((choice) => spell(choice) === spell(value));
    const form = Array.isArray(value) ? "array" : value === null ? "null" : typeof value === "bigint" ? "number" : typeof value;
    if (form === "object" && one.properties) return (one.required ?? []).every((key) => Object.hasOwn(value, key)) && Object.keys(value).every((key) => Object.hasOwn(one.properties, key));
    return !one.type || one.type === form || (one.type === "integer" && Number.isInteger(Number(value)) && form === "number");
  };
  const write = (value) => {
    if (value === undefined || value === null) return;
    choose(Math.max(0, schemas.findIndex((one) => fits(one, value))));
    inner.write(value);
  };
  choose(0);
  if (schema.default !== undefined) write(schema.default);
  return grouped(context, [pick, place], { read: () => inner.read(), write, find: (path) => inner.locate(path) }, context.required ? "" : "optional");
}

// A group behind a checkbox: left out, or null where it has to be there, until it is ticked.
function optional(context, group) {
  const { name, schema } = context;
  let inner;
  const place = el("div");
  const control = el("input", { type: "checkbox" });
  const make = () => {
    inner ??= group({ ...context, schema: { ...schema, description: undefined }, required: true, nullable: false, bare: true });
    place.replaceChildren(inner.node);
  };
  const set = (on) => {
    control.checked = on;
    if (on) make();
    else place.replaceChildren();
  };
  control.addEventListener("change", () => set(control.checked));
  const write = (value) => {
    set(value !== undefined && value !== null);
    if (control.checked) inner.write(value);
  };
  const outer = labelled({ ...context, name: `Give ${name}`, schema: { ...schema, default: undefined, examples: undefined } }, control, () => (control.checked ? inner.read() : emptyOf(context)), write, { check: true, after: place });
  const locate = outer.locate;
  outer.locate = (path) => (control.checked && path ? inner.locate(path) : locate());
  // What is wrong further in is said there.
  outer.read = () => (control.checked ? inner.read() : emptyOf(context));
  if (schema.default !== undefined && schema.default !== null) write(schema.default);
  return outer;
}

// A list of numbers: as one line of text, or a field for each.
function switching(context) {
  const text = numbersField(context);
  let shown = text, list;
  const swap = button("As rows", () => {
    let value;
    try {
      value = shown.read();
    } catch (error) {
      return shown.complain(error.message);
    }
    shown.complain();
    if (shown === text) {
      list = listField({ ...context, required: true, schema: { ...context.schema, default: undefined } });
      list.write(value ?? []);
      text.node.hidden = true;
      node.prepend(list.node);
      shown = list;
    } else {
      text.write(value);
      list.node.remove();
      text.node.hidden = false;
      shown = text;
    }
    swap.textContent = shown === text ? "As rows" : "As text";
    swap.setAttribute("aria-label", `${swap.textContent}: ${context.name}`);
    changed();
  }, null, "small add");
  swap.setAttribute("aria-label", `As rows: ${context.name}`);
  const node = el("div", { class: "field" }, text.node, swap);
  return {
    node,
    read: () => shown.read(),
    write: (value) => shown.write(value),
    locate: (path) => shown.locate(path),
    complain: (message) => shown.complain(message),
    focus: () => shown.focus(),
  };
}
