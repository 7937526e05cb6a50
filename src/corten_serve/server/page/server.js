// The server's state: asked for while the page is looked at.

const POLL = 2000;
const STATES = { ready: "ready", starting: "starting", failed: "failed", stopping: "stopping", unreachable: "unreachable" };
let hasStatus = true;
let timer;
let stateListener = () => {};
let restarted = () => {};
let uptime = 0;

async function ask(path) {
  const response = await fetch(path, { cache: "no-store", headers: { accept: "application/json" } });
  let body;
  try {
    body = await response.json();
  } catch {
    body = undefined;
  }
  return { status: response.status, body, after: Number(response.headers.get("retry-after")) };
}

function setState(state, reason) {
  const badge = $("state");
  if (badge.dataset.state !== state || badge.textContent !== (STATES[state] ?? state)) {
    badge.dataset.state = state;
    badge.textContent = STATES[state] ?? state;
  }
  badge.title = reason ?? "";
  stateListener(state, reason);
}

async function look() {
  clearTimeout(timer);
  if (document.visibilityState === "visible") {
    try {
      const { status, body } = hasStatus ? await ask("status") : { status: 404 };
      if (status === 200 && isObject(body)) {
        const reasons = (body.models ?? []).map((model) => model.reason).filter(Boolean);
        setState(body.draining ? "stopping" : String(body.state), reasons.join("; "));
        drawStatus(body);
        if (body.uptime < uptime) restarted();
        uptime = body.uptime;
      } else {
        hasStatus = ![404, 405].includes(status) && hasStatus;
        const ready = await ask("readyz");
        setState(String(ready.body?.status ?? (ready.status === 200 ? "ready" : "starting")), ready.body?.error);
      }
    } catch {
      setState("unreachable", "the server cannot be reached");
    }
  }
  clearTimeout(timer);
  timer = setTimeout(look, POLL);
}

document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && look());

// Bars of the last requests, the newest last. Failed ones have their own colour, and are counted in words.
function spark(recent) {
  const space = "http://www.w3.org/2000/svg";
  const make = (tag, properties) => {
    const node = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(properties)) node.setAttribute(key, value);
    return node;
  };
  const times = recent.map((one) => Number(one.ms) || 0);
  const bad = (one) => !(one.status < 400);
  const most = Math.max(...times, 0.001);
  const words = `The last ${recent.length} requests: slowest ${timeText(most)}, latest ${timeText(times.at(-1))}, ${recent.filter(bad).length} failed`;
  const chart = make("svg", { class: "spark", viewBox: "0 0 250 40", preserveAspectRatio: "none", role: "img", "aria-label": words });
  recent.forEach((one, index) => {
    const height = Math.max(1.5, (times[index] / most) * 40);
    chart.append(make("rect", { x: index * 5, y: 40 - height, width: 4, height, class: bad(one) ? "bad" : "" }));
  });
  return [chart, el("small", {}, words)];
}

function drawStatus(status) {
  const facts = (pairs) => el("dl", {}, pairs.filter(([, value]) => value !== undefined && value !== "").map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]));
  const number = (value) => typeof value === "number";
  const models = Array.isArray(status.models) ? status.models.filter(isObject) : [];
  const general = [["Version", status.version], ["Runs for", number(status.uptime) ? spanText(status.uptime) : undefined]];
  const one = models.length === 1;
  const each = models.map((model) => {
    const workers = Array.isArray(model.workers) ? model.workers : [];
    const { p50, p90, p99, count } = model.latency ?? {};
    const sum = (name) => workers.reduce((total, worker) => total + (Number(worker[name]) || 0), 0);
    const recent = Array.isArray(model.recent) ? model.recent.filter(isObject).slice(-50) : [];
    const latency = [p50, p90, p99].every(number) && count ? `${timeText(p50)}, ${timeText(p90)}, ${timeText(p99)}` : undefined;
    return [el("div", {},
      !one && el("h3", {}, `${model.name}: ${model.state}`),
      facts([
        ...(one ? general : []),
        ["Reason", model.reason ?? ""],
        ["Waiting", model.queue ? `${model.queue.waiting} of at most ${model.queue.bound}` : undefined],
        ["Workers", workers.length ? [`${workers.length} with ${counted(sum("busy"), "request")}`, bytesText(sum("rss")), sum("restarts") && counted(sum("restarts"), "restart")].filter(Boolean).join(", ") : undefined],
        ["Requests", count],
        ["p50, p90, p99", latency],
      ])), el("div", {}, recent.length ? spark(recent) : null)];
  });
  $("seen").replaceChildren(...(one ? [] : [el("div", {}, facts(general)), el("div")]), ...each.flat());
  $("server").hidden = false;
}
