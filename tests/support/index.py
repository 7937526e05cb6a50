"""Simple indexes (PEP 503 pages, PEP 691 JSON) over a folder of wheels, for tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from support.web import Web


def publish(
    web: Web,
    folder: Path,
    root: str = "/simple",
    form: str = "html",
    others: Iterable[str] = (),
    days: Mapping[str, str] | None = None,
) -> str:
    """Serve the wheels and sdists in `folder` on `web` as an index and return its address. `others` are names of files that are
    listed and not there, such as sdists. `days` are the days of upload by file (with the form `json`). The pages are made now."""
    pages: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(folder.glob("*.whl")):
        data = path.read_bytes()
        web.files[f"/files/{path.name}"] = data
        name = path.name.split("-")[0].replace("_", "-").lower()
        pages.setdefault(name, []).append((path.name, hashlib.sha256(data).hexdigest()))
    for path in sorted(folder.glob("*.tar.gz")):
        data = path.read_bytes()
        web.files[f"/files/{path.name}"] = data
        name = path.name.rpartition("-")[0].replace("_", "-").lower()
        pages.setdefault(name, []).append((path.name, hashlib.sha256(data).hexdigest()))
    for file in others:
        pages.setdefault(file.rsplit("-", 1)[0].replace("_", "-"), []).append((file, "0" * 64))
    for name, files in pages.items():
        path = f"{root}/{name}/"
        if form == "html":
            links = "".join(
                f'<a href="/files/{file}#sha256={digest}">{file}</a><br/>\n' for file, digest in files
            )
            web.files[path] = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
            web.types[path] = "text/html"
        else:
            listed = [
                {
                    "filename": file,
                    "url": f"/files/{file}",
                    "hashes": {"sha256": digest},
                    "size": len(web.files.get(f"/files/{file}", b"")),
                    **({"upload-time": f"{days[file]}T12:00:00Z"} if days and file in days else {}),
                }
                for file, digest in files
            ]
            web.files[path] = json.dumps(
                {"meta": {"api-version": "1.1"}, "name": name, "files": listed}
            ).encode()
            web.types[path] = "application/vnd.pypi.simple.v1+json"
    return f"{web.url}{root}"
