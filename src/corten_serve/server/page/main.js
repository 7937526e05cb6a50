// The page: an operation is chosen, its form filled in, asked, and its answer shown.

const operations = [];
let operation, top, editor, running, language = remembered("language", LANGUAGES) ?? "curl", view = "Result", drawn;

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
  $("raw").checked = false;
  $("raw-label").hidden = Boolean(operation.body);
  build();
  const schema = resolve(operation.schema);
  const examples = [...operation.examples, ...(Array.isArray(schema.examples) ? schema.examples.map((value, index) => [`Example ${index + 1}`, value]) : [])];
  $("examples").replaceChildren(...examples.slice(0, 12).map(([name, value]) => button(name, () => { (editor ?? top).write(value); complain([]); changed(); })));
  clearAnswer("Nothing has been asked yet.");
}

function build() {
  editor = undefined;
  top = operation.schema ? field("Input", operation.schema, { whole: true }) : undefined;
  $("fields").replaceChildren(top ? top.node : el("p", {}, "This takes no input."));
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

// What would be sent now: { url, accept, value, parts, stream }. Throws Mistake.
function request() {
  const { path, multipart, json, accept, stream, body } = operation;
  const value = (editor ?? top)?.read();
  const upload = multipart && isObject(value) && (files(value).length > 0 || !json);
  return { url: new URL(`.${path}`, location.href.split("#")[0]).href, accept, value, stream, body, parts: upload ? partsOf(value) : undefined };
}

async function bodyOf({ value, parts, body }) {
  if (body) return { body: value, headers: { "content-type": body.includes("*") ? value?.type || "application/octet-stream" : body } };
  if (!parts) return value === undefined ? { headers: {} } : { body: spell(await embed(value)), headers: { "content-type": "application/json" } };
  const form = new FormData();
  for (const [name, item] of parts) form.append(name, item instanceof Blob ? item : plainPart(await embed(item)));
  return { body: form, headers: {} };
}

let told = [];

// Problems beside their fields; what belongs to no field stands under the form. The first one gets the focus.
function complain(problems) {
  for (const one of told) one.complain();
  const byField = new Map();
  const general = [];
  for (const { field: path, message } of problems) {
    const at = path && !editor && top ? top.locate(String(path)) : undefined;
    if (at && at !== top) byField.set(at, [...(byField.get(at) ?? []), message]);
    else general.push(path ? `${path}: ${message}` : message);
  }
  told = [...byField.keys()];
  for (const [one, messages] of byField) one.complain(messages.join("\n"));
  $("general").textContent = general.join("\n");
  $("general").hidden = !general.length;
  if (told.length) told[0].focus();
}

function refuse(error) {
  if (error instanceof Mistake) {
    complain([]);
    told = [error.field];
    error.field.complain(error.message);
    error.field.focus();
  } else complain([{ message: error.message }]);
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

function clearAnswer(words) {
  $("outcome").textContent = words;
  $("outcome").className = "";
  $("answer").replaceChildren();
  $("views").replaceChildren();
}

// Several ways to look at one answer, as tabs.
function present(views, chosen = view) {
  const draw = (name) => {
    try {
      $("answer").replaceChildren(views.find(([one]) => one === name)[1]());
    } catch (error) {
      $("answer").replaceChildren(el("p", {}, `This cannot be shown here: ${error.message}`));
    }
  };
  const name = views.some(([one]) => one === chosen) ? chosen : views[0][0];
  $("views").replaceChildren(...(views.length > 1 ? [tabs("View of the answer", views.map(([one]) => one), name, (one) => draw((view = one)))] : []));
  draw(name);
}

function outcome(words, bad) {
  $("outcome").textContent = words;
  $("outcome").className = bad ? "bad" : "";
}

async function run(event) {
  event.preventDefault();
  if (running || !operation) return;
  let wanted;
  try {
    wanted = request();
  } catch (error) {
    return refuse(error);
  }
  const { url, accept } = wanted;
  running = new AbortController();
  busy(true);
  complain([]);
  clearAnswer("Asking…");
  const begun = performance.now();
  const ticking = setInterval(() => drawn || outcomeQuietly(`Asking… ${timeText(performance.now() - begun)}`), 1000);
  drawn = false;
  try {
    const { body, headers } = await bodyOf(wanted);
    const response = await fetch(url, { method: "POST", body, headers: { ...headers, ...(accept ? { accept: `${accept}, */*;q=0.1` } : {}) }, signal: running.signal });
    drawn = true;
    await answer(response, begun);
    reveal();
  } catch (error) {
    if (error.name === "AbortError") outcome(`Cancelled after ${timeText(performance.now() - begun)}`);
    else outcome(`No answer: ${error.message === "Failed to fetch" ? "the server cannot be reached" : error.message}`, true);
  } finally {
    clearInterval(ticking);
    running = undefined;
    busy(false);
    look();
  }
}

// Seconds that pass are for eyes; a screen reader hears the beginning and the end.
function outcomeQuietly(words) {
  const place = $("outcome");
  place.setAttribute("aria-live", "off");
  place.textContent = words;
  setTimeout(() => place.removeAttribute("aria-live"), 0);
}

async function answer(response, begun) {
  const type = response.headers.get("content-type") ?? "";
  const identity = response.headers.get("x-request-id");
  const facts = (size, more) => [`${response.status}${response.statusText ? ` ${response.statusText}` : ""}`, timeText(performance.now() - begun), bytesText(size), more, identity && `request ${identity}`].filter(Boolean).join(" · ");
  if (response.ok && isStream(type)) return streamed(response, type, begun);
  if (/json/.test(type)) {
    const text = await response.text();
    const words = facts(new Blob([text]).size);
    const value = valueOf(text);
    if (!response.ok) return failed(response, value, words);
    outcome(words);
    return present(viewsOf(text, value, operation.answer));
  }
  const blob = await response.blob();
  const words = facts(blob.size);
  outcome(words, !response.ok);
  const named = /filename="?([^";]+)/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "answer";
  if (/^text\//.test(type)) {
    const text = await blob.text();
    return present([["Text", () => el("pre", {}, text.slice(0, 1e6))]]);
  }
  const begins = new Uint8Array(await blob.slice(0, 12).arrayBuffer());
  const found = /^(image|audio|video)\//.test(type) ? type : pictureType(btoa(String.fromCharCode(...begins))) ?? type;
  return present([["Result", () => media(new Blob([blob], { type: found }), found, named)]]);
}

