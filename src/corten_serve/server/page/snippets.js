// Code that sends exactly what the form holds.

const LANGUAGES = ["curl", "Python", "JavaScript"];
const shell = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const plainPart = (item) => (typeof item === "string" ? item : spell(item));
const PYTHON = { null: "None", true: "True", false: "False", file: (file) => `base64.b64encode(open(${JSON.stringify(file.name)}, "rb").read()).decode()` };
const SCRIPT = { ...JSON_STYLE, file: (file) => `await base64(${JSON.stringify(file.name)})` };

// `request` is { url, accept, value, parts }: `parts` for a multipart form, else the value goes as JSON.
const SNIPPETS = {
  curl({ url, accept, value, parts, stream }) {
    const head = [`curl${stream ? " -N" : ""} ${shell(url)}`, ...(accept ? [`-H ${shell(`accept: ${accept}`)}`] : [])];
    if (parts) {
      const options = parts.map(([name, item]) => {
        if (!(item instanceof Blob)) return `--form-string ${shell(`${name}=${plainPart(item)}`)}`;
        return `-F ${shell(`${name}=@${item.name}${item.type ? `;type=${item.type}` : ""}`)}`;
      });
      return [...head, ...options].join(" \\\n  ");
    }
    head.push("-H 'content-type: application/json'");
    if (value === undefined) return [...head, "-X POST"].join(" \\\n  ");
    const text = spell(value);
    if (!files(value).length && text.length < 5e4) return [...head, `-d ${shell(text)}`].join(" \\\n  ");
    const quoted = (part) => part.replace(/[\\$`]/g, "\\$&");
    const mark = "\u0000";
    const names = [];
    const json = spell(value, { ...JSON_STYLE, file: (file) => (names.push(file.name), `"${mark}"`) });
    const body = quoted(json).replaceAll(mark, () => `$(base64 -w0 ${shell(names.shift())})`);
    return `${[...head, "--data-binary @- <<END"].join(" \\\n  ")}\n${body}\nEND`;
  },
  Python({ url, accept, value, parts, stream }) {
    const headers = accept ? [`"accept": ${JSON.stringify(accept)}`] : [];
    if (parts) {
      const file = ([name, item]) => `    (${JSON.stringify(name)}, (${JSON.stringify(item.name)}, open(${JSON.stringify(item.name)}, "rb"), ${JSON.stringify(item.type || "application/octet-stream")})),`;
      const text = ([name, item]) => `    ${JSON.stringify(name)}: ${JSON.stringify(plainPart(item))},`;
      const [uploads, plain] = [parts.filter(([, item]) => item instanceof Blob), parts.filter(([, item]) => !(item instanceof Blob))];
      return ["import requests", "", `files = [\n${uploads.map(file).join("\n")}\n]`, `data = {${plain.length ? `\n${plain.map(text).join("\n")}\n` : ""}}`,
        `response = requests.post(${JSON.stringify(url)}, files=files, data=data${headers.length ? `, headers={${headers}}` : ""}${stream ? ", stream=True" : ""})`,
        "response.raise_for_status()", stream ? "for line in response.iter_lines():\n    print(line.decode())" : accept && !/json/.test(accept) ? "print(response.content)" : "print(response.json())"].join("\n");
    }
    headers.push('"content-type": "application/json"');
    return [`import json${files(value).length ? ", base64" : ""}, urllib.request`, "", `data = ${spell(value ?? {}, PYTHON)}`,
      `request = urllib.request.Request(\n    ${JSON.stringify(url)},\n    json.dumps(data).encode(),\n    {${headers.join(", ")}},\n)`,
      "with urllib.request.urlopen(request) as response:", stream ? "    for line in response:\n        print(line.decode().rstrip())" : accept && !/json/.test(accept) ? "    print(response.read())" : "    print(json.load(response))"].join("\n");
  },
  JavaScript({ url, accept, value, parts, stream }) {
    const headers = accept ? [`accept: ${JSON.stringify(accept)}`] : [];
    const last = stream
      ? "for await (const part of response.body.pipeThrough(new TextDecoderStream())) console.log(part);"
      : accept && !/json/.test(accept) ? "console.log(await response.blob());" : "console.log(await response.json());";
    const check = "if (!response.ok) throw new Error(await response.text());";
    if (parts) {
      const append = ([name, item]) => (item instanceof Blob
        ? `body.append(${JSON.stringify(name)}, await openAsBlob(${JSON.stringify(item.name)}), ${JSON.stringify(item.name)});`
        : `body.append(${JSON.stringify(name)}, ${JSON.stringify(plainPart(item))});`);
      return ['import { openAsBlob } from "node:fs";', "", "const body = new FormData();", ...parts.map(append),
        `const response = await fetch(${JSON.stringify(url)}, { method: "POST", ${headers.length ? `headers: { ${headers} }, ` : ""}body });`, check, last].join("\n");
    }
    headers.push('"content-type": "application/json"');
    const helper = files(value).length ? ['import { readFile } from "node:fs/promises";', "", 'const base64 = async (name) => (await readFile(name)).toString("base64");'] : [];
    return [...helper, `const data = ${spell(value ?? {}, SCRIPT)};`,
      `const response = await fetch(${JSON.stringify(url)}, {\n  method: "POST",\n  headers: { ${headers.join(", ")} },\n  body: JSON.stringify(data),\n});`, check, last].join("\n");
  },
};
