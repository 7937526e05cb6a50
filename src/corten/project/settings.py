"""`[tool.corten]` as it is written: every key with its kind and its description, read strictly.

This is the one place where a key is declared. Messages, the JSON schema (`corten.project.schema`) and the reference in
docs/configuration.md (`corten.project.reference`) follow from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corten.errors import ProjectError
from corten.oci.platform import Platform
from corten.project import kinds
from corten.project.kinds import TABLE, Kind
from corten.project.model import Network
from corten.values import dataclass, field, fields

if TYPE_CHECKING:
    from dataclasses import Field

_BASE = kinds.text(
    "a base such as 'debian:bookworm'",
    rf"{kinds.DEBIAN_BASE}|{kinds.LAYOUT_BASE}|{kinds.REGISTRY_BASE}",
    hint="use debian:bookworm, debian:trixie (each also with -minimal), oci:PATH[:TAG], "
    "registry/name:tag or registry/name@sha256:…",
)


def _key(kind: Kind, description: str, *, example: str, default: str = "", initial: Any = None) -> Any:
    """A key of the table. `default` says in words what happens without it; `example` is TOML after the '='."""
    metadata = {"kind": kind, "description": description, "example": example, "default": default}
    if isinstance(initial, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=initial, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the project wrote, and None or empty for what it did not write."""

    name: str | None = _key(
        kinds.text(
            "a name such as 'iris'",
            kinds.NAME,
            hint="a name has small letters and digits, with single '.', '_' or '-' between them",
        ),
        "The image's name.",
        example='"iris"',
        default="the project's name, else the folder's, in small letters",
    )
    python: str | None = _key(
        kinds.text(
            "a version such as '3.11', '3.12.4' or '3.13t'",
            kinds.PYTHON,
            hint="the lock pins the exact version",
        ),
        "The version of Python. Each Debian release has one: 3.11 in bookworm, 3.13 in trixie. Every other version from 3.8 on, every exact "
        "version (`3.12.4`) and every free-threaded one (`3.13t`) comes from python-build-standalone ([Python](python.md)).",
        example='"3.11"',
        default="what `.python-version`, `runtime.txt`, a Dockerfile or `requires-python` ask for, else the base's",
    )
    base: str | None = _key(
        _BASE,
        "What the image stands on: `debian:bookworm` or `debian:trixie`, with `-minimal` to leave the shell and the "
        "small userland out; `oci:PATH[:TAG]`, an OCI layout on this disk; or an image in a registry, "
        "`registry/name:tag` or `registry/name@sha256:…`, which the lock pins by digest.",
        example='"debian:bookworm"',
        default="the Debian release whose Python fits, `debian:bookworm` first",
    )
    system: tuple[str, ...] = _key(
        kinds.listed(
            kinds.text(
                "a Debian package's name",
                kinds.SYSTEM_PACKAGE,
                hint='one package per item: system = ["libgl1", "ffmpeg"]',
            ),
            "a list of Debian packages",
        ),
        "Debian packages that are added with everything they depend on. Corten automatically adds those with "
        "shared libraries that wheels need. If a package's own scripts have to run (Java, R, Redis), they run in a sandbox, and the build needs root "
        "or subordinate IDs for it; `corten lock` names these packages "
        "([How an image is made](how-an-image-is-made.md#scripts-of-debian-packages)).",
        example='["libgl1", "ffmpeg"]',
        default="none",
        initial=(),
    )
    build_system_packages: tuple[str, ...] = _key(
        kinds.listed(
            kinds.text(
                "a Debian package's name",
                kinds.SYSTEM_PACKAGE,
                hint='one package per item: build-system-packages = ["libffi-dev"]',
            ),
            "a list of Debian packages",
        ),
        "Debian packages that are installed while packages without a wheel are built from source, in addition to a compiler for C and C++ and "
        "Python's headers. They replace the headers that Corten adds for well-known packages. The image does not contain them.",
        example='["libffi-dev"]',
        default="none",
        initial=(),
    )
    predict: str | dict[str, str] | None = _key(
        kinds.PREDICTOR,
        "The predictor that is served: a class with a `predict` method (and an optional `setup`), or a function. "
        "The project's folder and `src` are on the import path. The file of a scikit-learn or ONNX model "
        f"({', '.join(f'`{ending}`' for ending in kinds.MODEL_FILES)}) is served without code; a pickle runs code when it is "
        'loaded, so name none from a source that you do not trust. `{ cats = "cats:Cats", dogs = "dogs.onnx" }` serves '
        "several models in one image, each under its name. Excludes `command`.",
        example='"predict:Iris"',
        default="found in `predict.py` or `predictor.py`, else the only model file in `models`",
    )
    command: tuple[str, ...] | None = _key(
        kinds.COMMAND,
        "What the image runs, where it has no predictor: a list, or one text, split as a shell would. "
        "`$PORT` and other variables are filled in when it starts; a text with pipes and the like is run by the "
        "image's `/bin/sh`. A web application listens on the port that `$PORT` names. Excludes `predict`.",
        example='"uvicorn app:app --host 0.0.0.0 --port $PORT"',
        default="a web application with its server, `main.py`, or the only script",
    )
    ready: str | None = _key(
        kinds.text(
            "a path such as '/health', 'page:' and a path, or 'tcp', 'streamlit', 'shiny' or 'running'",
            kinds.READY,
            hint="a path begins with '/' and has no spaces; 'tcp' is for what does not speak HTTP, 'running' for what has no port",
        ),
        "When a `command` that listens on a port is ready: as soon as it answers a GET request of this path. Any status counts for "
        'the default; for a path that is written here a server error (5xx) does not. `"tcp"` is for a program that speaks another '
        'protocol than HTTP, or HTTPS: an accepted connection is enough then. `"page:/"` is for a page that a script makes: an exception '
        'in the script (a 500, or an empty page of Bokeh) ends the start and is reported. `"streamlit"` and `"shiny"` open a first session and wait until '
        'the script has run in it without an exception. `"running"` is for a worker or a bot, which listens on no port: it is ready when it has run for '
        "some seconds.",
        example='"/health"',
        default='`"/"`; what the framework of a user interface answers; `"running"` for a worker',
    )
    models: tuple[str, ...] = _key(
        kinds.MODELS,
        "Weights: files, folders and globs (`*`, `?`, `[…]`, `**`) relative to the project's folder, also where git ignores "
        "them. They are stored below `/models`, in layers of their own, with a link where the code expects "
        "them. Files over 10 MB and with the endings of weights are treated so without being declared. "
        '`"hf://org/name@revision"` is a model of the Hugging Face hub (`hf://org/name/FILE@revision`: one file of it): `corten lock` writes down its commit and '
        "the hash of every file, and the image has it in the hub's cache, in a layer of its own, and asks the hub for nothing.",
        example='["model.joblib", "weights/**/*.safetensors"]',
        default="what is found",
        initial=(),
    )
    include: tuple[str, ...] = _key(
        kinds.PATHS,
        "Files, folders and globs that belong in the image although git or the default excludes leave them out.",
        example='["certs/ca.pem"]',
        default="nothing",
        initial=(),
    )
    exclude: tuple[str, ...] = _key(
        kinds.EXCLUDES,
        "What stays out of the image, in the patterns of `.gitignore`; it wins over everything but a file "
        "that `models` or `include` name exactly. A file `.cortenignore` does the same.",
        example='["notebooks/", "*.csv"]',
        default="what git ignores, version control, caches, virtual environments, and files that hold secrets",
        initial=(),
    )
    allow_secrets: tuple[str, ...] = _key(
        kinds.EXCLUDES,
        "Files in which a build does not look for private keys and tokens, in the patterns of `.gitignore`. A single line is not "
        "looked at where a comment in it says `pragma: allowlist secret`.",
        example='["tests/keys/"]',
        default="none: a build warns of what it finds, with file and line",
        initial=(),
    )
    env: dict[str, str] = _key(
        kinds.ENV,
        "Environment variables of the image. They can be read by everybody who has the image: no secrets.",
        example='{ OMP_NUM_THREADS = "1" }',
        default="none",
        initial={},
    )
    user: str | None = _key(
        kinds.USERS,
        "Whom the image runs as: `uid`, `uid:gid`, or a name that the base has.",
        example='"1000:1000"',
        default="`nonroot`, 65532:65532",
    )
    workdir: str | None = _key(
        kinds.WORKDIR,
        "The folder in which the image's command starts.",
        example='"/app"',
        default="`/app`, where the project's files are",
    )
    platforms: tuple[Platform, ...] | None = _key(
        kinds.PLATFORMS,
        "The platforms that the lock is made for: `linux/amd64`, `linux/arm64`.",
        example='["linux/amd64", "linux/arm64"]',
        default="this machine's",
    )
    gpu: str | None = _key(
        kinds.text("'auto', 'none', 'any' or a CUDA version such as 'cu126'", kinds.GPU),
        'Which builds of PyTorch and its kin: `"none"` those for CPUs (and an error if a wheel of CUDA is left), `"cuNNN"` those for that '
        'CUDA, `"any"` as the index has them. `"auto"`: those for CPUs where they can be had, if the machine that makes the lock has no GPU and '
        "no requirement asks for one; else as the index has them. What a lock has stays.",
        example='"none"',
        default='`"auto"`',
    )
    network: Network | None = _key(
        kinds.choice("none", "host", "private"),
        'What the container sees of the network: `"none"`, `"host"` (the machine\'s own), or `"private"` (its own, with a way out). '
        "It holds where this folder is run (`corten run .`, `corten up`), and is said once. The image carries it as a label for "
        "other systems; an image that is run by its name gets what the command line says.",
        example='"host"',
        default='`"none"`; the port of a predictor or web application is reachable all the same',
    )
    shm_size: str | None = _key(
        kinds.text(
            "a size such as '8g'",
            r"[1-9][0-9]{0,8}[kmgt]?",
            hint="a whole number with k, m, g or t behind it",
        ),
        "How much /dev/shm may hold where this folder is run (`corten run .`, `corten up`): data loaders and worker processes "
        "share arrays there. What is in it counts towards a memory limit.",
        example='"8g"',
        default="a fifth of the machine's memory",
    )
    volumes: dict[str, str] = _key(
        kinds.VOLUMES,
        "Named volumes of this machine and where they are mounted: what is written there outlives the container. They hold where this "
        "folder is run (`corten run .`, `corten up`, `corten dev`), which is said once. A volume that is new begins with what the image has "
        "at that place. Volumes of one name are the same one, in every project of the store; `-v` puts something else in their place.",
        example='{ data = "/app/data" }',
        default="none",
        initial={},
    )
    labels: dict[str, str] = _key(
        kinds.LABELS,
        "Labels of the image.",
        example='{ "org.opencontainers.image.source" = "https://example.org/iris" }',
        default="none",
        initial={},
    )
    strict: bool = _key(
        kinds.BOOLEAN,
        "Whether two wheels that write different bytes to one path are an error instead of a warning.",
        example="true",
        default="`false`",
        initial=False,
    )
    requirements: tuple[str, ...] | None = _key(
        kinds.FILES,
        "Where the dependencies are: one or more requirements files, `uv.lock` or `pyproject.toml`.",
        example='"requirements/production.txt"',
        default="`uv.lock`, else `requirements.txt` and its like (with hashes first), else `[project]` in `pyproject.toml`",
    )
    groups: tuple[str, ...] = _key(
        kinds.listed(kinds.text("a dependency group's name"), "a list of dependency groups"),
        "Dependency groups that belong in the image: groups of `pyproject.toml`, or, in a project with requirements files, its requirements files for "
        "development (`requirements-dev.txt` is the group `dev`).",
        example='["serving"]',
        default="none",
        initial=(),
    )
    extras: tuple[str, ...] = _key(
        kinds.listed(kinds.text("an extra's name"), "a list of extras"),
        "Extras (`[project.optional-dependencies]`) that belong in the image.",
        example='["gpu"]',
        default="none",
        initial=(),
    )
    compression: str | None = _key(
        kinds.choice("gzip", "zstd", "raw"),
        "How layers are compressed when they are pushed. Old engines and some platforms know gzip only.",
        example='"zstd"',
        default='`"gzip"`',
    )


