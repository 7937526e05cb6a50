"""The one module that runs git: a commit of a repository from elsewhere, as a tree of files.

git fetches, with the credentials that this machine's user has set up for it, and nothing else is left to it. It gets a bare repository in a
folder of the store; there is no checkout, so no filter, no hook, no LFS and no submodule of the repository ever runs. Corten reads
the tree's objects and writes the files itself. git asks no question, uses https and ssh alone (http where the user has confirmed the host), and
its time and the size of what it writes are bounded.
"""

from __future__ import annotations

import errno
import os
import re
import selectors
import signal
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from corten.errors import FetchError
from corten.lazy import regex
from corten.oci.inside import Inside
from corten.oci.placing import DEEPEST, ITS_OWN_FAULT
from corten.packages.repositories import COMMIT, Repository
from corten.values import dataclass, field

if TYPE_CHECKING:
    from corten.store.unpacking import Headroom

_SECONDS = 600
_LARGEST_FILE = 2 << 30
_LARGEST_TREE = 1 << 30
_MOST_FILES = 100_000
_LONGEST_PATH = 4000
_MOST_ANSWER = 64 << 20
_MOST_SAID = 8000
_PIECE = 1 << 16
_PASSED = regex(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_ALL|TMPDIR|XDG_CONFIG_HOME|XDG_RUNTIME_DIR|SSH_AUTH_SOCK|SSH_AGENT_PID|KRB5\w*|GIT_SSH|GIT_SSH_COMMAND"
    r"|GIT_SSH_VARIANT|GIT_SSL_CAINFO|GIT_SSL_CAPATH|GIT_PROXY_SSL_\w+|SSL_CERT_FILE|SSL_CERT_DIR|GIT_CONFIG_GLOBAL|GIT_CONFIG_SYSTEM"
    r"|GIT_CONFIG_NOSYSTEM|GIT_CONFIG_COUNT|GIT_CONFIG_(?:KEY|VALUE)_\d+|(?i:(?:http|https|all|no)_proxy)"
)
_HELPER = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$CORTEN_GIT_USER" "$CORTEN_GIT_PASSWORD"; }; f'
_NOT_SHALLOW = regex(
    r"couldn't find remote ref|shallow|not our ref|unadvertised|does not allow request|no such remote ref",
    re.IGNORECASE,
)
_ITS_OWN_FAULT = ITS_OWN_FAULT | {errno.EEXIST, errno.ENOENT}
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Checkout:
    """What was written: the commit, and what of it is not as its authors meant it, in words."""

    commit: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Git:
    """git on this machine. `environment` is this process's; `login` is the user and password for the repository's host, beside what git itself
    has for it; `seconds` bound its time, and `largest` is the size of the largest file that it may write. `headroom` watches the disk meanwhile."""

    environment: Mapping[str, str] = field(repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    seconds: float = _SECONDS
    largest: int = _LARGEST_FILE
    headroom: Headroom | None = field(default=None, repr=False)

    def check_out(self, repository: Repository, commit: str, into: Path, work: Path) -> Checkout:
        """The files of `repository` at `commit` (empty: at its ref, as it is now) in `into`. Both folders are empty and private. Raises
        FetchError."""
        self._run(["init", "--quiet", "--bare", "--template=", str(work)], work, repository)
        commit = self._fetched(repository, commit, work)
        return Checkout(commit, self._written(repository, commit, into, work))

    def described(self, repository: Repository, commit: str, work: Path) -> str:
        """The name that `git describe` gives the commit, `TAG-DISTANCE-gCOMMIT`; empty where no tag with a digit leads to it. `work` is the folder that the
        commit was checked out with. Raises FetchError."""
        fetch = ["fetch", "--quiet", "--no-recurse-submodules", "--no-auto-gc", "--filter=tree:0"]
        tags = ["+refs/tags/*:refs/tags/*"]
        try:
            for deeper in (["--unshallow"], []):
                try:
                    self._run([*fetch, *deeper, "--", repository.url, commit, *tags], work, repository)
                    break
                except _Failed:
                    if not deeper:
                        self._run(
                            [*fetch, "--", repository.url, "+refs/heads/*:refs/heads/*", *tags],
                            work,
                            repository,
                        )
            said = self._run(["describe", "--tags", "--long", "--match", "*[0-9]*", commit], work, repository)
        except _Failed:
            return ""
        return said.decode(errors="replace").strip()

    def _fetched(self, repository: Repository, commit: str, work: Path) -> str:
        """Fetch the commit; its name."""
        wanted = commit or repository.ref
        fetch = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc"]
        try:
            self._run([*fetch, "--depth=1", "--", repository.url, wanted or "HEAD"], work, repository)
            found = self._commit("FETCH_HEAD", work, repository)
        except _Failed as error:
            if not _NOT_SHALLOW.search(error.said):
                raise _explained(repository, error.said) from None
            found = ""
        if not found:
            # A server that gives no single commits, and a ref that is the beginning of a commit's name.
            try:
                everything = [
                    "+refs/heads/*:refs/heads/*",
                    "+refs/tags/*:refs/tags/*",
                    "+HEAD:refs/corten/head",
                ]
                self._run([*fetch, "--", repository.url, *everything], work, repository)
            except _Failed as error:
                raise _explained(repository, error.said) from None
            names = [f"refs/tags/{wanted}", f"refs/heads/{wanted}"] if wanted else ["refs/corten/head"]
            if re.fullmatch("[0-9a-f]{7,64}", wanted):
                names.append(wanted)
            found = next((name for ref in names if (name := self._commit(ref, work, repository))), "")
        if not found or (commit and found != commit):
            raise FetchError(
                f"the repository '{repository.url}' has no '{wanted[:100]}'"
                + (" any more" if commit else ""),
                hint="lock again ('corten lock')"
                if commit
                else "name a branch, a tag or a commit that it has",
            )
        return found

    def _commit(self, ref: str, work: Path, repository: Repository) -> str:
        """The full name of the commit that `ref` leads to; empty where it leads to none."""
        try:
            said = self._run(
                ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"],
                work,
                repository,
            )
        except _Failed:
            return ""
        name = said.decode(errors="replace").strip()
        return name if COMMIT.fullmatch(name) else ""

    def _written(self, repository: Repository, commit: str, into: Path, work: Path) -> tuple[str, ...]:
        """Write the tree's files, each read from git's objects as it is."""
        tree = f"{commit}:{repository.subdirectory}" if repository.subdirectory else f"{commit}^{{tree}}"
        try:
            listed = self._run(["ls-tree", "-r", "-t", "-z", "--long", "--full-tree", tree], work, repository)
        except _Failed as error:
            raise FetchError(
                f"the repository '{repository.shown}' has no folder '{repository.subdirectory}'",
                hint="correct #subdirectory=",
            ) from error
        files, submodules = _entries(listed, repository)
        pointers: list[str] = []
        names = "".join(f"{file.object}\n" for file in files).encode()
        deadline = time.monotonic() + self.seconds
        with Inside(into) as inside, self._started(["cat-file", "--batch"], work) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            feeder = threading.Thread(target=_feed, args=(process.stdin, names), daemon=True)
            feeder.start()
            try:
                for file in files:
                    if time.monotonic() > deadline:
                        raise self._late(repository)
                    head = process.stdout.readline(200).split()
                    if len(head) != 3 or head[1] != b"blob" or head[2] != str(file.size).encode():
                        raise FetchError(f"the repository '{repository.shown}' is damaged")
                    try:
                        start = self._write(inside, file, process.stdout, repository)
                    except OSError as error:
                        if error.errno not in _ITS_OWN_FAULT:
                            raise
                        raise FetchError(
                            f"'{file.path[:100]}' in the repository '{repository.shown}' cannot be written: {(error.strerror or str(error)).lower()}",
                            hint="look at the repository: its files have names that no file system takes, or one name twice",
                        ) from error
                    if start.startswith(_LFS):
                        pointers.append(file.path)
                    if process.stdout.read(1) != b"\n":
                        raise FetchError(f"the repository '{repository.shown}' is damaged")
            finally:
                _end(process)
                feeder.join()
        notes = []
        if submodules:
            notes.append(f"submodules of '{repository.shown}' are not fetched: {_listed(submodules)}")
        if pointers:
            notes.append(
                f"files of '{repository.shown}' are pointers of Git LFS, whose files Corten does not fetch: {_listed(pointers)}"
            )
        return tuple(notes)

    def _write(self, inside: Inside, file: _File, source: IO[bytes], repository: Repository) -> bytes:
        """Write one file or link piece by piece; its first bytes."""
        data = source.read(min(file.size, _PIECE))
        if file.mode == "120000":
            if file.size > _LONGEST_PATH:
                raise FetchError(
                    f"'{file.path}' in the repository '{repository.shown}' is a link of {file.size} bytes"
                )
            _link(inside, file.path, data, repository)
            return data
        descriptor = inside.create(file.path, 0o755 if file.mode == "100755" else 0o644)
        with open(descriptor, "wb", buffering=0) as target:
            left, piece = file.size, data
            while left:
                if not piece:
                    raise FetchError(f"the repository '{repository.shown}' is damaged")
                view = memoryview(piece)
                while view:
                    view = view[target.write(view) :]
                left -= len(piece)
                if self.headroom is not None:
                    self.headroom.spend(len(piece))
                piece = source.read(min(left, _PIECE))
        return data

    # Running.

    def _variables(self) -> dict[str, str]:
        kept = {key: value for key, value in self.environment.items() if _PASSED.fullmatch(key)}
        kept |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "false",
            "SSH_ASKPASS": "false",
            # ssh asks nothing, and which ssh it is stays the user's choice (GIT_SSH, core.sshCommand).
            "SSH_ASKPASS_REQUIRE": "force",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GCM_INTERACTIVE": "never",
        }
        return kept

    def _configured(self, repository: Repository) -> dict[str, str]:
        """Further variables for talking to `repository`'s host: the protocols, and the login for that host and no other."""
        kept = {"GIT_ALLOW_PROTOCOL": "http:https:ssh" if repository.scheme == "http" else "https:ssh"}
        if self.login is None:
            return kept
        parts = urllib.parse.urlsplit(repository.url)
        count = self.environment.get("GIT_CONFIG_COUNT", "")
        number = int(count) if count.isdecimal() and len(count) < 5 else 0
        return kept | {
            "GIT_CONFIG_COUNT": str(number + 1),
            f"GIT_CONFIG_KEY_{number}": f"credential.{parts.scheme}://{parts.netloc}.helper",
            f"GIT_CONFIG_VALUE_{number}": _HELPER,
            "CORTEN_GIT_USER": self.login[0],
            "CORTEN_GIT_PASSWORD": self.login[1],
        }

    def _command(self, arguments: Sequence[str], work: Path) -> list[str]:
        settings = {
            "core.hooksPath": "/dev/null",
            "core.fsmonitor": "false",
            "core.alternateRefsCommand": "",
            "core.bigFileThreshold": "16m",  # larger files go through git's memory in pieces
            "gc.auto": "0",
            "maintenance.auto": "false",
            "fetch.recurseSubmodules": "false",
            "fetch.unpackLimit": "1",
            "fetch.writeCommitGraph": "false",
            "submodule.recurse": "false",
            "transfer.bundleURI": "false",
            "credential.interactive": "false",
            "http.lowSpeedLimit": "500",
            "http.lowSpeedTime": "60",
            "advice.detachedHead": "false",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        blocks = self.largest // 512
        limited = ["/bin/sh", "-c", f'ulimit -f {blocks} && exec "$0" "$@"', "git", f"--git-dir={work}"]
        return [*limited, *options, *arguments]

    def _started(
        self, arguments: Sequence[str], work: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self._command(arguments, work),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if more is not None else subprocess.DEVNULL,
                cwd=work,
                env={**self._variables(), **(more or {})},
                start_new_session=True,
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise FetchError(f"git cannot be started: {reason}", hint="install git") from error

    def _run(self, arguments: Sequence[str], work: Path, repository: Repository) -> bytes:
        """What git prints. Raises _Failed, or FetchError where it takes too long."""
        with self._started(arguments, work, self._configured(repository)) as process:
            try:
                output, errors = self._collected(process, repository)
            finally:
                _end(process)
        said = errors.decode(errors="replace")
        if process.returncode == 127:
            raise FetchError(
                "git is not installed, and a requirement comes from a repository", hint="install git"
            )
        if process.returncode != 0:
            raise _Failed(said)
        return output

    def _collected(self, process: subprocess.Popen[bytes], repository: Repository) -> tuple[bytes, bytes]:
        """What git prints, and the end of what it complains, once it has ended. It is bounded as it comes: a small tree whose entries lead to each
        other lists as billions of files. Raises FetchError, and StoreError where the disk is full."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        deadline = time.monotonic() + self.seconds
        output, errors = bytearray(), bytearray()
        with selectors.DefaultSelector() as selector:
            for stream, said in ((process.stdout, output), (process.stderr, errors)):
                selector.register(stream, selectors.EVENT_READ, said)
            while selector.get_map():
                if self.headroom is not None:
                    self.headroom.need()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._late(repository)
                for key, _ in selector.select(min(left, 1)):
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        selector.unregister(key.fileobj)
                    key.data.extend(piece)
                    del errors[:-_MOST_SAID]
                    if len(output) > _MOST_ANSWER:
                        raise _too_many(repository)
        try:
            process.wait(max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            raise self._late(repository) from None
        return bytes(output), bytes(errors)

    def _late(self, repository: Repository) -> FetchError:
        return FetchError(
            f"git did not finish with '{repository.url}' within {self.seconds / 60:.0f} minutes",
            hint="check the network and the host",
        )


class _Failed(Exception):
    """git ended with an error; `said` is what it printed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True, slots=True)
class _File:
    mode: str
    object: str
    size: int
    path: str


def _entries(listed: bytes, repository: Repository) -> tuple[list[_File], list[str]]:
    """The files of a tree, and the paths of its submodules. Raises FetchError for what no project's source is."""
    files: list[_File] = []
    submodules: list[str] = []
    total = 0
    for line in listed.split(b"\0"):
        if not line:
            continue
        head, _, raw = line.partition(b"\t")
        mode, kind, name, size = head.decode().split()
        path = raw.decode("utf-8", "replace")
        parts = path.split("/")
        hidden = {part.lower().rstrip(". ") for part in parts} & {"", "git~1", ".git"}
        if hidden or {".", ".."} & set(parts) or not path.isprintable() or len(raw) > _LONGEST_PATH:
            raise FetchError(f"the repository '{repository.shown}' has a file with the name {path[:100]!r}")
        if len(parts) > DEEPEST:
            raise FetchError(
                f"the repository '{repository.shown}' has a file more than {DEEPEST} folders deep"
            )
        if mode == "160000":
            submodules.append(path)
            continue
        if kind == "tree":
            continue
        if not size.isdecimal():
            raise FetchError(f"the repository '{repository.shown}' is damaged")
        total += int(size)
        files.append(_File(mode, name, int(size), path))
        if len(files) > _MOST_FILES or total > _LARGEST_TREE:
            raise _too_many(repository)
    return files, submodules


def _too_many(repository: Repository) -> FetchError:
    return FetchError(
        f"the repository '{repository.shown}' has more than {_MOST_FILES:,} files or {_LARGEST_TREE >> 30} GB in a commit",
        hint="make a wheel of it, and name the wheel",
    )


def _link(inside: Inside, path: str, target: bytes, repository: Repository) -> None:
    """A symbolic link that stays in the tree. Raises FetchError for any other."""
    text = target.decode("utf-8", "replace")
    joined = os.path.normpath(os.path.join(os.path.dirname(path), text))
    if not text.isprintable() or text.startswith("/") or joined.split("/")[0] == "..":
        raise FetchError(f"'{path}' in the repository '{repository.shown}' is a link that leads out of it")
    inside.symlink(path, text)


def _explained(repository: Repository, said: str) -> FetchError:
    """What git printed, in one sentence."""
    text = said.lower()
    where = f"the repository '{repository.url}'"
    if any(
        word in text
        for word in (
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied",
            "terminal prompts disabled",
            "access denied",
        )
    ):
        return FetchError(
            f"{where} wants a login that git does not have",
            hint="set up git's credentials for the host (git credential, ~/.netrc, an ssh agent), as 'git ls-remote URL' needs them too",
        )
    if "host key verification failed" in text:
        return FetchError(
            f"the host of {where} is not known to ssh", hint="connect to it once with ssh, to accept its key"
        )
    if "could not resolve host" in text or "name or service not known" in text:
        return FetchError(f"the host of {where} has no address", hint="check the name and the network")
    if "not found" in text or "does not exist" in text or "returned error: 404" in text:
        return FetchError(
            f"there is no repository at '{repository.url}', or it wants a login", hint="correct the address"
        )
    if "died of signal 25" in text or "invalid index-pack output" in text:
        return FetchError(
            f"{where} cannot be written: it is larger than {_LARGEST_FILE >> 30} GB, or the disk is full",
            hint="make space, or make a wheel of it and name the wheel",
        )
    if "transport" in text and "not allowed" in text:
        return FetchError(f"{where} leads to a protocol that Corten does not use", hint="use https or ssh")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [
        re.sub(r"(?<=://)[^/@\s]+@", "", line)
        for line in lines
        if line.lower().startswith(("fatal:", "error:", "remote:"))
    ]
    last = (told or lines or ["git says nothing"])[-1]
    return FetchError(f"{where} cannot be fetched: {last[:300]}", hint="check it with 'git ls-remote URL'")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _feed(stream: IO[bytes], data: bytes) -> None:
    with suppress(OSError, ValueError):
        stream.write(data)
        stream.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill git and its helpers where it still runs."""
    if process.poll() is None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
