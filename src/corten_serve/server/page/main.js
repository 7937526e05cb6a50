// The page: an operation is chosen, its form filled in, asked, and its answer shown.

let language = remembered("language", LANGUAGES) ?? "curl";

function remembered(key, allowed) {
  try {
    const value = localStorage.getItem(`corten-${key}`);
    return allowed.includes(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`corten-${key}`, value);
  } catch {
    // A browser that keeps nothing is fine.
  }
}

// Every POST that is marked as a prediction; where none is, every POST but those of other servers' protocols.
function readOperations() {
  const all = Object.entries(spec.paths ?? {}).flatMap(([path, item]) => (isObject(item?.post) ? [{ path, ...item.post }] : []));
  const marked = all.filter((one) => one.tags?.includes("predict"));
  for (const one of marked.length ? marked : all.filter((one) => !/^\/(v1|v2|invocations|2015-03-31)(\/|$)/.test(one.path))) {
    const content = resolve(one.requestBody).content ?? {};
    const answers = resolve(own(one.responses, "200")).content ?? {};
    const json = content["application/json"];
    const form = content["multipart/form-data"];
    const [type, other] = Object.entries(content)[0] ?? [];
    operations.push({
      path: one.path,
      about: one.description ?? "",
      schema: (json ?? form)?.schema ?? (other ? { contentMediaType: type } : undefined),
      required: one.requestBody?.required === true,
      examples: json?.examples ? Object.entries(json.examples).map(([name, example]) => [resolve(example).summary ?? name, resolve(example).value]) : json && "example" in json ? [["Example", json.example]] : [],
      multipart: form && isObject(form), json: Boolean(json), body: json || form ? undefined : type,
      accept: acceptOf(Object.keys(answers)),
      stream: Object.keys(answers).find(isStream),
      answer: answers["application/json"]?.schema, item: Object.entries(answers).find(([type]) => isStream(type))?.[1]?.itemSchema,
    });
  }
}

// Asked for explicitly where there is a choice: streams before pictures before JSON.
function acceptOf(types) {
  const wanted = types.find((type) => /ndjson|jsonl/.test(type)) ?? types.find(isStream) ?? types.find((type) => /^(image|audio|video)\//.test(type));
  return types.length > 1 ? wanted : undefined;
}

function choose(path) {
  operation = operations.find((one) => one.path === path) ?? operations[0];
  if (operations.length > 1) history.replaceState(null, "", `#${operation.path}`);
  $("about").textContent = operation.about;
  $("about").hidden = !operation.about;
  const model = spec.info?.description ?? "";
  $("model").textContent = model;
  $("model").hidden = !model || model === operation.about;
  $("raw").checked = false;
  $("raw-label").hidden = Boolean(operation.body);
  build(true);
  const examples = examplesOf();
  $("examples").replaceChildren(...examples.slice(0, 12).map(([name, value]) => button(name, () => { (editor ?? top).write(value); complain([]); changed(); })));
  clearAnswer("Nothing has been asked yet.");
}

function examplesOf() {
  const schema = resolve(operation.schema);
  return [...operation.examples, ...(Array.isArray(schema.examples) ? schema.examples.map((value, index) => [`Example ${index + 1}`, value]) : [])];
}

// The form anew; `filled`: with a first example in it.
function build(filled) {
  editor = undefined;
  top = operation.schema ? field("Input", operation.schema, { whole: true }) : undefined;
  $("fields").replaceChildren(top ? top.node : el("p", {}, "This takes no input."));
  if (filled && top) {
    const value = sample(operation.schema);
    const [, example] = examplesOf()[0] ?? [];
    const first = isObject(value) && isObject(example) ? { ...value, ...example } : example ?? value;
    if (first !== undefined) top.write(first);
  }
  complain([]);
  changed();
}

// The form as JSON, and back. Files become base64.
async function editAsJson() {
  const on = $("raw").checked;
  try {
    if (on) {
      const value = await embed(top.read());
      editor = jsonField({ name: "Request body", schema: { type: "object", description: "JSON, as it is sent" }, required: operation.required, nullable: false });
      editor.write(value ?? {});
      $("fields").replaceChildren(editor.node);
    } else {
      const value = editor.read();
      build();
      if (value !== undefined) top.write(value);
    }
    complain([]);
  } catch (error) {
    $("raw").checked = !on;
    refuse(error);
  }
  changed();
}

let pending;

// After any change of the input: the code follows, a moment later.
function changed() {
  clearTimeout(pending);
  pending = setTimeout(drawSnippet, 60);
}

function drawSnippet() {
  if (!operation) return;
  let text;
  try {
    const wanted = request();
    text = wanted.body ? `curl ${shell(wanted.url)} -H ${shell(`content-type: ${wanted.body}`)} --data-binary @${wanted.value ? shell(wanted.value.name) : "FILE"}` : SNIPPETS[language](wanted);
  } catch (error) {
    text = `The input is not complete: ${error.message}`;
  }
  $("snippet").textContent = text;
}

async function copy() {
  const text = $("snippet").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure connection there is no clipboard: the text is selected, ready for Ctrl+C.
    getSelection().selectAllChildren($("snippet"));
    if (!document.execCommand("copy")) return void ($("copy").textContent = "Selected");
    getSelection().removeAllRanges();
  }
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
}

