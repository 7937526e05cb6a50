"""The page in a real Chromium: against a stub that has every case, and against a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from corten_serve.server.page import page
from support.browser import Browser, chromium
from support.model_stub import MARKUP, NOTHING, Stub, operation, png, stub

WIDTHS = {"phone": (390, 844), "desk": (1280, 800)}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Browser:
    """The window of a desk, light, with nothing that an earlier test has left."""
    window.size(*WIDTHS["desk"])
    window.open("about:blank")
    window.complaints()
    return window


@pytest.fixture
def served() -> Iterator[Stub]:
    with stub() as serving:
        yield serving


def visit(browser: Browser, served: Stub, path: str = "/predict") -> None:
    browser.open("about:blank")
    browser.open(f"{served.url}#{path}")
    browser.wait(lambda: browser.text("#snippet").find(path) > 0, "the form")


def code(browser: Browser, language: str, holds: str) -> str:
    browser.labelled(language).click()
    return browser.see(holds, "#snippet")


def test_one_small_answer_holds_everything_and_runs_nothing_else():
    headers, body = page("iris", "predict:predict", "ready")
    zipped_headers, zipped = page("iris", "predict:predict", "ready", "br, gzip;q=0.8")
    assert len(zipped) < 40_000
    assert ("content-encoding", "gzip") in zipped_headers
    assert ("content-encoding", "gzip") not in page("iris", "p:p", "ready", "gzip;q=0, br")[0]
    assert page("iris", "predict:predict", "ready", "gzip")[1] is zipped
    fields = dict(headers)
    assert fields["x-content-type-options"] == "nosniff"
    policy = fields["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    text = body.decode()
    # No handler in attributes, no style in attributes, and nothing from elsewhere.
    assert not re.search(r"<[^>]+\s(on\w+|style)=", text.split("<script")[0])
    assert not re.search(r"(src|href)=[\"'](https?:)?//", text)
    assert text.count("<script") == text.count("</script>") == 1


def test_names_are_text(browser: Browser):
    with stub(name=MARKUP + "{{script}}") as served:
        browser.open(served.url)
        assert browser.find("h1").text == MARKUP + "{{script}}"
        browser.see("Run")
        assert browser.run("return document.title").startswith("<script>")
        assert browser.complaints() == []


def test_markup_from_schema_and_answer_is_text(browser: Browser, served: Stub):
    visit(browser, served, "/hostile")
    browser.labelled(MARKUP[:20]).type(MARKUP)
    browser.find("#run").click()
    browser.see(MARKUP, "#answer dd")
    for view in ("JSON", "Raw", "Result"):
        browser.labelled(view, "#views input").click()
    assert browser.text("#about") == MARKUP
    assert served.last == {MARKUP: MARKUP}
    assert browser.run("return document.title") == "iris"
    assert browser.run("return document.querySelectorAll('script, #answer img, #form img').length") == 1
    assert browser.complaints() == []


def test_form_sends_what_its_fields_hold(browser: Browser, served: Stub):
    visit(browser, served)
    browser.labelled("sepal").replace("1e2")
    browser.labelled("count").type("12345678901234567890")
    browser.labelled("row").replace("1, 2.5;3")
    browser.labelled("matrix").replace("1 2 3\n4 5 6")
    browser.labelled("item 1").replace("a")
    browser.find("button[aria-label='Add item to tags']").click()
    assert browser.active().name.startswith("item 2")
    browser.active().type("b")
    browser.labelled("low").replace("-1")
    browser.labelled("high").replace("2")
    browser.labelled("name").replace("Ada")
    browser.labelled("age").replace("36")
    browser.labelled("Give friend").click()
    browser.wait(lambda: len(browser.all("fieldset.bare textarea")) == 1, "the friend's name")
    browser.all("fieldset.bare textarea")[0].type("Bob")
    browser.labelled("Kind of either").type("Person")
    browser.labelled("anything").replace('{"x": [1, null]}')
    browser.find("#run").click()
    browser.see("200 OK", "#outcome")
    assert served.last == {
        "sepal": 100,
        "note": "first\nsecond",
        "colour": "white",
        "exact": True,
        "count": 12345678901234567890,
        "row": [1, 2.5, 3],
        "matrix": [[1, 2, 3], [4, 5, 6]],
        "tags": ["a", "b"],
        "pair": [-1, 2],
        "person": {"name": "Ada", "age": 36, "friend": {"name": "Bob"}},
        "weights": {"a.b": 1.5},
        "either": {"name": ""},
        "anything": {"x": [1, None]},
    }
    assert "request r-1" in browser.text("#outcome")
    assert "setosa" in browser.text("#answer")
    browser.labelled("JSON", "#views input").click()
    browser.see('"count": 12345678901234567890', "#answer")
    assert browser.complaints() == []


def test_defaults_come_back_and_examples_go_in(browser: Browser, served: Stub):
    posted = served.document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    posted["examples"] = {"two": {"value": {"sepal": 2, "tags": ["x", "y"], "colour": 3, "weights": {}}}}
    visit(browser, served)
    browser.labelled("sepal").replace("7")
    browser.find("#reset").click()
    assert browser.labelled("sepal").value() == "2"
    browser.find("#examples button").click()
    browser.see('"tags": ["x", "y"]', "#snippet")
    assert '"colour": 3' in browser.text("#snippet")
    assert browser.labelled("item 2").value() == "y"


def test_numbers_as_rows_and_as_text(browser: Browser, served: Stub):
    visit(browser, served)
    browser.find("button[aria-label='As rows: row']").click()
    browser.labelled("item 2").replace("9")
    browser.find("button[aria-label='Remove item 1 of row']").click()
    browser.find("button[aria-label='As text: row']").click()
    assert browser.labelled("row").value() == "9"
    browser.labelled("row").replace("9, nine")
    browser.find("#run").click()
    browser.see("'nine' is not a number", "#form")
    assert browser.active().name.startswith("row")
    assert served.seen == []


def test_json_instead_of_fields(browser: Browser, served: Stub):
    visit(browser, served)
    browser.labelled("Edit as JSON").click()
    browser.labelled("Request body").replace('{"sepal": 3, "tags": ["z"],')
    browser.find("#run").click()
    browser.see("this is not JSON", "#form")
    browser.labelled("Request body").type(' "matrix": [1]}')
    browser.labelled("Edit as JSON").click()
    assert browser.labelled("sepal").value() == "3"
    assert browser.labelled("item 1").value() == "z"
    assert browser.labelled("matrix").value() == "1"


def test_one_click_shows_an_answer(browser: Browser, served: Stub):
    visit(browser, served)
    browser.find("#run").click()
    browser.see("200 OK", "#outcome")
    assert served.last == {
        "sepal": 5.1,
        "note": "first\nsecond",
        "colour": "white",
        "exact": True,
        "row": [5.1, 3.5],
        "matrix": [1, 2, 3],
        "tags": ["hello"],
        "pair": [1, 1],
        "person": {"name": "hello", "age": 1},
        "weights": {"a.b": 1.5},
        "either": 1,
        "anything": None,
    }


def test_values_that_a_form_starts_with_keep_the_rules_of_the_schema(browser: Browser, served: Stub):
    rules = {
        "low": {"type": "integer", "minimum": 3, "maximum": 5},
        "high": {"type": "number", "maximum": -2},
        "above": {"type": "integer", "exclusiveMinimum": 7},
        "step": {"type": "integer", "multipleOf": 4},
        "short": {"type": "string", "maxLength": 2},
        "long": {"type": "string", "minLength": 7},
        "day": {"type": "string", "format": "date"},
        "price": {"type": ["string", "number"], "format": "decimal"},
        "rows": {"type": "array", "items": {"type": "array", "items": {"type": "integer", "maximum": 2}}},
        "pick": {"enum": ["a", "b"]},
        "maybe": {"type": ["integer", "null"]},
        "left": {"type": "string"},
    }
    required = [name for name in rules if name != "left"]
    schema = {"type": "object", "properties": rules, "required": required}
    served.document["paths"] = {"/predict": operation(schema)}
    visit(browser, served)
    browser.find("#run").click()
    browser.see("200 OK", "#outcome")
    jsonschema.validate(served.last, schema)
    assert "left" not in served.last
    assert served.last["maybe"] is None


def test_a_file_that_was_not_chosen_is_asked_for_in_plain_words(browser: Browser, served: Stub):
    visit(browser, served, "/picture")
    browser.find("#run").click()
    browser.see("choose an image first", "#form")
    assert browser.active().attribute("aria-invalid") == "true"
    assert served.seen == []
    assert "base64" not in browser.text()


def test_a_stream_that_breaks_off_says_why(browser: Browser, served: Stub):
    visit(browser, served, "/cut")
    browser.find("#run").click()
    browser.see("one", "#answer")
    served.go.set()
    browser.see("Broken off: the connection was lost before the end", "#outcome")
    assert "one" in browser.text("#answer")


def test_the_model_and_the_endpoint_say_what_they_are(browser: Browser, served: Stub):
    served.document["info"]["description"] = "Tells species apart.\n\nTrained in 1936."
    visit(browser, served)
    assert "Trained in 1936." in browser.text("#model")
    assert browser.text("#about") == "Says which iris it is."


def test_recent_latencies_are_a_picture_with_a_scale(browser: Browser, served: Stub):
    visit(browser, served)
    browser.see("the line is the median", "#server")
    assert browser.run("return document.querySelectorAll('#server rect').length") == 40
    assert "32 ms" in browser.text("#server .scale")
    name = str(browser.run("return document.querySelector('#server svg').getAttribute('aria-label')"))
    assert name.startswith("The last 40 requests: slowest 32 ms")
    assert (
        browser.run("return document.querySelector('#server rect title').textContent") == "10 ms, status 200"
    )


def test_one_request_is_told_as_one(browser: Browser, served: Stub):
    served.requests = 1
    visit(browser, served)
    browser.see("The last request took 10 ms", "#server")


def test_problems_stand_at_their_fields(browser: Browser, served: Stub):
    visit(browser, served)
    browser.labelled("item 1").replace("")
    browser.labelled("age").replace("")
    browser.find("button[aria-label='Add item to tags']").click()
    browser.labelled("item 2").type("x")
    browser.find("#run").click()
    browser.see("422", "#outcome")
    for name, message in (("age", "missing; expected an integer"), ("item 1", "the tag is empty")):
        control = browser.labelled(name)
        assert control.attribute("aria-invalid") == "true"
        described = str(control.attribute("aria-describedby")).split()[-1]
        assert browser.text(f"#{described}") == message
    assert browser.active().name.startswith("age")
    assert "person.age" in browser.text("#answer")
    browser.labelled("age").replace("3")
    browser.labelled("item 1").replace("a")
    browser.find("#run").click()
    browser.see("200 OK", "#outcome")
    assert browser.labelled("age").attribute("aria-invalid") is None


@pytest.mark.parametrize(
    ("path", "items", "first", "whole"),
    [("/tokens", 4, "the quick brown", "the quick brown fox"), ("/events", 3, '"loss": 0.9', "out of steps")],
)
def test_streams_are_shown_as_they_come(browser: Browser, served: Stub, path, items, first, whole):
    visit(browser, served, path)
    browser.labelled("text").replace("the quick brown fox")
    browser.find("#run").click()
    browser.see(first, "#answer")
    assert whole not in browser.text("#output")
    assert browser.find("#cancel").shown
    served.go.set()
    browser.see(whole, "#output")
    browser.see(f"{items} items", "#outcome")
    assert not browser.all("#cancel")[0].shown
    browser.labelled("JSON", "#views input").click()
    assert len(json.loads(browser.text("#answer"))) == items


def test_a_stream_can_be_left(browser: Browser, served: Stub):
    visit(browser, served, "/tokens")
    browser.labelled("text").replace("the quick brown fox")
    browser.find("#run").click()
    browser.see("the quick", "#answer")
    browser.press("escape")
    browser.see("Cancelled", "#outcome")
    assert "the quick" in browser.text("#answer")


def test_a_request_can_be_cancelled(browser: Browser, served: Stub):
    visit(browser, served, "/slow")
    browser.find("#run").click()
    browser.see("Asking", "#outcome")
    browser.find("#cancel").click()
    browser.see("Cancelled after", "#outcome")
    assert browser.active().attribute("id") == "run"
    served.go.set()
    browser.find("#run").click()
    browser.see("200 OK", "#outcome")


def test_pictures_go_up_and_come_back(browser: Browser, served: Stub, tmp_path: Path):
    visit(browser, served, "/picture")
    file = tmp_path / "slope's.png"
    file.write_bytes(png(64, 48))
    browser.labelled("image").type(str(file))
    browser.see("64 × 48", "#form")
    assert browser.run("return document.querySelector('.preview img').naturalWidth") == 64
    browser.find("#run").click()
    browser.wait(
        lambda: browser.run("return document.querySelector('#answer img')?.naturalWidth") == 64, "a picture"
    )
    _, headers, body = served.seen[-1]
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    assert file.read_bytes() in body
    assert b'name="scale"\r\n\r\n0.5\r\n' in body
    assert "-F 'image=@slope'\\''s.png;type=image/png'" in code(browser, "curl", "-F ")
    assert browser.complaints() == []


def test_files_go_as_base64_where_there_is_no_form(browser: Browser, served: Stub, tmp_path: Path):
    del served.document["paths"]["/picture"]["post"]["requestBody"]["content"]["multipart/form-data"]
    visit(browser, served, "/picture")
    file = tmp_path / "a.png"
    file.write_bytes(png(3, 2))
    browser.labelled("image").type(str(file))
    browser.find("#run").click()
    browser.wait(lambda: served.seen or None, "a request")
    assert served.last["image"].startswith("iVBORw0KGgo")
    assert run_code("sh", code(browser, "curl", "base64 -w0"), tmp_path).startswith(b"\x89PNG")
    sent = served.last
    assert run_code("python", code(browser, "Python", "b64encode"), tmp_path).startswith(b"b'\\x89PNG")
    assert served.last == sent


def run_code(kind: str, text: str, folder: Path) -> bytes:
    command = ["sh", "-euc", text] if kind == "sh" else [sys.executable, "-c", text]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, timeout=30, check=True).stdout


def test_shown_code_sends_exactly_the_same(browser: Browser, served: Stub, tmp_path: Path):
    visit(browser, served)
    browser.labelled("note").replace('it\'s "so" $HOME `x` \\ ä 🙂')
    browser.labelled("age").replace("3")
    browser.find("#run").click()
    browser.see("200 OK", "#outcome")
    sent = served.last
    for language, kind, holds in (("curl", "sh", "curl "), ("Python", "python", "urllib")):
        answer = run_code(kind, code(browser, language, holds), tmp_path)
        assert b"setosa" in answer
        assert len(served.seen) > 1
        assert served.seen.pop()[1]["content-type"] == "application/json"
        assert served.last == sent
    shown = code(browser, "JavaScript", "fetch(")
    again = browser.devtools(
        "Runtime.evaluate",
        expression=f"(async () => {{ {shown} }})().then(() => 1)",
        awaitPromise=True,
    )
    assert again["result"]["value"] == 1
    assert served.last == sent


def test_lists_become_tables_in_parts(browser: Browser, served: Stub):
    visit(browser, served, "/table")
    assert "Nothing is to be filled in" in browser.text("#form")
    browser.find("#run").click()
    browser.see("class 99", "#answer table")
    assert browser.run("return document.querySelectorAll('#answer tbody tr').length") == 100
    browser.find("#answer .scroll > button").click()
    assert browser.run("return document.querySelectorAll('#answer tbody tr').length") == 200
    browser.labelled("JSON", "#views input").click()
    browser.see("[ 250 items ]", "#answer")


def test_keyboard_alone_is_enough(browser: Browser, served: Stub):
    served.document["paths"] = {"/slow": served.document["paths"]["/slow"], "/table": operation(NOTHING)}
    served.go.set()
    browser.open(served.url)
    browser.see("Ctrl + Enter")
    seen = []
    for _ in range(20):
        browser.press("tab")
        seen.append(browser.active().name)
        if seen[-1].startswith("text"):
            break
    assert seen == ["Theme: auto", "Edit as JSON", "/slow", seen[-1]]
    assert browser.active().value() == "hello"
    browser.press("tab")
    assert browser.active().name == "Run"
    browser.press("enter")
    browser.see("done", "#answer")
    assert served.last == {"text": "hello"}
    browser.press("shift+tab")
    browser.press("control+enter")
    browser.wait(lambda: len(served.seen) == 2, "a second request")
    # Every control has a name, and shows when it has the focus.
    for control in browser.all("button, input, select, textarea"):
        assert control.name or not control.shown
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_results_are_announced(browser: Browser, served: Stub):
    visit(browser, served)
    found = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value")) for node in found]
    for wanted in (
        ("heading", "iris"),
        ("main", ""),
        ("group", "person"),
        ("spinbutton", "age integer, 0 to 150"),
    ):
        assert wanted in roles
    live = [node for node in found if node["role"]["value"] == "status"]
    assert len(live) == 2
    assert all(node["name"]["value"] == "" for node in live)


def test_starting_and_failed_are_said_and_asked_again(browser: Browser):
    with stub(state="starting", status=False) as served:
        browser.open(served.url)
        browser.see("The predictor is starting", "#fields")
        served.state, served.reason = "failed", "ModuleNotFoundError: no 'numpy'"
        browser.see("failed to start: ModuleNotFoundError: no 'numpy'", "#fields")
        assert browser.text("#state") == "failed"
        served.state, served.reason = "ready", ""
        browser.see("sepal", "#fields")
        browser.wait(lambda: browser.text("#state") == "ready", "ready")
        assert not browser.all("#server")[0].shown


def test_server_is_watched(browser: Browser, served: Stub):
    visit(browser, served)
    seen = browser.see("3 of at most 256", "#server")
    assert "12 ms, 21 ms, 44 ms" in seen
    assert "1 failed" in seen
    assert browser.run("return document.querySelectorAll('#server rect.bad').length") == 1
    served.state = "failed"
    browser.wait(lambda: browser.text("#state") == "failed", "failed")


def test_a_new_model_brings_its_form(browser: Browser, served: Stub):
    visit(browser, served)
    browser.see("1 h 1 min", "#server")
    served.uptime = 1
    browser.see("1 s", "#server dd:nth-of-type(2)")
    assert "has changed" not in browser.text()
    served.document["paths"] = {"/table": served.document["paths"]["/table"]}
    served.uptime = 0
    browser.see("The model has changed", "#about")
    browser.find("#about button").click()
    browser.see("Nothing is to be filled in", "#form")


def luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


CONTRASTS = """
const seen = [];
for (const node of document.querySelectorAll("body *")) {
  if (!node.checkVisibility() || ![...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim())) continue;
  let under = node;
  while (under && /, 0\\)$|transparent/.test(getComputedStyle(under).backgroundColor)) under = under.parentElement;
  seen.push([node.tagName, getComputedStyle(node).color, getComputedStyle(under ?? document.body).backgroundColor]);
}
return seen;
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_fits_and_reads_well(browser: Browser, served: Stub, tmp_path: Path, width: str, dark: bool):
    browser.size(*WIDTHS[width], dark=dark)
    visit(browser, served)
    browser.labelled("age").replace("")
    browser.find("#run").click()
    browser.see("422", "#outcome")
    assert browser.picture(tmp_path / f"{width}.png").stat().st_size > 10_000
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(ground) < 0.1) is dark
    # WCAG 2.2, 1.4.3: 4.5 for text.
    for tag, ink, paper in browser.run(CONTRASTS):
        bright, deep = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (bright + 0.05) / (deep + 0.05) >= 4.5, (tag, ink, paper)