KEYS: dict[str, Field[Any]] = {item.name.replace("_", "-"): item for item in fields(Settings)}
"""Every key as users write it, in the order of the documentation."""


def read(table: object) -> Settings:
    """`[tool.corten]` as TOML gave it → Settings. Raises ProjectError for an unknown key, a value of the wrong form, and
    keys that exclude one another."""
    if not isinstance(table, dict):
        raise ProjectError(
            f"'tool.corten' must be a table, not {kinds.described(table)}", hint=f"write {TABLE}"
        )
    values: dict[str, Any] = {}
    for key, value in table.items():
        known = KEYS.get(key)
        if known is None:
            raise _unknown(key)
        values[known.name] = known.metadata["kind"].read(key, value)
    settings = Settings(**values)
    if settings.predict is not None and settings.command is not None:
        raise ProjectError(
            f"{TABLE} has both 'predict' and 'command', and an image runs one of them",
            hint="keep 'predict' to serve a predictor, or 'command' to run a program",
        )
    return settings


def _unknown(key: str) -> ProjectError:
    import difflib

    usual = {
        "module": "predict",
        "entrypoint": "command",
        "cmd": "command",
        "weights": "models",
    }
    usual |= {"environment": "env", "packages": "system", "apt": "system", "dependencies": "requirements"}
    written = key.lower().replace("_", "-")
    near = [written] if written in KEYS else difflib.get_close_matches(written, KEYS, n=1, cutoff=0.7)
    meant = near[0] if near else usual.get(written)
    message = f"unknown key '{key}' in {TABLE}" + (f"; did you mean '{meant}'?" if meant else "")
    return ProjectError(message, hint=f"the keys are {', '.join(KEYS)}")
