"""Real parts for tests of the Debian room: .debs made byte by byte, signed archives, and mirrors that serve them well or badly."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pysequoia

from corten.packages.debian.sources import Sources
from corten.packages.files import Deb
from corten.packages.http import Http, Patience, network_from


@dataclass(frozen=True)
class Link:
    """A symbolic link in a .deb."""

    target: str


@dataclass(frozen=True)
class HardLink:
    """A hard link in a .deb."""

    target: str


@dataclass(frozen=True)
class Special:
    """Any other tar entry: a type flag, a mode."""

    flag: bytes
    mode: int = 0o644


@dataclass(frozen=True)
class File:
    """A file in a .deb with a mode of its own."""

    data: bytes
    mode: int = 0o644


Entries = dict[str, "bytes | File | Link | HardLink | Special | None"]


def tar(entries: Entries, *, prefix: str = "./", parents: bool = True) -> bytes:
    """A tar of `entries`; None is a directory."""
    buffer = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, value in entries.items():
            if parents:
                parts = path.split("/")[:-1]
                for count in range(1, len(parts) + 1):
                    parent = "/".join(parts[:count])
                    if parent not in made and parent:
                        made.add(parent)
                        directory = tarfile.TarInfo(prefix + parent)
                        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                        archive.addfile(directory)
            item = tarfile.TarInfo(prefix + path)
            item.mode, item.mtime, item.uid, item.uname = 0o644, 1234567890, 1000, "somebody"
            data = b""
            if value is None:
                item.type, item.mode = tarfile.DIRTYPE, 0o755
                made.add(path)
            elif isinstance(value, Link):
                item.type, item.linkname = tarfile.SYMTYPE, value.target
            elif isinstance(value, HardLink):
                item.type, item.linkname = tarfile.LNKTYPE, prefix + value.target
            elif isinstance(value, Special):
                item.type, item.mode = value.flag, value.mode
            elif isinstance(value, File):
                data, item.mode = value.data, value.mode
            else:
                data = value
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return buffer.getvalue()


def ar(members: list[tuple[str, bytes]]) -> bytes:
    """An ar archive (deb(5))."""
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts.append(b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (name.encode(), 0, 0, 0, b"100644", len(data)))
        parts.append(data + b"\n" * (len(data) % 2))
    return b"".join(parts)


def control_text(name: str, version: str = "1.0-1", architecture: str = "amd64", **fields: str) -> str:
    """A control paragraph; `pre_depends` becomes `Pre-Depends`."""
    base = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": "Nobody <n@example.org>",
    }
    extra = {"-".join(part.capitalize() for part in key.split("_")): value for key, value in fields.items()}
    extra.setdefault("Description", f"package {name}\n with a longer text\n .\n of two parts")
    return "".join(f"{key}: {value}\n" for key, value in (base | extra).items())


def make_deb(
    name: str,
    version: str = "1.0-1",
    files: Entries | None = None,
    *,
    architecture: str = "amd64",
    scripts: dict[str, str] | None = None,
    md5sums: bool = True,
    data: bytes | None = None,
    suffix: str = ".xz",
    **fields: str,
) -> bytes:
    """The bytes of a .deb. `data` is a ready data.tar member in place of `files`."""
    files = files or {}
    control: Entries = {"control": control_text(name, version, architecture, **fields).encode()}
    if md5sums:
        lines = [
            f"{hashlib.md5(raw).hexdigest()}  {path}\n"
            for path, value in files.items()
            if (raw := value.data if isinstance(value, File) else value) is not None
            and isinstance(raw, bytes)
        ]
        control["md5sums"] = "".join(lines).encode()
    for script, text in (scripts or {}).items():
        control[script] = File(text.encode(), 0o755)
    packed = data if data is not None else lzma.compress(tar(files), preset=0)
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", lzma.compress(tar(control), preset=0)),
            (f"data.tar{suffix}", packed),
        ]
    )


def written(
    directory: Path, name: str, version: str = "1.0-1", files: Entries | None = None, **rest: object
) -> tuple[Deb, Path]:
    """A .deb on disk with the `Deb` that names it."""
    raw = make_deb(name, version, files, **rest)  # type: ignore[arg-type]
    path = directory / f"{name}_{version}.deb"
    path.write_bytes(raw)
    return deb_of(name, version, raw), path


def deb_of(name: str, version: str, raw: bytes, archive: str = "debian") -> Deb:
    """The `Deb` for these bytes."""
    path = f"pool/main/{name[0]}/{name}/{name}_{version.rpartition(':')[2]}_amd64.deb"
    return Deb(
        name,
        version,
        "amd64",
        archive,
        path,
        len(raw),
        hashlib.sha256(raw).hexdigest(),
        "2026-01-02T03:04:05Z",
    )


@cache
def signing_key() -> pysequoia.Tsk:
    """The key of the test's own Debian."""
    return pysequoia.Tsk.generate("Test Archive <archive@example.org>")


@cache
def stranger() -> pysequoia.Tsk:
    """Somebody else's key."""
    return pysequoia.Tsk.generate("Stranger <stranger@example.org>")


