"""Files, images and frames through a real server: what a client sends is what `predict` gets, and its result what comes back."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import PIL.Image

CODE = """
    from pathlib import Path
    from typing import Annotated
    import pandas
    from PIL import Image
    from corten_serve import Field

    class Turner:
        endpoints = ("count", "table", "size")

        def predict(self, photo: Image.Image, angle: Annotated[int, Field(multiple_of=90)] = 90) -> Image.Image:
            return photo.rotate(angle, expand=True)

        def count(self, file: Path) -> dict:
            self.last = str(file)
            return {"bytes": file.stat().st_size, "ending": file.suffix, "at": str(file)}

        def table(self, frame: pandas.DataFrame) -> pandas.DataFrame:
            return frame.assign(double=frame.a * 2)

        def size(self, at: str) -> bool:
            return Path(at).exists()
"""


def form(name: str, file: str, kind: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    head = f'--x\r\ncontent-disposition: form-data; name="{name}"; filename="{file}"\r\ncontent-type: {kind}\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}


def test_files_images_and_frames(start: Callable[..., Any]):
    serving = start(CODE, target="predict:Turner")
    photo = io.BytesIO()
    PIL.Image.new("RGB", (30, 20), (0, 0, 255)).save(photo, "JPEG")
    for body, headers in (
        form("photo", "a.jpg", "image/jpeg", photo.getvalue()),
        (photo.getvalue(), {"content-type": "image/jpeg"}),
    ):
        answer = serving.request("POST", "/predict", body, headers)
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
        assert PIL.Image.open(io.BytesIO(answer.body)).size == (20, 30)
    body, headers = form("photo", "a.jpg", "image/jpeg", photo.getvalue()[:300])
    assert serving.request("POST", "/predict", body, headers).status == 422

    body, headers = form("file", "../../etc/passwd", "text/csv", b"x" * 2_000_000)
    answer = serving.request("POST", "/count", body, headers)
    assert (answer.json["bytes"], answer.json["ending"]) == (2_000_000, ".csv")
    assert "passwd" not in answer.json["at"]
    # The temporary file went with the request.
    assert serving.request("POST", "/size", {"at": answer.json["at"]}).json is False

    body, headers = form("frame", "t.csv", "text/csv", b"a\n1\n2\n")
    rows = [{"a": 1, "double": 2}, {"a": 2, "double": 4}]
    assert serving.request("POST", "/table", body, headers).json == rows
    assert serving.request("POST", "/table", {"frame": [{"a": 1}, {"a": 2}]}).json == rows