def test_theme_can_be_chosen_and_stays(browser: Browser, served: Stub):
    visit(browser, served)
    for _ in range(2):
        browser.find("#theme").click()
    assert browser.find("#theme").text == "Theme: dark"
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert luminance(browser.run(ground)) < 0.1
    browser.do("POST", "/refresh")
    assert browser.find("#theme").text == "Theme: dark"
    browser.find("#theme").click()
    assert luminance(browser.run(ground)) > 0.8


def test_essentials_without_javascript(browser: Browser, served: Stub):
    browser.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(served.url)
        assert "curl ADDRESS/predict" in browser.find("noscript pre").text
        assert browser.find("footer a").attribute("href").endswith("openapi.json")
        assert not browser.all("main")[0].shown
    finally:
        browser.devtools("Emulation.setScriptExecutionDisabled", value=False)


PREDICTOR = """
    from dataclasses import dataclass
    from typing import Annotated, Literal, Optional

    @dataclass
    class Flower:
        petal: float
        colour: Literal["blue", "white"] = "blue"

    class Garden:
        "Knows flowers."

        def predict(
            self, flower: Flower, rows: list[list[float]], note: Optional[str] = None
        ) -> list[dict[str, float]]:
            "Says what it is."
            return [{"sum": sum(row), "petal": flower.petal} for row in rows]
"""


