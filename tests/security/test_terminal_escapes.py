"""Words of images, registries and projects reach a terminal escaped: they cannot move the cursor, set a title, turn the
direction of text, or forge a line of Corten's own."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.cli.terminal import Terminal, cell, escaped, table
from corten.events import Note, TaskAdvanced, TaskFinished, TaskStarted, Warned
from corten.oci import media
from corten.oci.config import ImageConfig
from corten.oci.descriptor import Descriptor, Manifest
from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import Corten

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil\x1b\\\r\x08\x7f\x9b31m\u202e\u2066\u2028\u200b[red]x[/red]"
)
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def unsafe(text: str) -> list[str]:
    """The characters of `text` that could steer a terminal or deceive a reader."""
    return [
        character for character in text if character != "\n" and unicodedata.category(character) in _UNSEEN
    ]


@pytest.fixture
def corten(tmp_path: Path) -> Corten:
    return Corten(tmp_path / "home", {"FORCE_COLOR": "", "NO_COLOR": "1"})


def test_every_character_that_steers_a_terminal_is_escaped() -> None:
    kept = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in _UNSEEN]
    assert {character for character in kept if escaped(character) == character} == {"\t", "\n"}
    assert unsafe(cell("".join(kept))) == []
    assert "\n" not in cell("".join(kept))
    assert escaped("Zürich 数据 🐍 naïve\n\tx") == "Zürich 数据 🐍 naïve\n\tx"


@given(st.text())
def test_a_json_document_keeps_its_meaning_when_it_is_escaped(text: str) -> None:
    document = json.dumps({text: [text]})
    assert json.loads(escaped(document)) == {text: [text]}
    assert unsafe(escaped(document)) == []


@given(st.text(alphabet=st.sampled_from(HOSTILE + "\nab:"), max_size=40), st.booleans())
def test_no_event_error_or_table_steers_the_terminal_or_forges_a_line(words: str, verbose: bool) -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err, live=False, colour=False)
    terminal.configure(quiet=False, verbose=verbose)
    for event in (
        Note(f"a{words}"),
        Warned(f"b{words}", f"c{words}"),
        TaskStarted("pull", words),
        TaskAdvanced("pull", words, 3),
        TaskFinished("pull", words),
    ):
        terminal.observe(event)
    terminal.say(f"d{words}", (f"x{words}", "1"))
    terminal.error(f"e{words}", f"f{words}")
    terminal.bug(ValueError(HOSTILE))
    terminal.print(table([[words, words]], ["A", "B"]), (words, "1"))
    assert unsafe(out.getvalue()) == []
    assert unsafe(err.getvalue().replace("\t", "")) == []
    assert out.getvalue().count("\n") == 2, "a cell ends no line"
    own = [line for line in err.getvalue().splitlines() if line.startswith(("error:", "hint:", "warning:"))]
    assert [line.partition(":")[0] for line in own] == ["warning", "hint", "error", "hint", "error"]


def _hostile_image(corten: Corten) -> str:
    """An image whose every text is hostile; its name."""
    store = Store.open(corten.home)
    with store.temporary_directory() as directory:
        (directory / "fs").mkdir(parents=True)
        layer = store.layers.commit(directory, "layer")
    config = ImageConfig(
        Platform.host(),
        (layer.diff_id,),
        env=(f"A={HOSTILE}",),
        entrypoint=(f"/{HOSTILE}",),
        user=HOSTILE,
        workdir=f"/{HOSTILE}",
        labels={HOSTILE: HOSTILE, "dev.corten.entry": HOSTILE, "dev.corten.network": HOSTILE},
        history=({"created_by": HOSTILE, "comment": HOSTILE},),
        created="1980-01-01T00:00:00Z",
    ).encode()
    manifest = Manifest(
        Descriptor(media.CONFIG, store.blobs.put(config), len(config)),
        (Descriptor(media.LAYER, layer.diff_id, layer.size),),
    )
    store.images.set("evil", Platform.host(), store.blobs.put(manifest.encode()))
    return "evil"


@pytest.mark.parametrize(
    "arguments",
    [
        ("history", "evil"),
        ("history", "evil", "--json"),
        ("inspect", "evil"),
        ("inspect", "evil", "--format", "config"),
        ("images",),
        ("run", "evil"),
        ("up", "evil", "--port", "0"),
        ("export", "systemd", "evil"),
        ("history", HOSTILE),
        ("run", "--network", HOSTILE, "evil"),
        (f"{HOSTILE}",),
        ("pull", f"localhost:1/{HOSTILE}"),
    ],
)
def test_nothing_of_a_hostile_image_reaches_the_terminal(corten: Corten, arguments: tuple[str, ...]) -> None:
    _hostile_image(corten)
    done = corten(*[word.replace("\0", "") for word in arguments], code=None, timeout=60)
    assert unsafe(done.stdout + done.stderr) == []
    assert done.stdout + done.stderr


class _Registry(BaseHTTPRequestHandler):
    """Answers with hostile tags, error bodies, reasons and headers."""

    def do_GET(self) -> None:
        body: dict[str, object] = {"errors": [{"code": HOSTILE, "message": HOSTILE}]}
        status = 400 if "/manifests/" in self.path else 200
        if self.path.endswith("/v2/"):
            body = {}
        elif self.path == "/openapi.json":
            schema = {"schema": {"type": "object"}}
            body = {
                "paths": {"/predict": {"post": {"requestBody": {"content": {"application/json": schema}}}}}
            }
        elif "/tags/list" in self.path:
            body = {"name": "x", "tags": ["fine", HOSTILE, f"a\n{HOSTILE}"]}
        data = json.dumps(body).encode()
        if self.path == "/predict":
            self.rfile.read(int(self.headers["Content-Length"]))
            data = HOSTILE.encode()
        self.send_response(status, "Bad \x1b[31m")
        kind = "text/plain" if self.path == "/predict" else "application/json\x1b[31m"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_nothing_of_a_hostile_registry_reaches_the_terminal(corten: Corten, registry: str) -> None:
    for arguments in (
        ("images", "--remote", f"{registry}/x", "--insecure"),
        ("images", "--remote", f"{registry}/x", "--insecure", "--json"),
        ("images", "--remote", f"{registry}/x:1", "--insecure"),
        ("pull", f"{registry}/x:1", "--insecure"),
    ):
        done = corten(*arguments, code=None)
        assert unsafe(done.stdout + done.stderr) == [], arguments
        assert done.stdout + done.stderr


def test_nothing_of_a_hostile_project_reaches_the_terminal(corten: Corten, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text("print(1)\n")
    name = "\u202eyp.\u2066x.joblib"
    (project / name).write_text("x")
    shown = corten("init", project, "--dry-run")
    assert unsafe(shown.stdout + shown.stderr) == []
    assert "\\u202eyp" in shown.stderr
    hostile = json.dumps(HOSTILE)
    for table_text in (
        f"[tool.corten]\n{hostile} = 1\n",
        f"[tool.corten]\nbase = {hostile}\n",
        f"[tool.corten]\nmodels = [{hostile}]\n",
        f"[tool.corten]\ninclude = [{hostile}]\n",
        f"[tool.corten.env]\n{hostile} = {hostile}\n",
        f"[tool.corten]\nrequirements = {hostile}\n",
        f"[project]\nname = {hostile}\n[tool.corten]\npredict = {hostile}\n",
        f"x = {HOSTILE!r}\x1b\n",
    ):
        (project / "pyproject.toml").write_bytes(table_text.encode("utf-8", "surrogatepass"))
        done = corten("build", project, "-v", "--locked", code=None)
        assert done.returncode in (1, 2)
        assert unsafe(done.stdout + done.stderr) == [], table_text


def test_an_answer_is_escaped_on_a_terminal_and_whole_in_a_pipe(corten: Corten, registry: str) -> None:
    words = ("predict", f"http://{registry}", "a=1")
    assert corten(*words).stdout == HOSTILE.replace("\r", "\n") + "\n"
    main, other = pty.openpty()
    done = corten(*words, stdout=other, stderr=subprocess.PIPE, capture_output=False)
    os.close(other)
    shown = os.read(main, 65536).decode()
    os.close(main)
    assert done.stderr == ""
    assert unsafe(shown.replace("\r\n", "\n")) == []
    assert "\\u001b[2J" in shown


def test_only_a_containers_own_output_is_written_as_it_is() -> None:
    err = io.StringIO()
    terminal = Terminal(io.StringIO(), err, live=False, colour=False)
    terminal.relay("\x1b[31mred\x1b[0m")
    terminal.say("\x1b[31mred")
    assert err.getvalue() == "\x1b[31mred\x1b[0m\n\\u001b[31mred\n"


def test_nothing_of_the_command_writes_past_the_terminals_edge() -> None:
    """Whoever writes to a standard stream itself is named here, with what it writes."""
    own = {
        "terminal": "the edge",
        "logs": "a container's own output",
        "cp": "an archive, never to a terminal",
        "save": "an archive",
        "predict": "an answer, escaped on a terminal",
        "login": "a question of Corten's own",
    }
    source = Path(__file__).parents[2] / "src/corten/cli"
    for path in source.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Call)) else ""
            direct = named.startswith(
                (
                    "sys.stdout.write",
                    "sys.stderr.write",
                    "sys.stdout.buffer",
                    "sys.stderr.buffer",
                    "print(",
                    "os.write(1,",
                    "os.write(2,",
                )
            )
            assert not direct or path.stem in own, f"{path.name}:{node.lineno} writes past the terminal"  # type: ignore[attr-defined]
