"""Frameworks for user interfaces: how an application of each is started, which variables it gets, and what it is asked until it is
ready. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from corten.lazy import regex
from corten.values import dataclass, field

ANY = "0.0.0.0"  # noqa: S104 -- the container's own interfaces: what leaves it is decided outside
PORT = "8080"
"""What the image's $PORT is. A framework that reads a variable of its own gets the same number."""
STREAMLIT_READY = "streamlit"
SHINY_READY = "shiny"
"""`ready`: a first session runs the script, and the script raises nothing (`corten.runtime.first_session`)."""


@dataclass(frozen=True, slots=True)
class Framework:
    """`name` is what people call it, `modules` are the top-level modules that an application imports, `distribution` is the package.
    `arguments` follow the program `module run FILE` (`{file}` stands for the file); without them the file itself is run. `also` are
    distributions that bring it too, `beside` those that it needs to serve and does not require. `least` is the version to ask for where nothing
    names one: newer releases have packages without wheels, so one that is years old would be taken."""

    name: str
    modules: tuple[str, ...]
    distribution: str
    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    ready: str = "page:/"
    also: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    least: str = ""

    def ready_of(self, argv: Sequence[str]) -> str:
        """What the application that the command `argv` starts is asked until it is ready. Where several are served, or one by its own
        code, no page is known but the first."""
        if "{stem}" not in self.ready:
            return self.ready
        words = _words(argv)
        files = [word for word in words if word.endswith((".py", ".ipynb"))]
        if len(files) != 1 or self.arguments[:2] != tuple(words[:2]) or "--prefix" in words:
            return "page:/"
        return self.ready.replace("{stem}", posixpath.basename(files[0]).rpartition(".")[0])

    def argv(self, file: str) -> tuple[str, ...]:
        """The command that serves `file`, which is relative to the working directory."""
        return tuple(word.replace("{file}", file) for word in self.arguments)


_WHERE = ("--host", ANY, "--port", "$PORT")

STREAMLIT = Framework(
    "Streamlit",
    ("streamlit",),
    "streamlit",
    ("streamlit", "run", "{file}", "--server.port", "$PORT"),
    {
        "STREAMLIT_SERVER_ADDRESS": ANY,
        "STREAMLIT_SERVER_PORT": PORT,
        "STREAMLIT_SERVER_HEADLESS": "true",
        "STREAMLIT_SERVER_FILE_WATCHER_TYPE": "none",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    },
    STREAMLIT_READY,
)
GRADIO = Framework(
    "Gradio",
    ("gradio",),
    "gradio",
    (),
    {"GRADIO_SERVER_NAME": ANY, "GRADIO_SERVER_PORT": PORT, "GRADIO_ANALYTICS_ENABLED": "False"},
    "page:/config",
)
CHAINLIT = Framework(
    "Chainlit",
    ("chainlit",),
    "chainlit",
    ("chainlit", "run", "{file}", *_WHERE, "--headless"),
    {"CHAINLIT_HOST": ANY, "CHAINLIT_PORT": PORT},
    least=">=2",
)
PANEL = Framework(
    "Panel",
    ("panel",),
    "panel",
    ("panel", "serve", "{file}", "--address", ANY, "--port", "$PORT", "--allow-websocket-origin", "*"),
    {"BOKEH_ALLOW_WS_ORIGIN": "*"},
    "page:/{stem}",
)
BOKEH = Framework(
    "Bokeh",
    ("bokeh",),
    "bokeh",
    ("bokeh", "serve", "{file}", "--address", ANY, "--port", "$PORT", "--allow-websocket-origin", "*"),
    {"BOKEH_ALLOW_WS_ORIGIN": "*"},
    "page:/{stem}",
)
SHINY = Framework("Shiny", ("shiny",), "shiny", ("shiny", "run", *_WHERE, "{file}"), ready=SHINY_READY)
NICEGUI = Framework("NiceGUI", ("nicegui",), "nicegui", (), {"NICEGUI_STORAGE_PATH": "/tmp/.nicegui"})
SOLARA = Framework("Solara", ("solara",), "solara", ("solara", "run", "{file}", *_WHERE, "--no-open"))
MARIMO = Framework("marimo", ("marimo",), "marimo", ("marimo", "run", "{file}", *_WHERE, "--headless"))
MESOP = Framework("Mesop", ("mesop",), "mesop", ("mesop", "{file}", "--port", "$PORT"))
FLET = Framework(
    "Flet",
    ("flet",),
    "flet",
    (),
    {"FLET_FORCE_WEB_SERVER": "true", "FLET_SERVER_IP": ANY, "FLET_SERVER_PORT": PORT},
    beside=("flet-web",),
)
TAIPY = Framework("Taipy", ("taipy",), "taipy", also=("taipy-gui",))

EVERY = (*(STREAMLIT, GRADIO, CHAINLIT, PANEL, BOKEH, SHINY, NICEGUI, SOLARA, MARIMO, MESOP, FLET, TAIPY),)
WORDS = tuple(module.encode() for framework in EVERY for module in framework.modules)
"""One of them is in the source of every module that uses such a framework."""
_BY_PROGRAM = {framework.arguments[0]: framework for framework in EVERY if framework.arguments}
_IMPORTS = regex(rb"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)


def _words(argv: Sequence[str]) -> list[str]:
    words = list(argv)
    if words[:2] == ["/bin/sh", "-c"] and len(words) > 2:
        words = re.split(r"[\s;&|]+", words[2])
    return words


def started_by(argv: Sequence[str], source: bytes | None) -> Framework | None:
    """The framework of what the command `argv` starts. `source` is that of the script which it runs, if it runs one."""
    words = _words(argv)
    for place, word in enumerate(words[:40]):
        found = _BY_PROGRAM.get(posixpath.basename(word))
        follows = words[place + 1] if place + 1 < len(words) else ""
        if found is not None and (follows == found.arguments[1] or found in (SHINY, MESOP)):
            return found
    if source is None:
        return None
    imported = {match[1].decode() for match in _IMPORTS.finditer(source)}
    own = (GRADIO, NICEGUI, FLET, TAIPY)
    return next((framework for framework in own if imported & set(framework.modules)), None)
