"""The command that serves an application on `$PORT`, and the server that is added where none is among the dependencies."""

from __future__ import annotations

from collections.abc import Collection

from corten.project.recognize.frameworks import Interface
from corten.values import dataclass

ANY = "0.0.0.0"  # noqa: S104 -- the container's own interfaces: what leaves it is decided outside
GUNICORN = ("gunicorn", "--bind", f"{ANY}:$PORT")
PATIENT = ("--threads", "8", "--timeout", "0")
"""gunicorn's own default kills a worker that imports or answers for longer than 30 s, and serves one connection at a time."""
SERVERS: dict[Interface, dict[str, tuple[str, ...]]] = {
    "wsgi": {
        "gunicorn": GUNICORN,
        "waitress": ("waitress-serve", "--host", ANY, "--port", "$PORT"),
        "hypercorn": ("hypercorn", "--bind", f"{ANY}:$PORT"),
        "granian": ("granian", "--interface", "wsgi", "--host", ANY, "--port", "$PORT"),
    },
    "asgi": {
        "uvicorn": ("uvicorn", "--host", ANY, "--port", "$PORT"),
        "hypercorn": ("hypercorn", "--bind", f"{ANY}:$PORT"),
        "granian": ("granian", "--interface", "asgi", "--host", ANY, "--port", "$PORT"),
        "daphne": ("daphne", "--bind", ANY, "--port", "$PORT"),
    },
    "aiohttp": {"gunicorn": (*GUNICORN, "--worker-class", "aiohttp.GunicornWebWorker")},
    "sanic": {"sanic": ("sanic", "--host", ANY, "--port", "$PORT")},
}
"""Commands by interface and server, in the order in which they are taken when several are among the dependencies. The first is the
one that is added where none is."""

_BUNDLED = {"fastapi[standard]": "uvicorn", "fastapi[all]": "uvicorn", "uvicorn[standard]": "uvicorn"}
_WITH_FACTORIES = {"waitress": "--call", "uvicorn": "--factory", "granian": "--factory", "sanic": "--factory"}
_WITH_ATTRIBUTES = ("waitress", "uvicorn", "hypercorn")


@dataclass(frozen=True, slots=True)
class Served:
    """`argv` serves it; `requires` are requirements that have to be added for it, and `reason` says why."""

    argv: tuple[str, ...]
    requires: tuple[str, ...] = ()
    reason: str = ""


def serve(
    interface: Interface,
    target: str,
    packages: Collection[str],
    *,
    factory: bool = False,
    coroutine: bool = False,
    configured: bool = False,
) -> Served:
    """How `target` (`module:variable`, or `module:function` for a factory) is served. `packages` are the names of the dependencies
    as PEP 503 has them, extras as `name[extra]`. `coroutine`: the factory is one of asyncio. `configured`: the project has a configuration of gunicorn's."""
    present = {*packages, *(_BUNDLED[name] for name in packages if name in _BUNDLED)}
    usable = [name for name in SERVERS[interface] if _can(name, target, factory)]
    server = next((name for name in usable if name in present), "")
    argv = list(SERVERS[interface][server or usable[0]])
    name = server or usable[0]
    if name == "gunicorn" and not configured and interface == "wsgi":
        argv += PATIENT
    shown = target
    if factory:
        if name == "gunicorn":
            shown = target if coroutine else f"{target}()"
        else:
            argv.append(_WITH_FACTORIES[name])
    if name == "hypercorn" and interface == "wsgi":
        shown = f"wsgi:{target}"
    argv.append(shown)
    if server:
        return Served(tuple(argv))
    words = {"wsgi": "WSGI server", "asgi": "ASGI server"}.get(interface, "server")
    return Served(tuple(argv), (name,), f"no {words} is among the dependencies")


def _can(server: str, target: str, factory: bool) -> bool:
    if factory:
        return server == "gunicorn" or server in _WITH_FACTORIES
    return "." not in target.partition(":")[2] or server in _WITH_ATTRIBUTES
