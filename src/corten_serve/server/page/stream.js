// Answers that come in parts: NDJSON, and server-sent events (HTML standard, 9.2).

const isStream = (type) => /^(text\/event-stream|application\/(x-)?(ndjson|jsonl|json-lines))/.test(type);

async function* linesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split(/\r?\n/);
    rest = done ? "" : lines.pop();
    yield* lines;
    if (done) return;
  }
}

const valueOf = (text) => {
  try {
    return parse(text);
  } catch {
    return text;
  }
};

// { event, value } for each item as it arrives. A stream that breaks off throws.
async function* itemsOf(response, type) {
  if (!type.startsWith("text/event-stream")) {
    for await (const line of linesOf(response.body)) if (line.trim()) yield { event: "message", value: valueOf(line) };
    return;
  }
  let event = "message", data = [];
  for await (const line of linesOf(response.body)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "event") event = value;
    else if (name === "data") data.push(value);
    if (line) continue;
    if (data.length) yield { event, value: valueOf(data.join("\n")) };
    [event, data] = ["message", []];
  }
}

// Where items are shown: text runs on as one text, other values stand below each other, a dot of patience between.
function flow(schema) {
  const node = el("div", { role: "log", "aria-busy": "true", "aria-label": "Items as they come", class: "items" });
  const kept = [];
  let text, left = 0;
  return {
    node,
    kept,
    add(value) {
      kept.push(value);
      if (typeof value === "string" && !pictureIn(value)) {
        if (!text) node.append((text = el("div", { class: "text" })));
        text.append(value);
        return;
      }
      text = undefined;
      const line = spell(value);
      node.append(el("div", {}, line.includes("\n") || typeof value === "string" ? show(value, `Item ${kept.length}`, schema, 1) : el("div", { class: "value" }, line)));
      if (node.childNodes.length <= 500) return;
      node.firstChild.remove();
      left++;
    },
    end() {
      node.setAttribute("aria-busy", "false");
      if (left) node.prepend(el("div", { class: "quiet" }, `${left} earlier items are under JSON`));
    },
  };
}
