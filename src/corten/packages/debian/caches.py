"""Caches that programs make of the files of other packages: of fonts, icons, schemas, loaders, kinds of files. Pure.

Debian's packages make them in their scripts, and again when another package brings such a file. An image gets them by the same
programs, from its own files (`corten.build.configuring`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from corten.values import dataclass

_LIB = r"usr/lib/(?:[a-z0-9_]+-linux-gnu/)?"


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache made by a program that matches `tool` of files that match `files`. `command` has its arguments, `{dir}` for the folder that is the
    first group of `files`, and `{files}` for all of them in order. `output` is the file for what the program prints."""

    tool: re.Pattern[str]
    files: re.Pattern[str]
    command: tuple[str, ...]
    output: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A program to be run, with the file that takes what it prints."""

    command: tuple[str, ...]
    output: str = ""


CACHES = (
    Cache(
        re.compile(_LIB + "glib-2.0/glib-compile-schemas"),
        re.compile(r"(usr/share/glib-2\.0/schemas)/[^/]+\.(?:xml|override)"),
        ("/{dir}",),
    ),
    Cache(
        re.compile(_LIB + "glib-2.0/gio-querymodules"),
        re.compile(f"({_LIB}gio/modules)/[^/]+\\.so"),
        ("/{dir}",),
    ),
    Cache(
        re.compile(_LIB + "gdk-pixbuf-2.0/gdk-pixbuf-query-loaders"),
        re.compile(f"({_LIB}gdk-pixbuf-2\\.0/2\\.10\\.0)/loaders/[^/]+\\.so"),
        ("{files}",),
        "{dir}/loaders.cache",
    ),
    Cache(
        re.compile(_LIB + "libgtk-3-0(?:t64)?/gtk-query-immodules-3.0"),
        re.compile(f"({_LIB}gtk-3\\.0/3\\.0\\.0)/immodules/[^/]+\\.so"),
        ("{files}",),
        "{dir}/immodules.cache",
    ),
    Cache(
        re.compile("usr/bin/update-mime-database(?:\\.real)?"),
        re.compile(r"(usr/share/mime)/packages/[^/]+\.xml"),
        ("/{dir}",),
    ),
    Cache(
        re.compile("usr/bin/update-desktop-database"),
        re.compile(r"(usr/share/applications)/[^/]+\.desktop"),
        ("-q", "/{dir}"),
    ),
    Cache(
        re.compile("usr/bin/gtk-update-icon-cache(?:-3\\.0)?"),
        re.compile(r"(usr/share/icons/[^/]+)/index\.theme"),
        ("--force", "--quiet", "/{dir}"),
    ),
    Cache(
        re.compile("usr/bin/fc-cache"),
        re.compile(
            r"()(?:usr/share/fonts|usr/share/ghostscript/fonts)/.+\.(?:ttf|otf|ttc|pf[ab]|t1|pcf|pcf\.gz)"
        ),
        ("-s", "-f"),
    ),
)


def steps(paths: Iterable[str], exists: Callable[[str], bool] = lambda path: True) -> list[Step]:
    """The programs that make the caches of the files `paths`, which are relative, where they are among those themselves. What does not
    `exists` any more is left out."""
    ordered = sorted(set(paths))
    found: list[Step] = []
    for cache in CACHES:
        tool = next((path for path in ordered if cache.tool.fullmatch(path) and exists(path)), None)
        if tool is None:
            continue
        folders: dict[str, list[str]] = {}
        for path in ordered:
            match = cache.files.fullmatch(path)
            if match is not None and exists(path):
                folders.setdefault(match[1], []).append(f"/{path}")
        for folder, files in folders.items():
            words: list[str] = []
            for word in cache.command:
                words += files if word == "{files}" else [word.replace("{dir}", folder)]
            found.append(Step((f"/{tool}", *words), cache.output.replace("{dir}", folder)))
    return found
