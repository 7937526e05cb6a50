from __future__ import annotations

import pytest

from corten.project.hints import procfile

from .conftest import Opened


@pytest.mark.parametrize(
    ("line", "key", "argv", "cwd"),
    [
        ("web: gunicorn app:app", "command", "gunicorn app:app", ""),
        ("WEB : gunicorn app:app --preload # x", "command", "gunicorn app:app --preload", ""),
        ("web: gunicorn --chdir src app:app", "command", "gunicorn --chdir src app:app", ""),
        ("web: cd backend && gunicorn app:app", "command", "gunicorn app:app", "backend"),
        ("web: cd ./a/../b/; python x.py", "command", "python x.py", "b"),
        ("web: cd /app/sub && python x.py", "command", "python x.py", "sub"),
        ("web: uvicorn a:b --port=${PORT:-5000}", "command", "uvicorn a:b --port=$PORT", ""),
        ("web: bash start.sh", "command", "bash start.sh", ""),
        ("web: ./start.sh", "command", "sh start.sh", ""),
        ('release: bash -c "cd b && flask db upgrade"', "release", "flask db upgrade", "b"),
        ("worker: python bot.py", "worker", "python bot.py", ""),
        ("clock: python clock.py", "worker", "python clock.py", ""),
    ],
)
def test_process_types(opened: Opened, line: str, key: str, argv: str, cwd: str) -> None:
    (hint,) = procfile.read(opened({"Procfile": f"# x\n\n{line}\r\n", "start.sh": "echo\n"}))
    assert not isinstance(hint.value, str)
    assert (hint.key, " ".join(hint.value), hint.folder, hint.place) == (key, argv, cwd, "Procfile:3")


@pytest.mark.parametrize("line", ["web: cd /etc && python x.py", "web: cd .. && python x.py", "web: echo hi"])
def test_what_leaves_the_project_or_starts_nothing_is_said(opened: Opened, line: str) -> None:
    (hint,) = procfile.read(opened({"Procfile": line}))
    assert hint.key == "unused"


def test_other_lines_are_no_hints(opened: Opened) -> None:
    assert procfile.read(opened({"Procfile": "#web: x\nnothing\n: y\nweb:\n"})) == ()


def test_variables_in_front_are_kept(opened: Opened) -> None:
    (hint,) = procfile.read(opened({"Procfile": "web: FLASK_APP=a B='c d' flask run"}))
    assert hint.env == (("FLASK_APP", "a"), ("B", "c d"))
