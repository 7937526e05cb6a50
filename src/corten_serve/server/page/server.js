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

// The latency of the last requests, a bar for each, the newest at the right end, with a scale and the median as a line.
// Failed ones have their own colour; everything is said in words below it, too.
const MOST_BARS = 50;

function latencies(recent, median) {
  const space = "http://www.w3.org/2000/svg";
  const make = (tag, properties, ...children) => {
    const node = document.createElementNS(space, tag);
    for (const [key, value] of Object.entries(properties)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const times = recent.map((one) => Number(one.ms) || 0);
  const bad = (one) => !(one.status < 400);
  const most = Math.max(...times, 0.001);
  const failed = recent.filter(bad).length;
  const words = recent.length === 1
    ? `The last request took ${timeText(times[0])}${failed ? " and failed" : ""}`
    : `The last ${recent.length} requests: slowest ${timeText(most)}, latest ${timeText(times.at(-1))}, ${failed || "none"} failed`;
  const level = (ms, look) => make("line", { x1: 0, x2: MOST_BARS * 5, y1: 100 - (ms / most) * 100, y2: 100 - (ms / most) * 100, class: look });
  const chart = make("svg", { class: "spark", viewBox: `0 0 ${MOST_BARS * 5} 100`, preserveAspectRatio: "none", role: "img", "aria-label": words }, level(most, ""), level(most / 2, ""));
  recent.forEach((one, index) => {
    const height = Math.max(2, (times[index] / most) * 100);
    const told = make("title", {}, `${timeText(times[index])}, status ${one.status}`);
    chart.append(make("rect", { x: (MOST_BARS - recent.length + index) * 5 + 0.5, y: 100 - height, width: 4, height, class: bad(one) ? "bad" : "" }, told));
  });
  if (median > 0 && median < most) chart.append(level(median, "middle"));
  const scale = el("div", { class: "scale", "aria-hidden": "true" }, [most, most / 2].map((ms) => el("span", {}, timeText(ms))), el("span", {}, "0"));
  return el("figure", {}, el("div", { class: "chart" }, scale, chart), el("figcaption", {}, words, median > 0 && median < most && `; the line is the median, ${timeText(median)}`));
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
    const recent = Array.isArray(model.recent) ? model.recent.filter(isObject).slice(-MOST_BARS) : [];
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
      ])), el("div", {}, recent.length ? latencies(recent, p50) : null)];
  });
  $("seen").replaceChildren(...(one ? [] : [el("div", {}, facts(general)), el("div")]), ...each.flat());
  $("server").hidden = false;
}
