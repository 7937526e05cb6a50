// Fields for single values. Every field is { node, read, write, locate, complain }:
// `read` gives the value, undefined for one that is to be left out, and throws Mistake for what cannot be sent;
// `locate` finds the field that a path such as `items[2].name` means; `complain` shows what is wrong, or nothing.

// Whether the form is read to be sent, and not to be shown as code.
let sending = false;

class Mistake extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

// The label, help and place for problems around one control. `context` is { name, required, nullable, schema }.
function labelled(context, control, read, write, { after, check, focus = control } = {}) {
  const { name, schema, required, nullable } = context;
  const [identity, help, wrong] = [unique(), unique(), unique()];
  focus.id = identity;
  const description = schema.description && el("p", { class: "help", id: help }, schema.description);
  const problem = el("p", { class: "problem", id: wrong });
  const about = [wordsFor(schema), !required && "optional"].filter(Boolean).join(", ");
  const label = el("label", { for: identity, class: check && "check" }, check && control, el("span", {}, name, " ", el("small", {}, about)));
  const node = el("div", { class: "field" }, label, description, check ? null : control, after, problem);
  const describe = (more) => {
    const all = [description && help, more && wrong].filter(Boolean).join(" ");
    if (all) focus.setAttribute("aria-describedby", all);
    else focus.removeAttribute("aria-describedby");
  };
  const field = {
    node,
    write,
    locate: () => field,
    complain(message) {
      problem.textContent = message ?? "";
      if (message) focus.setAttribute("aria-invalid", "true");
      else focus.removeAttribute("aria-invalid");
      describe(message);
    },
    focus: () => focus.focus(),
    read() {
      try {
        return read();
      } catch (error) {
        throw new Mistake(field, error.message);
      }
    },
  };
  describe();
  const first = schema.default ?? (required && !nullable ? schema.examples?.[0] : undefined);
  if (first !== undefined && first !== null) write(first);
  return field;
}

// What an empty control stands for: null where that is a value of its own, else nothing.
const emptyOf = ({ required, nullable, schema }) => (nullable && (required || (schema.default ?? null) !== null) ? null : undefined);

function textField(context) {
  const { schema, required, nullable } = context;
  const kind = { date: "date", email: "email", uri: "url", password: "password" }[schema.format];
  const short = schema.format || schema.pattern || schema.maxLength <= 80;
  const common = { placeholder: { "date-time": "2026-01-31T12:00:00Z", time: "12:30:00" }[schema.format], autocomplete: "off", spellcheck: short ? "false" : null };
  const control = short ? el("input", { type: kind ?? "text", ...common }) : el("textarea", { rows: 1, ...common });
  const empty = !nullable && (required || typeof schema.default === "string") && !schema.format ? "" : emptyOf(context);
  return labelled(context, control, () => control.value || empty, (value) => {
    control.value = typeof value === "string" ? value : value === null || value === undefined ? "" : spell(value);
  });
}

function numberField(context) {
  const { schema } = context;
  const control = el("input", { type: "number", step: schema.type === "integer" ? 1 : "any", min: schema.minimum, max: schema.maximum, autocomplete: "off" });
  const read = () => {
    if (control.validity.badInput) throw new Error("this is not a number");
    return control.value === "" ? emptyOf(context) : numberFrom(control.value);
  };
  return labelled(context, control, read, (value) => (control.value = value ?? ""));
}

function booleanField(context) {
  if (context.nullable || (!context.required && context.schema.default === undefined)) return choiceField({ ...context, schema: { ...context.schema, enum: [true, false] } });
  const control = el("input", { type: "checkbox" });
  return labelled(context, control, () => control.checked, (value) => (control.checked = value === true), { check: true });
}

function choiceField(context) {
  const { schema, required, nullable } = context;
  const values = schema.enum.filter((value) => value !== null);
  const free = nullable || values.length < schema.enum.length || !required;
  const name = (value) => (typeof value === "string" ? value : spell(value));
  const control = el("select", {}, free && el("option", { value: "" }, "–"), values.map((value, index) => el("option", { value: index }, name(value))));
  const read = () => (control.value === "" ? emptyOf({ ...context, nullable: nullable || values.length < schema.enum.length }) : values[control.value]);
  return labelled(context, control, read, (value) => {
    const index = values.findIndex((one) => spell(one) === spell(value));
    control.value = index < 0 ? "" : index;
  });
}

