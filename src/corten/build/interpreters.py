"""The interpreter that compiles the bytecode of one platform's image: the base's own, or the same Debian package for this
machine's processor (DECISIONS 9).

It is apart from `workshop.py` because the layer of the project's code needs a compiler and nothing else: importing what unpacks
wheels and Debian packages takes longer than compiling a project.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from corten.build.bytecode import Compiler, Interpreter, interpreter_in
from corten.build.known import Known
from corten.build.plan import BaseLayer, compiler_identity
from corten.errors import BuildError
from corten.events import Note, Observer
from corten.lock.model import LAYER_FORMAT, DebianBase, ImageBase, Lock, PlatformLock
from corten.oci.config import canonical_json
from corten.oci.platform import Platform
from corten.packages.files import Deb
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

    def _say(self, text: str) -> None:
        self._observe(Note(text))

    def _own(self) -> Interpreter:
        if isinstance(self._part.base, ImageBase):
            if self._foreign is None:
                raise BuildError("the base is an image, and nobody has said where its Python is")
            return self._foreign()
        if self._base_runs_here():
            base = BaseLayer(self._part.base, compiler_identity(self._part))
            return interpreter_in(self._known.tree(base.key, base.title), self._part.base.python)
        return self._cross()

    def _base_runs_here(self) -> bool:
        return isinstance(self._part.base, DebianBase) and self._part.platform == Platform.host()

    def _cross(self) -> Interpreter:
        """The same Debian package for this machine's processor, unpacked beside the layers."""
        debs = compiler_debs(self._lock, self._part, Platform.host())
        key = _key(debs, self._part)
        found = self._store.layers.find(key)
        if found is None:
            from corten.build.make import make_compiler

            self._store.headroom.need()
            with self._store.temporary_directory("compiler") as directory:
                tree = directory / "fs"
                tree.mkdir()
                # Another user has it for its root.
                tree.chmod(0o755)
                files = self._supply.debs(debs)
                chosen = [(deb, files[deb.sha256]) for deb in debs]
                make_compiler(chosen, tree, self._part.python, self._store.headroom.spend)
                found = self._store.layers.commit(directory, key).diff_id
        return interpreter_in(self._store.layers.tree(found), self._part.base.python)


def compiler_debs(lock: Lock, part: PlatformLock, host: Platform) -> tuple[Deb, ...]:
    """The Debian packages of the Python that compiles for `part` on a machine of `host`, which is another platform. Raises
    BuildError where the lock has none."""
    if debs := lock.compilers.get(host.architecture):
        return debs
    for other in lock.platforms:
        same = compiler_identity(other) == compiler_identity(part)
        if same and other.platform == host and isinstance(other.base, DebianBase):
            return other.base.debs
    raise BuildError(
        f"the lock has no Python {part.base.python} for {host}, with which bytecode is compiled here",
        hint=f"run 'corten lock' on this machine, or add \"{host}\" to `platforms`",
    )


def _key(debs: tuple[Deb, ...], part: PlatformLock) -> str:
    inputs: dict[str, object] = {
        "layer-format": LAYER_FORMAT,
        "kind": "compiler",
        "debs": [deb.sha256 for deb in debs],
    }
    if part.unauthenticated:
        inputs["unauthenticated"] = part.unauthenticated
    return canonical_json(inputs).decode()