function failed(response, value, words) {
  const message = isObject(value) && typeof value.error === "string" ? value.error : spell(value);
  const after = response.headers.get("retry-after");
  outcome(words, true);
  const problems = isObject(value) && Array.isArray(value.problems) ? value.problems.filter((one) => isObject(one) && typeof one.message === "string") : [];
  complain(problems);
  const list = problems.length ? el("ul", { class: "problems" }, problems.map((one) => el("li", {}, one.field ? `${one.field}: ${one.message}` : one.message))) : null;
  $("answer").replaceChildren(...[list ?? el("pre", {}, message), after && el("p", {}, `Try again in ${after} s.`)].filter(Boolean));
}

async function streamed(response, type, begun) {
  const place = flow(operation.item);
  $("answer").replaceChildren(place.node);
  let first, wrong;
  const words = () => [`${response.status}`, timeText(performance.now() - begun), `${place.kept.length} items`, first && `first after ${timeText(first)}`].filter(Boolean).join(" · ");
  try {
    for await (const { event, value } of itemsOf(response, type)) {
      if (event === "end" || event === "done") continue;
      first ??= performance.now() - begun;
      // A last item that is nothing but an error says why it is the last one.
      if (wrong) place.add(wrong);
      wrong = event === "error" || (isObject(value) && typeof value.error === "string" && Object.keys(value).length < 3) ? value : undefined;
      if (wrong === undefined) place.add(value);
      if (place.kept.length % 20 === 1) outcomeQuietly(words());
    }
    outcome(wrong ? `Broken off: ${wrong.error ?? spell(wrong)} · ${words()}` : words(), Boolean(wrong));
  } catch (error) {
    outcome(`${error.name === "AbortError" ? "Cancelled" : "Broken off"} · ${words()}`, error.name !== "AbortError");
  }
  place.end();
  present([["Result", () => place.node], ["JSON", () => tree(place.kept)]], "Result");
}

// On a narrow window the answer stands below the form: it comes into sight, unless a field with a problem is there now.
function reveal() {
  if (!told.length && $("output").getBoundingClientRect().top > innerHeight - 80) $("output").scrollIntoView({ block: "start" });
}

function busy(on) {
  $("run").setAttribute("aria-disabled", on);
  $("output").setAttribute("aria-busy", on);
  const focused = document.activeElement;
  $("cancel").hidden = !on;
  if (!on && focused === $("cancel")) $("run").focus();
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
$("form").addEventListener("reset", (event) => { event.preventDefault(); $("raw").checked = false; build(); });
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