def test_real_server(browser: Browser, start: Any):
    server = start(PREDICTOR, "predict:Garden", CORTEN_NAME="flowers")
    answer = server.request("GET", "/", headers={"accept": "text/html", "accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert "script-src 'sha256-" in answer.headers["content-security-policy"]
    browser.open(f"http://127.0.0.1:{server.port}/")
    assert browser.see("Knows flowers.", "#model") == "Knows flowers."
    assert browser.text("#about") == "Says what it is."
    browser.labelled("petal").replace("")
    browser.labelled("rows").replace("1, 2\n3, 4")
    browser.find("#run").click()
    browser.see("422", "#outcome")
    assert browser.active().name.startswith("petal")
    browser.active().type("0.5")
    browser.press("enter")
    browser.see("7", "#answer table")
    assert browser.text("#state") == "ready"


MODELS = """
    import pathlib, time
    from typing import Iterator

    class A:
        endpoints = ("tokens", "same")

        def predict(self, x: float) -> float:
            return x + 1

        def tokens(self, text: str) -> Iterator[str]:
            for word in text.split():
                yield word + " "
                while word == "wait" and not pathlib.Path(__file__).with_name("go").exists():
                    time.sleep(0.01)

        def same(self, picture: bytes, often: int = 1) -> bytes:
            return picture * often

    class B:
        def predict(self, n: int) -> list[int]:
            return list(range(n))
"""


def test_real_server_with_several_models(browser: Browser, start: Any, tmp_path: Path):
    target = json.dumps({"a": "predict:A", "b": "predict:B"})
    server = start(MODELS, target)
    address = f"http://127.0.0.1:{server.port}/"
    browser.open(address)
    browser.labelled("/b/predict").click()
    browser.labelled("n").replace("3")
    browser.find("#run").click()
    browser.see("[0, 1, 2]", "#answer")

    browser.labelled("/a/tokens").click()
    browser.labelled("text").replace("one wait two")
    browser.find("#run").click()
    browser.see("one wait", "#answer")
    assert "two" not in browser.text("#answer")
    (tmp_path / "app" / "go").touch()
    browser.see("one wait two", "#answer")
    browser.see("3 items", "#outcome")

    browser.labelled("/a/same").click()
    file = tmp_path / "a.png"
    file.write_bytes(png(5, 4))
    browser.labelled("picture").type(str(file))
    browser.find("#run").click()
    browser.wait(
        lambda: browser.run("return document.querySelector('#answer img')?.naturalWidth") == 5, "a picture"
    )
    assert run_code("sh", code(browser, "curl", "-F "), tmp_path) == file.read_bytes()
    assert "a: ready" in browser.see("b: ready", "#server")
    assert browser.complaints() == []
