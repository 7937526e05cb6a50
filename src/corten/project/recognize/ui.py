"""Finding applications of UI frameworks: Streamlit, Gradio, Chainlit, Panel, Shiny, NiceGUI and others. Dash is a web application."""

from __future__ import annotations

import ast
import itertools
import posixpath
import re
from collections.abc import Iterator

from corten.lazy import regex
from corten.project import syntax
from corten.project.model import Command
from corten.project.recognize import ui_frameworks as known
from corten.project.recognize.candidates import Candidate
from corten.project.recognize.facts import Facts
from corten.project.recognize.layout import Layout, Place
from corten.project.recognize.places import NO_MODULE, strength
from corten.project.recognize.running import Script, method_of
from corten.project.recognize.trees import assigned
from corten.project.recognize.ui_frameworks import Framework
from corten.project.recognize.webapps import run_command
from corten.project.syntax import Module
from corten.values import replace

_MOST = 60
_USUAL = regex(
    r"(?i)(?:streamlit_?app|gradio_?app|chainlit_?app|(?:\d+_|\W+_?)?(?:home|main|app|index|dashboard|welcome|start|introduction|hello)|"
    r"ui|demo|gui|web_?ui|frontend|chatbot|chat|st_app)\.py"
)
"""Names that entry points have in projects of these frameworks, also with the number or picture of a page: `1_🏠_Home.py`."""
_PAGES = "pages"


def find(facts: Facts) -> list[Candidate]:
    """The applications, each with the command that serves it."""
    layout = Layout(facts.folder)
    found: list[Candidate] = []
    pages: set[str] = set()
    for module in itertools.islice(_modules(facts, layout), _MOST):
        script = Script(module)
        pages |= _pages_named(script)
        for framework in known.EVERY:
            argv = _argv(framework, script, facts, layout)
            if argv is not None:
                found.append(_candidate(framework, argv, script, facts, layout))
                break
    return _without_pages(found, pages, facts)


def _modules(facts: Facts, layout: Layout) -> Iterator[Module]:
    """Modules that import a framework, and those with an entry point's name that import one that does."""
    folder = facts.folder
    using: set[str] = set()
    for module in folder.modules(*known.WORDS):
        if not NO_MODULE.fullmatch(posixpath.basename(module.path)):
            using.add(module.path)
            yield module
    if not using:
        return
    for path in folder.files(".py"):
        if path in using or not _USUAL.fullmatch(posixpath.basename(path)):
            continue
        if layout.reached(path) & using:
            entry = folder.module(path)
            if entry is not None:
                yield entry


def _candidate(
    framework: Framework, argv: tuple[str, ...], script: Script, facts: Facts, layout: Layout
) -> Candidate:
    path = script.module.path
    place = layout.place(path)
    there = {name.partition("[")[0] for name in facts.packages}
    itself = f"{framework.distribution}{framework.least}"
    wanted = () if there & {framework.distribution, *framework.also} else (itself,)
    open_ = bool(framework.least) and not wanted and not _names_version(framework.distribution, facts)
    least = (itself,) if open_ else ()
    beside = tuple(name for name in framework.beside if name not in there and not _is_old(facts))
    requires = (*wanted, *least, *beside)
    return Candidate(
        "ui",
        Command(argv),
        path,
        f"'{path}' is an application of {framework.name}",
        _strength(path, facts),
        cwd=place.cwd,
        requires=requires,
        reason=f"{framework.name} is not among the dependencies"
        if wanted
        else "older releases are the only ones without packages that must be built"
        if least
        else f"{framework.name} needs it to serve"
        if beside
        else "",
        env={**place.env, **framework.env},
        ready=framework.ready_of(argv),
        writable=True,
        target=path,
        covers=layout.reached(path) - {path},
    )


def _names_version(distribution: str, facts: Facts) -> bool:
    """Whether a file of the project says which version of `distribution` it wants, as far as is known by its text."""
    pattern = re.compile(rf"(?im)^[\s\"'-]*{re.escape(distribution)}\s*(?:\[[^\]\n]*\])?[\"']?\s*[=<>~!@]")
    if any(facts.folder.exists(name) for name in _LOCKS):
        return True
    files = [path for path in facts.folder.files() if path.endswith((".txt", ".toml", ".yml", ".yaml"))]
    return any(pattern.search(facts.folder.text(path) or "") for path in files[:_MOST])


