// Asking: what the form holds goes to the server, and what comes back is shown, or stands at the fields that are wrong.

const operations = [];
let operation, top, editor, running, view = "Result", drawn;

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
    sending = true;
    wanted = request();
  } catch (error) {
    return refuse(error);
  } finally {
    sending = false;
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
    const response = await fetch(url, { method: "POST", body, headers: { "x-requested-with": "corten", ...headers, ...(accept ? { accept: `${accept}, */*;q=0.1` } : {}) }, signal: running.signal });
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
  const words = () => [`${response.status}`, timeText(performance.now() - begun), counted(place.kept.length, "item"), first && `first after ${timeText(first)}`].filter(Boolean).join(" · ");
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
    const left = error.name === "AbortError";
    // Browsers say only that there was an error: the server, or something on the way to it, has closed the connection.
    const why = /^(network error|failed to fetch|load failed|error in (input|body) stream)/i.test(error.message) ? "the connection was lost before the end" : error.message;
    outcome(`${left ? "Cancelled" : `Broken off: ${why}`} · ${words()}`, !left);
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
