from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from corten.project.recognize.folder import Folder

Opened = Callable[[dict[str, str | bytes]], Folder]


@pytest.fixture
def opened(folder: Callable[..., Path]) -> Iterator[Opened]:
    """Makes a project's folder with these files and opens it."""
    with ExitStack() as stack:
        yield lambda files: stack.enter_context(Folder(str(folder(files))))
