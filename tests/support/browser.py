"""A real Chromium, headless, driven over the WebDriver protocol (w3.org/TR/webdriver2) that Debian's chromedriver speaks."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {
    "tab": "\ue004",
    "enter": "\ue007",
    "space": " ",
    "escape": "\ue00c",
    "shift": "\ue008",
    "control": "\ue009",
    "right": "\ue014",
}
T = TypeVar("T")
_LABELLED = """
const said = (node) => node.ariaLabel ?? [...(node.labels ?? [])].map((one) => one.textContent.trim()).join(" ");
return [...document.querySelectorAll(arguments[0])].filter((one) => said(one).startsWith(arguments[1]));
"""


class BrowserError(Exception):
    """What the driver answered instead of a value."""


class Element:
    """One element of the page that is shown."""

    def __init__(self, browser: Browser, identity: str) -> None:
        self.browser = browser
        self.identity = identity

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self.browser.do(method, f"/element/{self.identity}/{path}", body)

    def click(self) -> None:
        """Click it, scrolled to the middle of the window, where nothing lies over it."""
        self.browser.run("arguments[0].scrollIntoView({block: 'center'})", {ELEMENT: self.identity})
        self._do("POST", "click", {})

    def type(self, text: str) -> None:
        """Type into it, or choose a file by its path."""
        self._do("POST", "value", {"text": text})

    def replace(self, text: str) -> None:
        self._do("POST", "clear", {})
        self.type(text)

    @property
    def text(self) -> str:
        """What is to be seen of its text."""
        return str(self._do("GET", "text"))

    @property
    def shown(self) -> bool:
        return bool(self._do("GET", "displayed"))

    @property
    def name(self) -> str:
        """Its accessible name, as a screen reader says it."""
        return str(self._do("GET", "computedlabel"))

    def attribute(self, name: str) -> str | None:
        found: str | None = self._do("GET", f"attribute/{name}")
        return found

    def value(self) -> Any:
        return self._do("GET", "property/value")


class Browser:
    """One window. Whatever looks for something waits for it, for at most `patience` seconds."""

    def __init__(self, port: int, session: str) -> None:
        self._port = port
        self._session = session
        self.patience = 15.0

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """One command of the protocol on this session. Raises BrowserError."""
        return command(self._port, method, f"/session/{self._session}{path}", body)

    def open(self, url: str) -> None:
        self.do("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of `script`, a function's body."""
        return self.do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, method: str, **parameters: Any) -> Any:
        return self.do("POST", "/goog/cdp/execute", {"cmd": method, "params": parameters})

    def wait(self, look: Callable[[], T | None], what: str = "") -> T:
        """The first thing that `look` finds that is neither None nor False."""
        end = time.monotonic() + self.patience
        while True:
            try:
                found = look()
                if found is not None and found is not False:
                    return found
            except BrowserError as error:
                what = what or str(error)
            if time.monotonic() > end:
                raise AssertionError(f"not seen in {self.patience:g} s: {what}\n{self.text()}")
            time.sleep(0.03)

    def all(self, selector: str) -> list[Element]:
        found = self.do("POST", "/elements", {"using": "css selector", "value": selector})
        return [Element(self, one[ELEMENT]) for one in found]

    def find(self, selector: str) -> Element:
        """The first element for a CSS selector that is displayed."""
        return self.wait(lambda: next((one for one in self.all(selector) if one.shown), None), selector)

    def labelled(self, name: str, selector: str = "input, textarea, select") -> Element:
        """The control whose accessible name begins with `name`."""

        def look() -> Element | None:
            found = [Element(self, one[ELEMENT]) for one in self.run(_LABELLED, selector, name)]
            return next((one for one in found if one.name.startswith(name)), None)

        return self.wait(look, name)

    def active(self) -> Element:
        return Element(self, self.do("GET", "/element/active")[ELEMENT])

    def press(self, *names: str) -> None:
        """Keys one after the other, on whatever has the focus; `control+enter` is held together."""
        actions: list[dict[str, str]] = []
        for name in names:
            held = [KEYS.get(part, part) for part in name.split("+")] if len(name) > 1 else [name]
            actions += [{"type": "keyDown", "value": key} for key in held]
            actions += [{"type": "keyUp", "value": key} for key in reversed(held)]
        self.do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def text(self, selector: str = "body") -> str:
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def see(self, text: str, selector: str = "body") -> str:
        """Wait until the text is there; all of the text around it."""
        return self.wait(lambda: found if text in (found := self.text(selector)) else None, f"'{text}'")

    def size(self, width: int, height: int, dark: bool = False) -> None:
        """A window of this size, in the light or the dark scheme."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, whole: bool = True) -> Path:
        """A picture of the page, of all of it or of what the window shows."""
        found = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def complaints(self) -> list[str]:
        """What the console has been told since the last look: errors of scripts and of the page's policy."""
        entries = self.do("POST", "/se/log", {"type": "browser"})
        return [str(entry["message"]) for entry in entries if entry["level"] == "SEVERE"]


def command(port: int, method: str, path: str, body: Any = None) -> Any:
    """One command of the protocol. Raises BrowserError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        connection.request(method, path, data, {"content-type": "application/json"})
        answer = json.loads(connection.getresponse().read())["value"]
    finally:
        connection.close()
    if isinstance(answer, dict) and "error" in answer:
        raise BrowserError(f"{answer['error']}: {str(answer.get('message'))[:300]}")
    return answer


@contextmanager
def chromium(folder: Path, **preferences: Any) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`, gone with all its processes at the end."""
    log = folder / "chromedriver.log"
    with log.open("wb") as output:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=output, stderr=output, start_new_session=True
        )
    try:
        port = _port(driver, log)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        arguments += [f"--user-data-dir={folder / 'profile'}", "--no-first-run", "--hide-scrollbars"]
        options = {"binary": "/usr/bin/chromium", "args": arguments, "prefs": preferences}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        session = command(port, "POST", "/session", {"capabilities": wanted})["sessionId"]
        browser = Browser(port, session)
        yield browser
        browser.do("DELETE", "")
    finally:
        driver.send_signal(signal.SIGTERM)
        driver.wait(20)


def _port(driver: subprocess.Popen[bytes], log: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end and driver.poll() is None:
        found = re.search(r"started successfully on port (\d+)", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"chromedriver did not start: {log.read_text()}")
