"""Models of a hub that speaks Hugging Face's file API: their files are found and hashed for a lock, and fetched for a build.

The hub is `HF_ENDPOINT`, else the public one. The user's token (`HF_TOKEN`, or the file of `hf auth login`) goes to that host alone, over TLS or to
this machine itself, and to no host that it redirects to. What the hub says is checked: names of files become paths.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from corten.errors import FetchError
from corten.events import Observer, ignore
from corten.lazy import regex
from corten.network.connection import Absent, Answer, Connections, NetworkSettings, Refused
from corten.packages.fetch import Wanted, bring
from corten.packages.files import HubFile, HubModel
from corten.packages.http import Http, Patience, network_from
from corten.packages.locations import offline_files
from corten.store.store import Store

ENDPOINT = "https://huggingface.co"
_MOST_ANSWER = 32 << 20
_MOST_FILES = 2_000
_MOST_PLAIN = 100 << 20
"""Bytes of a file that is read for its hash: the hub has the sha256 of larger ones."""
LARGEST = 100 * 10**9
"""Bytes of one model from which on it has to be said which of its files is meant."""
_NAME = regex(r"[A-Za-z0-9_.][A-Za-z0-9_.+=@ -]{0,199}(?:/[A-Za-z0-9_.][A-Za-z0-9_.+=@ -]{0,199}){0,15}")
_COMMIT = regex(r"[0-9a-f]{40}")
_SHA256 = regex(r"[0-9a-f]{64}")
_LEFT_OUT = regex(
    r"(?i)\.gitattributes|.*\.(?:md|png|jpe?g|gif|webp|svg|pdf|ipynb|mp4|ot|tflite|mlmodel)|(?:onnx|openvino|coreml|runs|logs)/.*"
)
_OTHER_WEIGHTS = regex(
    r"(?i)(?:.*/)?(?:tf_model.*\.h5|flax_model.*\.msgpack|.*\.msgpack|rust_model\.ot|model\.ckpt.*)"
)
_TORCH = regex(r"(?i)(?:.*/)?pytorch_model.*\.bin(?:\.index\.json)?")


class _HubConnections(Connections):
    """Connections that show the token to the hub alone."""

    def __init__(self, settings: NetworkSettings, endpoint: str, token: str | None) -> None:
        super().__init__(settings)
        self._origin, self._token = _origin(endpoint), token

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None = None
    ) -> Answer:
        own = self._token is not None and _origin(url) == self._origin and _is_safe(url)
        return super().send(
            method, url, {**headers, **({"Authorization": f"Bearer {self._token}"} if own else {})}, body
        )


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1")


class Hub:
    """The hub that `environment` names. `quick`: the answer is optional, so no request is tried again."""

    def __init__(self, environment: Mapping[str, str] | None = None, *, quick: bool = False) -> None:
        environment = os.environ if environment is None else environment
        self.endpoint = (environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        changes = {"connect": 3.0} if quick else {}
        settings = network_from(environment, indexes=False, **changes)
        self.http = Http(settings, Patience(attempts=1, knocks=1) if quick else None)
        self.http.connections = _HubConnections(settings, self.endpoint, _token(environment))

    def resolve(self, store: Store, name: str, repository: str, file: str, revision: str) -> HubModel:
        """The model `name` with its commit and the files that belong in an image, each with its sha256. Files that the hub tells no sha256 of
        are fetched into the store. Raises FetchError."""
        url = f"{self.endpoint}/api/models/{quote(repository)}/revision/{quote(revision, safe='')}?blobs=true"
        try:
            document = json.loads(self.http.get(url, limit=_MOST_ANSWER))
            commit, listed = _listing(document)
        except (Absent, Refused) as error:
            raise FetchError(
                f"the hub has no '{repository}' at '{revision}' that may be read from here",
                hint="check its name; for a gated model accept its terms on the hub, and set HF_TOKEN",
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FetchError(
                f"the hub's answer about '{repository}' is damaged", hint="try again later"
            ) from error
        chosen = [file] if file else chosen_files(list(listed))
        missing = next((path for path in chosen if path not in listed), None)
        if missing is not None or not chosen:
            raise FetchError(
                f"'{repository}' has no {f'file {missing!r}' if missing else 'files'} at '{revision}'",
                hint="look at its files on the hub",
            )
        total = sum(listed[path][0] for path in chosen)
        if total > LARGEST:
            raise FetchError(
                f"'{repository}' has {total / 1e9:.0f} GB of files",
                hint=f'name the one that is used: "hf://{repository}/FILE@{revision}"',
            )
        files = [
            HubFile(path, *self._hashed(store, repository, commit, path, *listed[path])) for path in chosen
        ]
        return HubModel(name, commit, tuple(sorted(files, key=lambda item: item.path)))

    def _hashed(
        self, store: Store, repository: str, commit: str, path: str, size: int, sha256: str, git: str
    ) -> tuple[int, str]:
        """Size and sha256 of a file."""
        if sha256:
            return size, sha256
        if size > _MOST_PLAIN:
            raise FetchError(f"the hub tells no sha256 of '{path}' of '{repository}', which has {size} bytes")
        data = self.http.get(self.address(repository, commit, path), limit=_MOST_PLAIN, page=True)
        if git and hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != git:
            raise FetchError(f"'{path}' of '{repository}' was damaged on its way", hint="try again")
        found = hashlib.sha256(data).hexdigest()
        with store.lock(f"fetch-{found[:2]}"):
            if store.files.path(found, "hub") is None:
                incoming = store.files.incoming(found, "hub")
                incoming.write_bytes(data)
                store.files.add(incoming, found, "hub")
        return len(data), found

    def address(self, repository: str, commit: str, path: str) -> str:
        """Where a file is."""
        return f"{self.endpoint}/{quote(repository)}/resolve/{commit}/{quote(path)}"


def chosen_files(paths: Sequence[str]) -> list[str]:
    """Of a model's files those that PyTorch's libraries load: no documentation, no weights of other frameworks, and no pickled weights
    beside safetensors."""
    kept = [path for path in paths if not _LEFT_OUT.fullmatch(path) and not path.startswith(".")]
    folders = {path.rpartition("/")[0] for path in kept if path.endswith(".safetensors")}
    torch = [path for path in kept if _TORCH.fullmatch(path)]
    own = [path for path in kept if not (path in torch and path.rpartition("/")[0] in folders)]
    if folders or torch:
        own = [path for path in own if not _OTHER_WEIGHTS.fullmatch(path)]
    return sorted(own)


def fetch_models(
    store: Store,
    models: Sequence[tuple[str, HubModel]],
    observe: Observer = ignore,
    *,
    offline: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Bring the files of `models`, each with its repository, into the store; with `offline` only that directory is looked at. Raises
    FetchError, HashMismatch."""
    missing = {
        file.sha256: (repository, model, file)
        for repository, model in models
        for file in model.files
        if store.files.path(file.sha256, "hub") is None
    }
    if not missing:
        return
    hub = Hub(environment)

    def addresses(repository: str, commit: str, path: str, sha256: str) -> Iterable[str]:
        if offline is None:
            yield hub.address(repository, commit, path)
            return
        for place in offline_files(offline, "hub", sha256, sha256):
            yield place.absolute().as_uri()

    for repository, _, file in missing.values():
        if offline is not None and not offline_files(offline, "hub", file.sha256, file.sha256):
            raise FetchError(
                f"the offline directory '{offline}' has no '{file.path}' of '{repository}'",
                hint="make it again with 'corten lock --download DIR' where there is a network",
            )

    work = [
        Wanted(
            "hub",
            f"{repository}/{file.path}",
            sha256,
            file.size,
            partial(addresses, repository, model.commit, file.path, sha256),
        )
        for sha256, (repository, model, file) in missing.items()
    ]
    bring(store, work, observe, 8, hub.http)