function constantField(context) {
  const value = context.schema.const;
  const control = el("input", { readonly: true, value: typeof value === "string" ? value : spell(value) });
  return labelled(context, control, () => value, () => {});
}

function jsonField(context) {
  const { required, nullable, schema } = context;
  const start = { array: "[]", object: "{}" }[schema.type] ?? "null";
  const control = el("textarea", { class: "code", rows: 3, spellcheck: "false", autocomplete: "off" });
  if (required && !nullable) control.value = start;
  const read = () => {
    if (!control.value.trim()) return emptyOf(context);
    try {
      return parse(control.value);
    } catch (error) {
      throw new Error(`this is not JSON: ${error.message}`);
    }
  };
  return labelled(context, control, read, (value) => (control.value = value === undefined ? "" : spell(value)));
}

// Numbers as text: one line of them, a line for each row, or JSON. Commas, semicolons, blanks and tabs part them.
function numbersField(context) {
  const depth = numericDepth(context.schema);
  const control = el("textarea", { class: "value", rows: depth === 1 ? 1 : 3, spellcheck: "false", autocomplete: "off", placeholder: depth === 1 ? "1, 2.5, 3" : "1, 2.5, 3\n4, 5, 6" });
  const read = () => {
    const text = control.value.trim();
    if (!text) return context.required && !context.nullable ? [] : emptyOf(context);
    if (text.startsWith("[")) return parse(text);
    const rows = text.split("\n").filter((line) => line.trim()).map((line) => line.split(/[\s,;]+/).filter(Boolean).map(numberFrom));
    return depth === 1 ? rows.flat() : depth === 2 || rows.length > 1 ? rows : rows[0];
  };
  const flat = (value) => Array.isArray(value) && !value.some(Array.isArray);
  const write = (value) => {
    if (!Array.isArray(value)) control.value = "";
    else if (flat(value) && depth !== 2) control.value = value.map((item) => spell(item)).join(", ");
    else control.value = value.length && value.every((row) => flat(row) && row.length) ? value.map((row) => row.map((item) => spell(item)).join(", ")).join("\n") : spell(value);
  };
  return labelled(context, control, read, write);
}

// A file, with its picture where it is one. Files can be dropped onto it, as browsers do by themselves.
function fileField(context) {
  const media = mediaOf(context.schema);
  const control = el("input", { type: "file", accept: media === "*/*" || media === "application/octet-stream" ? null : media });
  const preview = el("div", { class: "preview", hidden: true });
  let chosen, address;
  const show = (file) => {
    if (address) URL.revokeObjectURL(address);
    chosen = file;
    address = undefined;
    preview.hidden = !file;
    if (!file) return preview.replaceChildren();
    const facts = el("small", {}, `${file.name}, ${file.type || "unknown type"}, ${bytesText(file.size)}`);
    const clear = button("Remove", () => { control.value = ""; show(); control.focus(); changed(); }, file.name);
    preview.replaceChildren(facts, " ", clear);
    if (!/^image\//.test(file.type || media)) return;
    address = URL.createObjectURL(file);
    const image = el("img", { src: address, alt: `Preview of ${file.name}` });
    image.onload = () => facts.append(`, ${image.naturalWidth} × ${image.naturalHeight}`);
    image.onerror = () => image.replaceWith(el("small", {}, "This browser cannot show it."));
    preview.append(image);
  };
  control.addEventListener("change", () => show(control.files[0]));
  for (const [name, over] of [["dragenter", true], ["dragleave", false], ["drop", false]]) control.addEventListener(name, () => control.classList.toggle("over", over));
  const write = (value) => {
    if (value instanceof Blob) return show(value);
    control.value = "";
    try {
      show(typeof value === "string" && value ? fileFrom(value.replace(/^data:[^,]*,/, ""), context.name, media.includes("*") ? "" : media) : undefined);
    } catch {
      show();
    }
  };
  const read = () => {
    if (!chosen && sending && context.required && !context.nullable) throw new Error(`choose ${/^image\//.test(media) ? "an image" : "a file"} first`);
    return chosen ?? emptyOf(context);
  };
  return labelled(context, control, read, write, { after: preview });
}
