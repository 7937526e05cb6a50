// Values as text: JSON, and literals of other languages. Files stand in values as they are until something is sent.

const JSON_STYLE = { null: "null", true: "true", false: "false", file: () => "null" };

// `value` written so that what is short stays on one line. Integers beyond 2^53 are BigInt here, and stay exact.
function spell(value, style = JSON_STYLE, pad = "") {
  if (value instanceof Blob) return style.file(value);
  if (value === null || value === undefined) return style.null;
  if (typeof value === "boolean") return value ? style.true : style.false;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const inner = pad + "  ";
  const list = Array.isArray(value);
  const parts = list
    ? value.map((item) => spell(item, style, inner))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${spell(item, style, inner)}`);
  const [open, close] = list ? "[]" : "{}";
  const length = parts.reduce((sum, part) => sum + part.length + 2, pad.length);
  if (length < 80 && !parts.some((part) => part.includes("\n"))) return open + parts.join(", ") + close;
  return `${open}\n${parts.map((part) => inner + part).join(",\n")}\n${pad}${close}`;
}

function parse(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value);
}

function numberFrom(text) {
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) throw new Error(`'${text.slice(0, 40)}' is not a number`);
  const number = Number(text);
  return /^[-+]?\d+$/.test(text) && !Number.isSafeInteger(number) ? BigInt(text.replace("+", "")) : number;
}

function files(value) {
  if (value instanceof Blob) return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(files) : [];
}

const base64Of = (file) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(new Error(`'${file.name}' cannot be read`));
    reader.readAsDataURL(file);
  });

// `value` with its files as base64.
async function embed(value) {
  if (value instanceof Blob) return base64Of(value);
  if (Array.isArray(value)) return Promise.all(value.map(embed));
  if (!isObject(value)) return value;
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([key, item]) => [key, await embed(item)])));
}

// The parts of a multipart form, a name for each: files as files, text as text, everything else as JSON.
function partsOf(value) {
  const several = (item) => Array.isArray(item) && item.length && item.every((one) => one instanceof Blob);
  return Object.entries(value).flatMap(([name, item]) => (several(item) ? item.map((one) => [name, one]) : [[name, item]]));
}
