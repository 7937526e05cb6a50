"""`corten save`: images as an OCI layout in a folder, or as one tar stream that docker, podman and skopeo take."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from corten.cli.context import Context
from corten.cli.finding import with_layers
from corten.errors import CortenError, ImageNotFound, UsageError
from corten.oci.platform import Platform

if TYPE_CHECKING:
    from corten.store.images import Image

EXAMPLES = """\
examples:
  corten save iris | docker load
  corten save iris -o iris.tar
  corten save iris ./iris-layout
  corten save iris flowers:2.0 -o both.tar --compression zstd"""

WORDS_ANYWHERE = True

_PACKED_ENDINGS = (".gz", ".tgz", ".zst", ".xz", ".bz2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="names, IDs or digests; a PATH may follow a single one"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="a file if it ends with .tar, '-' for standard output, else a folder",
    )
    parser.add_argument(
        "--format",
        choices=["oci", "docker"],
        default="oci",
        help="oci, which docker load takes too, or docker's own",
    )
    parser.add_argument(
        "--compression", choices=["raw", "gzip", "zstd"], default="raw", help="of the layers, in OCI's format"
    )
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="P",
        help="only this platform (default: all that there are)",
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Write the images."""
    names, output = _split(arguments.images, arguments.output, context)
    if arguments.format == "docker" and arguments.compression != "raw":
        raise UsageError(
            "docker's format has no compressed layers", hint="leave out --compression, or --format"
        )
    platforms = [Platform.parse(text) for text in arguments.platform]
    images = [image for name in names for image in _chosen(context, name, platforms)]
    target = None if output in (None, "-") else Path(str(output))
    folder = target is not None and _is_folder(target)
    if folder and arguments.format == "docker":
        raise UsageError("docker's format is a tar file", hint=f"write '-o {target}.tar'")
    if target is None and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError(
            "an archive is not for a terminal",
            hint=f"write '-o {_stem(names[0])}.tar', or pipe it into 'docker load'",
        )
    with context.store.lock("store", shared=True):
        for image in images:
            with_layers(image, context)
        if folder and target is not None:
            _save_folder(arguments, context, images, target)
        else:
            _save_stream(arguments, context, images, target)
    return 0


def _split(words: Sequence[str], output: str | None, context: Context) -> tuple[list[str], str | None]:
    """The images and the path: without -o, the second of two words is a path unless it is an image."""
    if output is not None or len(words) != 2:
        return list(words), output
    try:
        context.store.images.platforms(words[1])
    except (ImageNotFound, UsageError):
        return [words[0]], words[1]
    return list(words), None


def _chosen(context: Context, name: str, platforms: Sequence[Platform]) -> list[Image]:
    found = context.store.images.platforms(name)
    if not platforms:
        return list(found.values())
    for platform in platforms:
        if platform not in found:
            raise ImageNotFound(
                f"the image '{name}' is not there for {platform}",
                hint=f"it is there for {', '.join(map(str, found))}",
            )
    return [found[platform] for platform in dict.fromkeys(platforms)]


def _is_folder(target: Path) -> bool:
    """Whether to write a folder. Raises UsageError for names that promise a compressed archive."""
    if _is_stream(target):
        return False
    name = target.name.lower()
    if name.endswith(_PACKED_ENDINGS) and not target.is_dir():
        raise UsageError(
            f"'{target}' would be an archive that is compressed as a whole",
            hint="write '-o FILE.tar --compression zstd', which compresses the layers, or pipe through gzip",
        )
    return not name.endswith(".tar") or target.is_dir()


def _is_stream(target: Path) -> bool:
    """Whether `target` is a pipe or a device, or /dev/stdout and the like, which may lead to a file that is open."""
    return target.parts[:2] == ("/", "dev") or (
        target.exists() and not target.is_dir() and not target.is_file()
    )


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0] or "image"


def _save_folder(
    arguments: argparse.Namespace, context: Context, images: Sequence[Image], target: Path
) -> None:
    from corten.store.export import save_layout

    references = save_layout(context.store, images, target, context.observe, arguments.compression)
    for reference in references:
        context.terminal.print(f"{target}:{reference}")


def _save_stream(
    arguments: argparse.Namespace, context: Context, images: Sequence[Image], target: Path | None
) -> None:
    from corten.store.export import save_archive

    with _opened(target) as out:
        save_archive(
            context.store,
            images,
            out,
            context.observe,
            compression=arguments.compression,
            docker=arguments.format == "docker",
        )
    if target is not None:
        context.terminal.say(
            f"saved {', '.join(dict.fromkeys(image.name for image in images))} to '{target}'"
        )


@contextmanager
def _opened(target: Path | None) -> Iterator[BinaryIO]:
    """Where the archive goes. A file appears, or is replaced, when it is whole."""
    from corten.store.disk import explained

    if target is None:
        if sys.stdout is None:
            raise UsageError("standard output is closed", hint="write '-o FILE.tar'")
        try:
            yield sys.stdout.buffer
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CortenError(
                f"standard output: {(error.strerror or 'cannot be written').lower()}"
            ) from error
        return
    with explained(target, what=""):
        if _is_stream(target):
            with open(target, "wb", buffering=0) as out:
                yield out
            return
        place = Path(os.path.realpath(target))
        temporary = place.with_name(f".{place.name}.{os.urandom(4).hex()}.tmp")
        try:
            with open(temporary, "xb", buffering=1 << 20) as out:
                yield out
            os.rename(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
