"""What a package's maintainer scripts would do when it is installed, and whether an image works without running them. Pure.

A command of a script is one of three: Corten does it itself (alternatives and copies with literal arguments, folders, the linker's
cache, bytecode), it is harmless to leave out (services, questions with a default answer, menus), or it is not understood.
Packages with commands that are not understood have to be configured by their own scripts (`corten.build.configuring`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Literal

from corten.lazy import regex
from corten.packages.debian import caches
from corten.packages.debian.deb import Control
from corten.packages.debian.shell import LARGEST, Command, Unreadable, commands
from corten.values import dataclass

_SECTION = regex(
    r"^# Automatically added by (dh_\w+)(?!\w)\S*\n((?:(?!^# Automatically added by ).)*?)^# End automatically added section$",
    re.MULTILINE | re.DOTALL,
)
_HARMLESS_SECTIONS = frozenset(
    {
        "dh_icons",
        "dh_installdeb",
        "dh_installdebconf",
        "dh_installinit",
        "dh_installmenu",
        "dh_installmime",
        "dh_installsystemd",
        "dh_installsystemduser",
        "dh_installxfonts",
        "dh_makeshlibs",
        "dh_pysupport",
        "dh_python3",
        "dh_systemd_enable",
        "dh_systemd_start",
    }
)
"""What debhelper adds to scripts that an image does not need: services, files of older versions, bytecode, the linker's cache. Caches
of icons are made by `corten.build.caches`."""

# fontconfig-config: see `actions`.
_OWN = frozenset(
    {
        "base-files",
        "base-passwd",
        "bash",
        "ca-certificates",
        "dash",
        "debianutils",
        "fontconfig-config",
        "gawk",
        "libc-bin",
        "libc6",
        "libsensors5",
        "mawk",
        "netbase",
        "python3",
        "python3-minimal",
        "python3.11",
        "python3.11-minimal",
        "python3.13",
        "python3.13-minimal",
        "readline-common",
        "sgml-base",
        "tzdata",
        "xml-core",
    }
)
"""Packages of whose scripts Corten does what an image needs, in `debian_configuration` and with its compiler."""

CACHED = regex(
    r"desktop-file-utils|fontconfig|gtk-update-icon-cache|hicolor-icon-theme|libgdk-pixbuf-?2\.0-0(?:t64)?"
    r"|libglib2\.0-0(?:t64)?|libgtk-3-0(?:t64)?|shared-mime-info"
)
"""Packages whose scripts only make a cache, which their own tools make (`corten.build.caches`)."""

_LEFT_OUT = (
    ". : [ [[ basename break cat cd cmp command continue cut deb-systemd-helper deb-systemd-invoke "
    "diff dirname dpkg dpkg-maintscript-helper dpkg-query dpkg-trigger echo egrep exec exit export expr false fgrep getent "
    "grep head id install-docs install-info invoke-rc.d ischroot ldconfig local md5sum mountpoint pidof printf py3clean "
    "py3compile pycompile pypy3compile read readlink return rmdir service set shift sort start-stop-daemon stat systemctl tail "
    "test tr trap true type ucfr umask uname uniq unset update-initramfs update-menus update-mime update-rc.d wc "
    "which"
)
_HARMLESS = frozenset(_LEFT_OUT.split())
_CALL = regex(r"update-alternatives((?:\\\n|[^\n;&|()`])*)")
_DPKG = (
    "--compare-versions",
    "--print-architecture",
    "--list",
    "--status",
    "-L",
    "-l",
    "-s",
    "--validate-version",
)
_LITERAL = regex(r"[A-Za-z0-9_/.+@:=,~-]+")
_SHOWN = regex(r"[^A-Za-z0-9_./+:@=$ -]")


@dataclass(frozen=True, slots=True)
class Unclear:
    """A command in the scripts of a package that is not understood."""

    package: str
    command: str

    def __str__(self) -> str:
        return f"{self.package} ({self.command})"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a script does and Corten does for it: make the directory `path`; the file `path` where there is none, as a copy of
    `source` or empty; the symbolic link `path` to `source`."""

    kind: Literal["directory", "file", "link"]
    path: str
    source: str = ""


# What fontconfig-config makes with the default answers to its questions.
_FONTS = tuple(
    Action("link", f"etc/fonts/conf.d/{name}", f"/usr/share/fontconfig/conf.avail/{name}")
    for name in ("10-hinting-slight.conf", "70-no-bitmaps.conf")
)

# Alternatives that a script puts together in a way of its own.
_GIVEN = {
    "xz-utils": (
        "update-alternatives --install /usr/bin/lzma lzma /usr/bin/xz 20 --slave /usr/bin/unlzma unlzma /usr/bin/unxz "
        + " ".join(
            f"--slave /usr/bin/lz{util} lz{util} /usr/bin/xz{util}"
            for util in ("cat", "more", "less", "diff", "cmp", "grep", "egrep", "fgrep")
        ),
    )
}

Mode = Literal["none", "files", "caches", "scripts"]
"""What it takes to configure packages: nothing; files that Corten writes itself; programs that make caches; the scripts themselves. Each has
the ones before it."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the packages of an image need beyond being unpacked, and the commands for which that is so."""

    mode: Mode = "none"
    unclear: tuple[Unclear, ...] = ()


