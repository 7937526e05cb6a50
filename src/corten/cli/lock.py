"""`corten lock`: what exactly goes into a project's image, written down."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from corten.cli.building_notes import tell_implied
from corten.cli.context import Context
from corten.cli.finding import add_accepted
from corten.cli.terminal import size_text
from corten.cli.trusting import add_trust, remember_trust
from corten.errors import LockOutdated, ProjectError, UsageError
from corten.events import Note
from corten.lock.format import LOCK_NAME, read_lock, write_lock
from corten.lock.inputs import inputs_digest, open_imports
from corten.lock.model import Lock
from corten.project.load import load
from corten.project.model import Project

EXAMPLES = """\
examples:
  corten lock                                lock the project in this folder
  corten lock --upgrade                      everything as new as the project allows
  corten lock --upgrade-package numpy        numpy alone, and what it needs
  corten lock --as-of 2023-06-30             nothing that was uploaded after that day; 'commit': the last commit's
  corten lock --check                        in CI: fail if corten.lock is missing or stale
  corten lock --trust-index pypi.corp        with your credentials for it, though the project alone names it
  corten lock --download ./bundle            with all files, to build where there is no network"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "path", nargs="?", type=Path, default=Path(), help="the project's folder (default: this one)"
    )
    parser.add_argument(
        "--upgrade", "-U", action="store_true", help="let every package move to its newest version"
    )
    parser.add_argument(
        "--upgrade-package", "-P", action="append", default=[], metavar="NAME", help="let one package move"
    )
    parser.add_argument(
        "--as-of",
        metavar="DAY",
        help="take the versions of this day (2023-06-30), of the last commit's day ('commit') or of the saved model's time ('model'); later "
        "locks keep the day, until 'now' removes it",
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if the lock is missing or stale"
    )
    parser.add_argument(
        "--download", type=Path, metavar="DIR", help="put every file that the lock names into DIR"
    )
    add_accepted(parser)
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print what changed as one JSON document")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Bring the lock up to date, say what changed, and fetch the files when asked to."""
    remember_trust(arguments)
    project = load(arguments.path)
    for note in project.notes:
        context.observe(Note(note, verbose=True))
    if arguments.download is not None:
        _check_folder(project, arguments.download)
    if arguments.check:
        if arguments.upgrade or arguments.upgrade_package or arguments.as_of:
            what = "take versions of a day" if arguments.as_of else "upgrade"
            raise UsageError(f"--check changes nothing, so it cannot {what}", hint="leave out one of them")
        lock = _checked(project)
        if not arguments.json:
            context.terminal.say(f"{LOCK_NAME} is up to date")
    else:
        lock = _locked(project, arguments, context)
    if arguments.download is not None:
        _download(project, lock, arguments.download, context)
    return 0


def _checked(project: Project) -> Lock:
    lock = read_lock(project.root / LOCK_NAME)
    if lock.project != inputs_digest(project):
        raise LockOutdated(
            f"{LOCK_NAME} does not belong to the project's dependencies any more", hint="run 'corten lock'"
        )
    for platform in sorted({*project.platforms} - {*lock.left_out}):
        for item in open_imports(project, lock.for_platform(platform)):
            raise LockOutdated(
                f"{LOCK_NAME} has no '{item.requirement}', which '{item.where}' imports",
                hint="run 'corten lock'",
            )
    return lock


def _locked(project: Project, arguments: argparse.Namespace, context: Context) -> Lock:
    from corten.build.base_image import BaseImages
    from corten.cli.building import registries, source_builders
    from corten.lock.diff import changes, summary
    from corten.lock.resolve import lock_project

    path = project.root / LOCK_NAME
    try:
        previous = read_lock(path) if path.exists() else None
    except LockOutdated:  # of an older layer format: there is nothing in it to hold on to
        previous = None
    tell_implied(project, context.observe)
    with context.store.lock("store", shared=True):
        lock = lock_project(
            project,
            context.store,
            previous=previous,
            upgrade=arguments.upgrade,
            upgrade_packages=arguments.upgrade_package,
            observe=context.observe,
            images=BaseImages(context.store, context.observe, registries(observe=context.observe)),
            accepted=context.accepted,
            sources=source_builders(project, context.store, context.observe, context.accepted),
            as_of=arguments.as_of,
        )
    written = write_lock(path, lock)
    found = changes(previous, lock)
    if arguments.json:
        import json

        from corten.values import asdict

        document = {"lock": str(path), "written": written, "changes": [asdict(change) for change in found]}
        context.terminal.print(json.dumps(document, indent=2))
    else:
        if previous is not None:  # of a first lock everything is new, and the file says it all
            for change in found:
                context.terminal.say(f"  {change}")
        context.terminal.say(f"{LOCK_NAME}: {summary(found)}" + ("" if written else " (not written again)"))
    return lock


def _download(project: Project, lock: Lock, directory: Path, context: Context) -> None:
    from corten.lock.bundle import download
    from corten.lock.wanted import fetching_indexes
    from corten.packages.debian.archive import DebianArchive

    store = context.store
    mirrors = DebianArchive(store, accepted=context.accepted).mirrors
    indexes = fetching_indexes(project)
    if any(part.sdists for part in lock.platforms):
        from corten.cli.building import rebuild_absent

        rebuild_absent(project, lock, store, context.observe, context.accepted)
    bundle = download(lock, directory, store, indexes, mirrors, context.observe, context.accepted)
    size, base = bundle.size, ", the Python" if bundle.pythons else ""
    if not project.base.startswith(("debian:", "oci:")):
        from corten.cli.building import registries
        from corten.lock.bundled_base import download_base

        size += download_base(
            lock, project.base, directory, registries(observe=context.observe)(), context.observe
        )
        base += ", the base image"
    context.terminal.say(
        f"'{directory}' has {bundle.wheels} wheels and {bundle.debs} Debian packages{base}, {size_text(size)}; "
        f"build from it with 'corten build --offline {directory}'"
    )


def _check_folder(project: Project, directory: Path) -> None:
    """Raises ProjectError for a folder in the project that leads out of it by links: they come with the project."""
    place = Path(os.path.abspath(directory))
    inside = place.is_relative_to(os.path.abspath(project.root))
    if inside and not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(project.root)):
        raise ProjectError(
            f"'{directory}' leads out of the project by a link",
            hint="name the folder itself, where the files should lie",
        )