def _listing(document: object) -> tuple[str, dict[str, tuple[int, str, str]]]:
    """The commit, and size, sha256 (empty where the hub tells none) and git's hash of every file. Raises ValueError for what is not
    such an answer."""
    if not isinstance(document, dict) or not _COMMIT.fullmatch(str(document["sha"])):
        raise ValueError("no commit")
    siblings = document["siblings"]
    if not isinstance(siblings, list) or len(siblings) > _MOST_FILES:
        raise ValueError("no list of files")
    found: dict[str, tuple[int, str, str]] = {}
    for item in siblings:
        path, size, lfs = item["rfilename"], item.get("size"), item.get("lfs")
        if not isinstance(path, str) or not _NAME.fullmatch(path) or {".", ".."} & set(path.split("/")):
            continue  # no file that could be placed
        sha256 = str(lfs["sha256"]) if isinstance(lfs, dict) else ""
        if sha256 and not _SHA256.fullmatch(sha256):
            raise ValueError("no sha256")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 50:
            raise ValueError("no size")
        git = str(item.get("blobId") or "") if not sha256 else ""
        found[path] = (size, sha256, git if _COMMIT.fullmatch(git) else "")
    return str(document["sha"]), found


def _token(environment: Mapping[str, str]) -> str | None:
    """The user's token, from a variable or from the file that the hub's own command writes."""
    token = environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN")
    if not token:
        home = environment.get("HF_HOME") or os.path.join(
            environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
        )
        with suppress(OSError, UnicodeDecodeError):
            token = Path(environment.get("HF_TOKEN_PATH") or os.path.join(home, "token")).read_text(
                encoding="ascii"
            )
    token = (token or "").strip()
    return token if re.fullmatch(r"[\x21-\x7e]{1,500}", token) else None