const THEMES = ["auto", "light", "dark"];

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
}

function theme() {
  let now = remembered("theme", THEMES) ?? "auto";
  setTheme(now);
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    now = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    remember("theme", now);
    setTheme(now);
  });
}

// The document, as soon as there is one. A server that starts or failed says so, and is asked again.
async function begin() {
  try {
    const { status, body, after } = await ask("openapi.json");
    if (status === 200 && isObject(body)) {
      spec = body;
      readOperations();
      if (operations.length) return ready();
      return outcome("There is nothing to predict here: openapi.json has no POST operation.", true);
    }
    setTimeout(begin, Math.min(Math.max(after || 1, 0.5), 5) * 1000);
  } catch {
    setTimeout(begin, 2000);
  }
  $("run").setAttribute("aria-disabled", "true");
}

stateListener = (state, reason) => {
  if (operation) return;
  const words = { failed: `The predictor failed to start${reason ? `: ${reason}` : ""}`, unreachable: "The server cannot be reached; asking again…", stopping: "The server is stopping." }[state] ?? "The predictor is starting…";
  if ($("fields").textContent !== words) $("fields").replaceChildren(el("p", { role: "status", class: state === "failed" && "problem" }, words));
};

// Another server has taken over: its types may be others.
restarted = async () => {
  const { status, body } = await ask("openapi.json");
  if (!operation || status !== 200 || spell(body.paths) + spell(body.components) === spell(spec.paths) + spell(spec.components)) return;
  $("about").hidden = false;
  $("about").replaceChildren("The model has changed. ", button("Load the new form", () => location.reload()));
};

function ready() {
  $("run").setAttribute("aria-disabled", "false");
  const paths = operations.map((one) => one.path);
  const wanted = decodeURIComponent(location.hash.slice(1));
  const start = paths.includes(wanted) ? wanted : paths[0];
  if (paths.length > 1) $("choose").replaceChildren(tabs("Endpoint", paths, start, choose));
  $("languages").replaceChildren(tabs("Language of the code", LANGUAGES, language, (name) => { language = name; remember("language", name); drawSnippet(); }));
  choose(start);
}

document.querySelector("main").hidden = false;
$("form").addEventListener("submit", run);
$("form").addEventListener("reset", (event) => { event.preventDefault(); $("raw").checked = false; build(true); });
for (const name of ["input", "change"]) $("form").addEventListener(name, changed);
$("cancel").addEventListener("click", () => running?.abort());
$("raw").addEventListener("change", editAsJson);
$("copy").addEventListener("click", copy);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && $("form").contains(event.target)) $("form").requestSubmit();
  if (event.key === "Escape" && running) running.abort();
});
theme();
begin();
look();