_LOCKS = ("uv.lock", "pylock.toml", "poetry.lock", "pdm.lock", "Pipfile.lock")
_OLD_FLET = regex(r"(?im)^flet\s*(?:[=~<]=?|===)\s*0\.(?:\d|1\d|2[0-4])(?![\d])")


def _is_old(facts: Facts) -> bool:
    """Whether the requirements pin a release of Flet that has its own web server: flet-web is as old as 0.25."""
    return any(
        _OLD_FLET.search(facts.folder.text(path) or "")
        for path in facts.folder.files("requirements.txt")[:_MOST]
    )


def _strength(path: str, facts: Facts) -> int:
    """As for web applications, with the names that are usual here. A script beside `pages/` is the entry of its application."""
    above, name = posixpath.split(path)
    if _USUAL.fullmatch(name) or _has_pages(above, facts):
        path = posixpath.join(above, "app.py")
    first = re.fullmatch(r"(?i)(?:streamlit_?app|app|(?:\d+_|\W+_?)?(?:home|main|app))\.py", name)
    return strength(path, facts.folder) - (0 if first or _has_pages(above, facts) else 1)


# --- which framework, and how ------------------------------------------------------------------------------------


def _argv(framework: Framework, script: Script, facts: Facts, layout: Layout) -> tuple[str, ...] | None:
    """The command that serves `script` where it is an application of `framework`; None where it is none."""
    path = script.module.path
    uses = bool(script.modules & set(framework.modules))
    if not uses and framework not in (known.STREAMLIT, known.GRADIO):
        return None
    place = layout.place(path)
    file = posixpath.relpath(path, place.cwd or ".")
    if framework is known.STREAMLIT:
        return framework.argv(file) if _is_streamlit(script, facts, layout, uses) else None
    if framework is known.GRADIO:
        return _gradio(script, facts, layout, uses, place)
    if framework is known.CHAINLIT:
        handlers = {f"chainlit.{name}" for name in ("on_message", "on_chat_start", "on_audio_chunk")}
        return framework.argv(file) if _decorators(script) & handlers else None
    if framework in (known.PANEL, known.BOKEH):
        return _panel(framework, script, file, path, place)
    if framework is known.SHINY:
        return _shiny(script, file)
    if framework is known.NICEGUI:
        return run_command(path, place, script.module) if "nicegui.ui.run" in script.names else None
    if framework is known.SOLARA:
        pages = {node.name for node in script.module.tree.body if isinstance(node, ast.FunctionDef)}
        pages |= {name for node in script.module.tree.body for name in assigned(node)[0]}
        return framework.argv(file) if pages & {"Page", "page"} else None
    if framework is known.MARIMO:
        return framework.argv(file) if "marimo.App" in script.names else None
    if framework is known.MESOP:
        return framework.argv(file) if "mesop.page" in _decorators(script) else None
    if framework is known.FLET:
        starts = {"flet.app", "flet.run", "flet.app_async", "flet.run_async"}
        return run_command(path, place, script.module) if script.names & starts else None
    methods = {method_of(call) for call in script.calls}
    serves = any(name.startswith("taipy.") and name.endswith("Gui") for name in script.names)
    return run_command(path, place, script.module) if serves and "run" in methods else None


def _is_streamlit(script: Script, facts: Facts, layout: Layout, uses: bool) -> bool:
    """Whether running the script shows something: modules with functions for other scripts do not."""
    if not uses:
        return script.starts_something and any(
            b"streamlit" in (facts.folder.data(path) or b"")
            for path in layout.reached(script.module.path) - {script.module.path}
        )
    shows = any(name.startswith("streamlit.") for name in script.names)
    return shows or (script.starts_something and "streamlit" in script.modules)


