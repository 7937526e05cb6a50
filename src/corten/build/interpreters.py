"""The interpreter that compiles the bytecode of one platform's image: the base's own, or the same Debian package for this
machine's processor (DECISIONS 9).

It is apart from `workshop.py` because the layer of the project's code needs a compiler and nothing else: importing what unpacks
wheels and Debian packages takes longer than compiling a project.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from corten.build.bytecode import Compiler, Interpreter, interpreter_in, standalone_in
from corten.build.known import Known
from corten.build.plan import BaseLayer, PythonLayer, base_layer, compiler_identity
from corten.errors import BuildError
from corten.events import Note, Observer
from corten.lock.model import LAYER_FORMAT, DebianBase, ImageBase, Lock, PlatformLock
from corten.oci.config import canonical_json
from corten.oci.platform import Platform
from corten.packages.files import Deb, PythonArchive
from corten.store.store import Store

if TYPE_CHECKING:
    from corten.build.make import Supply


class Interpreters:
    """Finds the interpreter for `part` of `lock`. `foreign` finds the Python of a base that is an image; `supply` has the
    Debian packages of an interpreter for this machine's processor."""

    def __init__(
        self,
        store: Store,
        known: Known,
        lock: Lock,
        part: PlatformLock,
        supply: Supply,
        observe: Observer,
        foreign: Callable[[], Interpreter] | None = None,
    ) -> None:
        self._store, self._known, self._lock, self._part = store, known, lock, part
        self._supply, self._observe, self._foreign = supply, observe, foreign

    def compiler(self, jobs: int) -> Compiler:
        """Compile servers, at most `jobs` of them, for layers above the base. Raises BuildError, FetchError, FormatError,
        StoreError."""
        return Compiler(self._own(), jobs, say=self._say, spend=self._store.headroom.spend)

    def base_compiler(self, jobs: int, base: Callable[[], Interpreter]) -> Compiler:
        """Compile servers for the base itself, whose own interpreter is `base()`. Raises as `compiler`."""
        interpreter = base() if self._base_runs_here() else self._cross()
        return Compiler(interpreter, jobs, own=True, say=self._say, spend=self._store.headroom.spend)

    def python_compiler(self, jobs: int, own: Callable[[], Interpreter]) -> Compiler:
        """Compile servers for the library of a Python that is not Debian's, which is `own()` where it runs here. Raises as `compiler`."""
        interpreter = own() if self._base_runs_here() else self._cross()
        return Compiler(interpreter, jobs, say=self._say, spend=self._store.headroom.spend)

    def _say(self, text: str) -> None:
        self._observe(Note(text))

    def _own(self) -> Interpreter:
        if isinstance(self._part.base, ImageBase):
            if self._foreign is None:
                raise BuildError("the base is an image, and nobody has said where its Python is")
            return self._foreign()
        if self._base_runs_here():
            base = base_layer(self._part)
            if (archive := self._archive) is not None:
                return standalone_in(self._merged(base, archive), archive)
            return interpreter_in(self._known.tree(base.key, base.title), self._part.base.python)
        return self._cross()

    @property
    def _archive(self) -> PythonArchive | None:
        base = self._part.base
        return base.interpreter if isinstance(base, DebianBase) else None

    def _merged(self, base: BaseLayer, archive: PythonArchive) -> Path:
        """The base and the Python above it as one tree."""
        from corten.store.merged import read_only_tree

        layers = (base, PythonLayer(archive, base, compiler_identity(self._part)))
        self._known.fetch([layer.key for layer in layers])
        found = [self._known.find(layer.key) for layer in layers]
        if None in found:
            raise BuildError(f"the layer '{layers[1].title}' vanished while it was used", hint="build again")
        return read_only_tree(self._store, [digest for digest in found if digest is not None])

    def _base_runs_here(self) -> bool:
        return isinstance(self._part.base, DebianBase) and self._part.platform == Platform.host()

    def _cross(self) -> Interpreter:
        """The same Debian package for this machine's processor, unpacked beside the layers."""
        host = Platform.host()
        debs = compiler_debs(self._lock, self._part, host)
        archive = None
        if self._archive is not None:
            archive = self._lock.archive_on(host.architecture, self._part.base.python)
            if archive is None or archive.threaded != self._archive.threaded:
                raise _no_compiler(self._part, host)
        key = _key(debs, self._part, archive)
        found = self._store.layers.find(key)
        if found is None:
            from corten.build.make import make_compiler
            from corten.build.standalone import place_python

            self._store.headroom.need()
            with self._store.temporary_directory("compiler") as directory:
                tree = directory / "fs"
                tree.mkdir()
                # Another user has it for its root.
                tree.chmod(0o755)
                files = self._supply.debs(debs)
                chosen = [(deb, files[deb.sha256]) for deb in debs]
                own = self._part.debian.base.python
                minor = ".".join(own.split(".")[:2])
                make_compiler(chosen, tree, minor, self._store.headroom.spend)
                if archive is not None:
                    file = self._supply.pythons([archive])[archive.sha256]
                    place_python(file, archive, tree, self._store.headroom.spend, self._store.unpacking.wheel)
                found = self._store.layers.commit(directory, key).diff_id
        tree = self._store.layers.tree(found)
        return standalone_in(tree, archive) if archive else interpreter_in(tree, self._part.base.python)


def compiler_debs(lock: Lock, part: PlatformLock, host: Platform) -> tuple[Deb, ...]:
    """The Debian packages of the Python that compiles for `part` on a machine of `host`, which is another platform. Raises
    BuildError where the lock has none."""
    if debs := lock.compilers.get(host.architecture):
        return debs
    for other in lock.platforms:
        same = compiler_identity(other.debian) == compiler_identity(part.debian)
        if same and other.platform == host and isinstance(other.base, DebianBase):
            return other.base.debs
    raise _no_compiler(part, host)


def _no_compiler(part: PlatformLock, host: Platform) -> BuildError:
    return BuildError(
        f"the lock has no Python {part.base.python} for {host}, with which bytecode is compiled here",
        hint=f"run 'corten lock' on this machine, or add \"{host}\" to `platforms`",
    )


def _key(debs: tuple[Deb, ...], part: PlatformLock, archive: PythonArchive | None = None) -> str:
    inputs: dict[str, object] = {
        "layer-format": LAYER_FORMAT,
        "kind": "compiler",
        "debs": [deb.sha256 for deb in debs],
    }
    if archive is not None:
        inputs["python"] = archive.sha256
    if part.unauthenticated:
        inputs["unauthenticated"] = part.unauthenticated
    return canonical_json(inputs).decode()
