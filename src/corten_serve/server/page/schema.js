// JSON Schema 2020-12, as far as a form needs it. What is beyond that gets an editor for JSON.

let spec = {};

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function pointer(reference) {
  if (!reference.startsWith("#")) return {};
  const steps = reference.split("/").slice(1).map((step) => decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~"));
  const found = steps.reduce((at, step) => own(at, step), spec);
  return isObject(found) ? found : {};
}

// The schema itself: references followed, words beside a reference kept, `allOf` laid together.
function resolve(schema) {
  let result = isObject(schema) ? schema : {};
  for (let turn = 0; turn < 32 && typeof result.$ref === "string"; turn++) {
    const { $ref, ...beside } = result;
    result = { ...pointer($ref), ...beside };
  }
  if (!Array.isArray(result.allOf)) return result;
  const { allOf, ...beside } = result;
  const parts = [...allOf.filter((part) => part !== schema).map(resolve), beside];
  const merged = Object.assign({}, ...parts);
  const properties = Object.assign({}, ...parts.map((part) => part.properties));
  return { ...merged, properties, required: parts.flatMap((part) => part.required ?? []) };
}

// { schema, nullable, options }: a union with null is the other side made nullable; other unions have options.
function unfold(raw, depth = 0) {
  const { anyOf, oneOf, ...schema } = resolve(raw);
  let options = anyOf ?? oneOf;
  if (!options && Array.isArray(schema.type)) {
    const { type, default: given, description, title, ...rest } = schema;
    options = type.map((one) => (one === "null" ? { type: one } : { ...rest, type: one }));
    delete schema.type;
  }
  if (!Array.isArray(options) || depth > 8) return { schema, nullable: schema.nullable === true || schema.type === "null", options: null };
  const others = options.filter((option) => resolve(option).type !== "null");
  const nullable = others.length < options.length;
  if (others.length !== 1) return { schema, nullable, options: others };
  const inner = unfold(others[0], depth + 1);
  return { schema: { ...inner.schema, ...schema }, nullable: nullable || inner.nullable, options: inner.options };
}

const mediaOf = (schema) => schema.contentMediaType ?? (schema.format === "binary" || schema.format === "byte" || /^base64/.test(schema.contentEncoding ?? "") ? "*/*" : undefined);
const isNumber = (schema) => ["number", "integer"].includes(schema.type) && !schema.enum;

// How deep arrays of nothing but numbers nest: 1, 2, "any" (NumPy's arrays), or 0 for everything else.
function numericDepth(schema) {
  const { schema: items, nullable, options } = unfold(schema.items);
  if (nullable || schema.type !== "array" || schema.prefixItems) return 0;
  const types = (options ?? []).map(resolve).filter((one) => one.type !== "boolean");
  if (options) return types.length === 2 && types.some(isNumber) && types.some((one) => one.type === "array") ? "any" : 0;
  if (isNumber(items)) return 1;
  return items.type === "array" && numericDepth(items) === 1 ? 2 : 0;
}

function kindOf(schema) {
  if ("const" in schema) return "constant";
  if (Array.isArray(schema.enum)) return "choice";
  const media = mediaOf(schema);
  if (media && !/^(text\/|application\/json)/.test(media) && ["string", undefined].includes(schema.type)) return "file";
  switch (schema.type) {
    case "string": return "text";
    case "integer":
    case "number": return "number";
    case "boolean": return "boolean";
    case "array":
      if (Array.isArray(schema.prefixItems)) return "tuple";
      if (numericDepth(schema)) return "numbers";
      return isObject(schema.items) && Object.keys(schema.items).length ? "list" : "json";
    default:
      if (schema.type && schema.type !== "object") return "json";
      if (Object.keys(schema.properties ?? {}).length || (schema.properties && schema.additionalProperties === false)) return "object";
      return isObject(schema.additionalProperties) && Object.keys(schema.additionalProperties).length ? "table" : "json";
  }
}

const FORMATS = { "date-time": "date and time", uuid: "UUID", uri: "address" };

// A type in a few words: what stands beside a label and in the list of a union.
function wordsFor(schema) {
  const { minimum: low, maximum: high, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  const plain = Object.keys(schema.properties ?? {}).length || schema.additionalProperties ? "object" : "JSON";
  const kind = { choice: "choice", constant: "fixed", file: /^image\//.test(mediaOf(schema)) ? "image" : "file", list: "list", tuple: "list", numbers: "numbers", text: "text" }[kindOf(schema)];
  const parts = [kind === "text" ? FORMATS[schema.format] ?? schema.format ?? kind : kind ?? schema.type ?? plain];
  if (kind === "numbers") parts[0] = (schema.format ?? "").replace("ndarray-", "array of ") || (numericDepth(schema) === 2 ? "rows of numbers" : kind);
  // The limits of whole machine integers say nothing to people.
  const shown = (number) => typeof number === "number" && Math.abs(number) < 2 ** 31 - 1;
  if (shown(low) && shown(high)) parts.push(`${low} to ${high}`);
  else if (shown(low)) parts.push(`at least ${low}`);
  else if (shown(high)) parts.push(`at most ${high}`);
  if (shown(above)) parts.push(`above ${above}`);
  if (shown(below)) parts.push(`below ${below}`);
  if (schema.multipleOf) parts.push(`a multiple of ${schema.multipleOf}`);
  const size = (least, most, what) => {
    if (least > 1 || most) parts.push(least === most ? `${most} ${what}` : !most ? `at least ${least} ${what}` : least ? `${least} to ${most} ${what}` : `at most ${most} ${what}`);
  };
  size(schema.minLength, schema.maxLength, "characters");
  if (!schema.prefixItems) size(schema.minItems, schema.maxItems, "items");
  if (schema.pattern) parts.push(`like ${schema.pattern}`);
  return parts.join(", ");
}

const SAMPLES = {
  date: "2026-01-31", "date-time": "2026-01-31T12:00:00Z", time: "12:30:00", duration: "PT1M", decimal: "1.5", email: "someone@example.com",
  uri: "https://example.com", uuid: "123e4567-e89b-12d3-a456-426614174000", ipv4: "192.0.2.1", ipv6: "2001:db8::1",
};

function numberSample(schema) {
  const step = schema.multipleOf ?? (schema.type === "integer" ? 1 : 0.5);
  const low = schema.minimum ?? (schema.exclusiveMinimum === undefined ? -Infinity : schema.exclusiveMinimum + step);
  const high = schema.maximum ?? (schema.exclusiveMaximum === undefined ? Infinity : schema.exclusiveMaximum - step);
  const wanted = Math.min(Math.max(schema.multipleOf ?? 1, low), high);
  return schema.multipleOf ? Math.ceil(wanted / step) * step : wanted;
}

function textSample(schema) {
  if (schema.format || schema.pattern) return SAMPLES[schema.format] ?? "";
  return "hello".padEnd(schema.minLength ?? 0, " hello").slice(0, schema.maxLength ?? Infinity);
}

// A value that a form starts with, so that one click shows an answer: what the schema gives as example or default, else
// something plain that fits. undefined is left out: a file, or what need not be there and has no default.
function sample(raw, depth = 0) {
  const { schema, nullable, options } = unfold(raw);
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (Array.isArray(schema.examples) && schema.examples.length) return schema.examples[0];
  if (nullable || depth > 6) return nullable ? null : undefined;
  if (options) return sample(options[0], depth + 1);
  const several = (least) => Array.from({ length: Math.min(Math.max(schema.minItems ?? 1, least), 20) });
  switch (kindOf(schema)) {
    case "constant": return schema.const;
    case "choice": return schema.enum.find((value) => value !== null);
    case "boolean": return false;
    case "number": return numberSample(schema);
    case "text": return textSample(schema);
    case "numbers": {
      const items = unfold(schema.items);
      const inner = (items.options ?? [items.schema]).map(resolve).find((one) => one.type !== "array");
      const row = (least, most) => several(least).map((_, index) => (inner ? Math.min(numberSample({ type: "integer", ...inner }) + index, inner.maximum ?? Infinity) : index)).slice(0, most);
      if (numericDepth(schema) !== 2) return row(3, schema.maxItems);
      return several(1).map(() => sample(schema.items, depth + 1));
    }
    case "list": return several(1).map(() => sample(schema.items, depth + 1)).filter((item) => item !== undefined);
    case "tuple": return schema.prefixItems.map((item) => sample(item, depth + 1));
    case "object": {
      const needed = Array.isArray(schema.required) ? schema.required : [];
      const told = (inner) => { const { schema } = unfold(inner); return schema.default; };
      return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, needed.includes(name) ? sample(inner, depth + 1) : told(inner)]).filter(([, value]) => value !== undefined));
    }
    case "table": return {};
    case "json": return { array: [], object: {} }[schema.type] ?? null;
  }
}