def public(key: pysequoia.Tsk) -> bytes:
    """The public half."""
    return bytes(key.extract_certificate())


def clearsign(text: str, key: pysequoia.Tsk | None = None) -> bytes:
    """An InRelease file."""
    signer = (key or signing_key()).signer()
    return bytes(pysequoia.sign(signer, text.encode(), mode=pysequoia.SignatureMode.CLEAR))


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@dataclass
class Archive:
    """A mirror's directory: `debian` and `debian-security` with the suites of one release."""

    root: Path
    suite: str = "bookworm"
    architectures: tuple[str, ...] = ("amd64", "arm64")
    origin: str = "Debian"
    key: pysequoia.Tsk | None = None
    valid_until: datetime | None = None
    by_hash: bool = True
    paragraphs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    """The Contents index of an architecture, as lines of paths and packages."""

    def add(
        self,
        name: str,
        version: str = "1.0-1",
        *,
        part: str = "",
        architecture: str = "amd64",
        files: Entries | None = None,
        scripts: dict[str, str] | None = None,
        **fields: str,
    ) -> Deb:
        """Put a package into the pool and into the suite's index (`part` is empty, `-updates` or `-security`)."""
        raw = make_deb(name, version, files, architecture=architecture, scripts=scripts, **fields)
        archive = "debian-security" if part == "-security" else "debian"
        pool = "pool/updates/main" if part == "-security" else "pool/main"
        path = f"{pool}/{name[0]}/{name}/{name}_{version.rpartition(':')[2]}_{architecture}.deb"
        place = self.root / archive / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(raw)
        sha256 = hashlib.sha256(raw).hexdigest()
        text = control_text(name, version, architecture, **fields)
        text += f"Filename: {path}\nSize: {len(raw)}\nSHA256: {sha256}\n"
        self.paragraphs.setdefault((part, architecture), []).append(text)
        return Deb(name, version, architecture, archive, path, len(raw), sha256, "")

    def publish(self, date: datetime = NOW) -> Archive:
        """Write and sign all indexes."""
        for part in ("", "-updates", "-security"):
            archive = "debian-security" if part == "-security" else "debian"
            directory = self.root / archive / "dists" / f"{self.suite}{part}"
            lines = []
            for architecture in self.architectures:
                text = "\n".join(self.paragraphs.get((part, architecture), [])).encode()
                folder = directory / "main" / f"binary-{architecture}"
                folder.mkdir(parents=True, exist_ok=True)
                for name, data in (("Packages", text), ("Packages.xz", lzma.compress(text))):
                    digest = hashlib.sha256(data).hexdigest()
                    lines.append(f" {digest} {len(data)} main/binary-{architecture}/{name}")
                    if name == "Packages":
                        continue
                    if self.by_hash:
                        hashed = folder / "by-hash" / "SHA256" / digest
                        hashed.parent.mkdir(parents=True, exist_ok=True)
                        hashed.write_bytes(data)
                    else:
                        (folder / name).write_bytes(data)
                if not part and architecture in self.contents:
                    packed = gzip.compress(self.contents[architecture].encode(), mtime=0)
                    (directory / "main" / f"Contents-{architecture}.gz").write_bytes(packed)
                    digest = hashlib.sha256(packed).hexdigest()
                    lines.append(f" {digest} {len(packed)} main/Contents-{architecture}.gz")
            fields = [
                f"Origin: {self.origin}",
                "Label: Debian",
                f"Codename: {self.suite}{part}",
                f"Date: {format_datetime(date, usegmt=True)}",
            ]
            if part == "-security":
                until = self.valid_until or date + timedelta(days=7)
                fields.append(f"Valid-Until: {format_datetime(until, usegmt=True)}")
            if self.by_hash:
                fields.append("Acquire-By-Hash: yes")
            text = "\n".join([*fields, "SHA256:", *lines]) + "\n"
            (directory / "InRelease").write_bytes(clearsign(text, self.key))
        return self


class Mirror:
    """A web server in a thread. `requests` are the paths asked for; `answer` overrides what it says to any of them."""

    def __init__(self, root: Path, answer: bytes | None = None, delay: float = 0.0) -> None:
        mirror = self
        self.requests: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(root))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                mirror.requests.append(self.path)
                if delay:
                    time.sleep(delay)
                if answer is None:
                    super().do_GET()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None:
                """A client that went away is part of the game."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def serving(root: Path, answer: bytes | None = None, delay: float = 0.0) -> Iterator[Mirror]:
    """A running `Mirror`."""
    mirror = Mirror(root, answer, delay)
    thread = threading.Thread(target=mirror.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        mirror.server.shutdown()
        mirror.server.server_close()
        thread.join()


def sources(*bases: str, snapshot: str | None = None) -> Sources:
    """Sources with both archives below each of `bases`."""
    return Sources(
        {name: tuple(f"{base}/{name}" for base in bases) for name in ("debian", "debian-security")},
        "the test",
        snapshot,
    )


def quick_http(read: float = 2.0) -> Http:
    """A client that does not wait long."""
    return Http(network_from({}, connect=2.0, read=read), Patience(attempts=2, pause=0.01))