def _gradio(script: Script, facts: Facts, layout: Layout, uses: bool, place: Place) -> tuple[str, ...] | None:
    path = script.module.path
    source = facts.folder.data(path) or b""
    if b"mount_gradio_app" in source:
        return None
    reached = (facts.folder.data(other) or b"" for other in layout.reached(path))
    if not uses and not any(b"gradio" in other for other in reached):
        return None
    launches = any(method_of(call) == "launch" for call in script.calls)
    if not launches and script.starts_something:
        launches = any(method_of(call) == "launch" for call in script.everywhere)
    if launches:
        return run_command(path, place, script.module)
    for node in script.module.tree.body:
        name, value = _named_block(node)
        if name and isinstance(value, ast.Call) and script.full(value.func) in _BLOCKS:
            return ("python", "-c", f"from {place.name_of(path)} import {name}; {name}.launch()")
    return None


_BLOCKS = frozenset(f"gradio.{name}" for name in ("Blocks", "Interface", "ChatInterface", "TabbedInterface"))


def _named_block(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """The variable and the value of `demo = gr.Interface(…)` and of `with gr.Blocks() as demo:`."""
    if isinstance(node, ast.With) and isinstance(node.items[0].optional_vars, ast.Name):
        return node.items[0].optional_vars.id, node.items[0].context_expr
    names, value = assigned(node)
    return (names[0] if names else ""), value


def _panel(
    framework: Framework, script: Script, file: str, path: str, place: Place
) -> tuple[str, ...] | None:
    methods = {method_of(call) for call in script.calls}
    if framework is known.BOKEH:
        return framework.argv(file) if methods & {"add_root"} and "curdoc" in script.imports else None
    if script.names & {"panel.serve"}:
        return run_command(path, place, script.module)
    if any(method_of(call) == "servable" for call in script.everywhere):
        return framework.argv(file)
    return run_command(path, place, script.module) if "show" in methods else None


def _shiny(script: Script, file: str) -> tuple[str, ...] | None:
    if any(name.startswith("shiny.express") for name in (*script.imports.values(), *script.stars)):
        return known.SHINY.argv(file)
    for node in script.module.tree.body:
        names, value = assigned(node)
        if names and isinstance(value, ast.Call) and script.full(value.func) == "shiny.App":
            return known.SHINY.argv(file if names[0] == "app" else f"{file}:{names[0]}")
    return None


def _decorators(script: Script) -> set[str]:
    """The full names of what decorates functions."""
    found: set[str] = set()
    for node in syntax.nodes(script.module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                found.add(script.full(decorator.func if isinstance(decorator, ast.Call) else decorator))
    return found


# --- pages -------------------------------------------------------------------------------------------------------


def _has_pages(above: str, facts: Facts) -> bool:
    return facts.folder.has_folder(posixpath.join(above, _PAGES))


def _pages_named(script: Script) -> set[str]:
    """Files that a script of Streamlit names as its pages, relative to it."""
    above = posixpath.dirname(script.module.path)
    found: set[str] = set()
    for call in script.everywhere:
        if script.full(call.func) in ("streamlit.Page", "streamlit.switch_page", "streamlit.page_link"):
            texts = [argument.value for argument in call.args[:1] if isinstance(argument, ast.Constant)]
            found |= {
                posixpath.normpath(posixpath.join(above, text)) for text in texts if isinstance(text, str)
            }
    return found - {script.module.path}


def _without_pages(found: list[Candidate], pages: set[str], facts: Facts) -> list[Candidate]:
    """Without the pages of another script: those in `pages/` beside it, and those that a script names. Of several scripts beside one
    `pages/`, that with a usual name is the entry."""
    paths = {item.path for item in found}
    entries = [item for item in found if not _is_page(item.path, paths) and item.path not in pages]
    kept = entries or found
    named = {
        posixpath.dirname(item.path)
        for item in kept
        if _USUAL.fullmatch(posixpath.basename(item.path)) and _has_pages(posixpath.dirname(item.path), facts)
    }
    return [
        replace(item, strength=item.strength - 1)
        if posixpath.dirname(item.path) in named and not _USUAL.fullmatch(posixpath.basename(item.path))
        else item
        for item in kept
    ]


def _is_page(path: str, paths: set[str]) -> bool:
    above, _, _ = path.rpartition("/")
    outer, _, last = above.rpartition("/")
    return last == _PAGES and any(posixpath.dirname(other) == outer for other in paths)