def needs(controls: Iterable[Control]) -> Needs:
    """What it takes to configure packages with these control files together."""
    controls = list(controls)
    found = tuple(item for control in controls if (item := unclear(control)) is not None)
    if found:
        return Needs("scripts", found)
    if caches.steps(path for control in controls for path in control.md5sums):
        return Needs("caches")
    own = any(actions(control) for control in controls) or any(map(_looped, controls))
    return Needs("files" if own else "none")


def _looped(control: Control) -> bool:
    """Whether the scripts install alternatives in a loop: those with plain arguments come with the unpacked packages."""
    text = control.scripts.get("postinst", "")
    return "$" in "".join(_CALL.findall(text)) and bool(alternatives(control))


def unclear(control: Control) -> Unclear | None:
    """The first command of the package's scripts that is not understood."""
    if control.name in _OWN or control.name in _GIVEN or CACHED.fullmatch(control.name):
        return None
    try:
        for script, command in _commands(control):
            if not _understood(command) and not (script == "preinst" and _removes(command)):
                name = f"a write to {command.writes[0]}" if command.writes else command.words[0]
                return Unclear(control.name, _shown(name))
    except Unreadable as error:
        return Unclear(control.name, _shown(str(error)))
    return None


def actions(control: Control) -> list[Action]:
    """What Corten does in place of the package's scripts, in their order."""
    if control.name == "fontconfig-config":
        return list(_FONTS)
    if control.name in _OWN or CACHED.fullmatch(control.name):
        return []
    found = []
    try:
        for _, command in _commands(control):
            found += _actions(command) or []
    except Unreadable:
        return []
    return found


def alternatives(control: Control) -> list[str]:
    """The alternatives that the scripts install with literal arguments, each as one line; also those in loops over words."""
    if control.name in _GIVEN:
        return list(_GIVEN[control.name])
    try:
        found = [command for _, command in _commands(control)]
    except Unreadable:
        return []
    return [
        str(command)
        for command in found
        if command.words[:1] == ("update-alternatives",)
        and "--install" in command.words
        and "$" not in str(command)
    ]


def _removes(command: Command) -> bool:
    """Whether a command removes files. Before a package is there the first time, those of older versions are not either."""
    return not command.writes and command.words[0] in ("rm", "rmdir")


def _commands(control: Control) -> Iterator[tuple[str, Command]]:
    for name, action in (("preinst", "install"), ("postinst", "configure")):
        text = control.scripts.get(name, "")
        if not text:
            continue
        if text.startswith("\x7fELF") or not re.match(r"#! ?/(?:usr/)?bin/(?:env )?(?:da|ba)?sh\b", text):
            raise Unreadable(text.partition("\n")[0][2:].strip() or "a program")
        if len(text) > LARGEST:
            raise Unreadable("a script of more than a mebibyte")
        text = _SECTION.sub(lambda match: "" if match[1] in _HARMLESS_SECTIONS else match[2], text)
        for command in commands(text, action):
            yield name, command


def _understood(command: Command) -> bool:
    words = command.words
    if command.writes:
        return False
    name = words[0].strip("\"'").rpartition("/")[2]
    if name == "dpkg":
        return len(words) > 1 and words[1] in _DPKG
    if name == "dpkg-statoverride":
        return "--list" in words
    if name == "update-alternatives":
        if "--install" in words:
            return "$" not in str(command)
        return any(
            word in words for word in ("--remove", "--remove-all", "--auto", "--list", "--query", "--display")
        )
    if name in ("setcap", "getcap") or (name == "chmod" and words[1:2] == ("u+s",)):
        return True  # no file of an image gives rights
    if name == "rm":
        return words[1:2] == ("-f",) and all(word.startswith("/etc/alternatives/") for word in words[2:])
    if name == "cat" or name == "exec":
        return len(words) < 2 or words[1].startswith("$") is False
    return name in _HARMLESS or name.startswith("db_") or _actions(command) is not None


def _actions(command: Command) -> list[Action] | None:
    """What a command means for a file tree; None for one that is not known, or has no literal arguments."""
    if command.writes or not command.words:
        return None
    name, *rest = command.words
    try:
        rest = [shlex.split(word)[0] for word in rest if word != "||"]
    except (ValueError, IndexError):
        return None
    if not all(_LITERAL.fullmatch(word) for word in rest):
        return None
    options = [word for word in rest if word.startswith("-")]
    paths = [word for word in rest if not word.startswith("-")]
    if not paths or not all(path.startswith("/") and ".." not in path.split("/") for path in paths):
        return None
    if name == "mkdir" and set(options) <= {"-p", "--parents"}:
        return [Action("directory", path.strip("/")) for path in paths]
    if name == "install" and options == ["-d"]:
        return [Action("directory", path.strip("/")) for path in paths]
    if name == "touch" and not options:
        return [Action("file", path.strip("/")) for path in paths]
    if name == "ucf" and len(paths) == 2 and set(options) <= {"--three-way", "--debconf-ok"}:
        return [Action("file", paths[1].strip("/"), paths[0].strip("/"))]
    return None


def _shown(text: str) -> str:
    return " ".join(_SHOWN.sub("", text).split())[:60].strip() or "a command"
