from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.project.hints import shell


@pytest.mark.parametrize(
    ("written", "argv"),
    [
        ("gunicorn app:app", "gunicorn app:app"),
        ("exec gunicorn -c conf.py app:app", "gunicorn -c conf.py app:app"),
        ("python -m pip install x; python3 -u app.py", "python -u app.py"),
        ("pip install -r requirements.txt && python app.py", "python app.py"),
        ("uv run --with x uvicorn main:app --reload", "uvicorn main:app"),
        ("uv run main.py", "python main.py"),
        ("poetry run python -m x", "python -m x"),
        ("pipenv run streamlit run x.py", "streamlit run x.py"),
        ("conda run -n env --no-capture-output python -m app", "python -m app"),
        ("bash -lc 'source activate x && exec python app.py'", "python app.py"),
        ("sh -c \"sh -c 'python app.py'\"", "python app.py"),
        ("nohup python app.py &", "python app.py"),
        ("sudo -E python3.9 app.py", "python app.py"),
        ("./app.py", "python app.py"),
        ("venv/bin/uvicorn a:b", "uvicorn a:b"),
        ("/usr/local/bin/gunicorn a:b", "gunicorn a:b"),
        ("python -m debugpy --listen 0.0.0.0:5678 -m uvicorn a:b", "python -m uvicorn a:b"),
        ("uvicorn a:b --reload --reload-dir src --port 80", "uvicorn a:b --port 80"),
        ("uvicorn a:b --reload-dir=src", "uvicorn a:b"),
        ("flask --app x --debug run --host 0.0.0.0", "flask --app x run --host 0.0.0.0"),
        ("fastapi dev main.py", "fastapi run main.py"),
        ("uvicorn a:b --port ${PORT:-8000}", "uvicorn a:b --port $PORT"),
        ("uvicorn a:b --host 127.0.0.1 --port 5000", "uvicorn a:b --host 127.0.0.1 --port 5000"),
        ("tini -- python app.py", "python app.py"),
        ("gosu app python app.py", "python app.py"),
        ("python app.py --reload", "python app.py --reload"),
    ],
)
def test_a_line_comes_to_one_command(written: str, argv: str) -> None:
    line = shell.cleaned(written)
    assert line is not None
    assert " ".join(line.argv) == argv


@pytest.mark.parametrize(
    "written",
    [
        "sh setup.sh && streamlit run app.py",
        "python worker.py & python app.py",
        "python manage.py migrate && gunicorn site.wsgi",
        "python app.py > log.txt 2>&1",
        "python app.py | tee log",
        "uvicorn $(cat app) --port 80",
    ],
)
def test_what_needs_a_shell_is_kept_as_it_is(written: str) -> None:
    line = shell.cleaned(written)
    assert line is not None
    assert line.argv == ("/bin/sh", "-c", written)


def test_folders_and_variables_in_front_of_the_command_count() -> None:
    line = shell.cleaned("cd a && cd b && export A=1 && B='2 3' gunicorn app:app")
    assert line == shell.Line(("gunicorn", "app:app"), "a/b", (("A", "1"), ("B", "2 3")))
    line = shell.cleaned(("bash", "-c", "cd backend; env X=y python app.py"))
    assert line == shell.Line(("python", "app.py"), "backend", (("X", "y"),))


def test_what_is_left_out_is_said() -> None:
    line = shell.cleaned("pip install -r r.txt && uvicorn a:b --reload")
    assert line is not None
    assert line.dropped == ("pip install -r", "--reload")


@pytest.mark.parametrize("written", ["", "echo hi", "pip install x", "'unclosed", "\x00", "# nothing", "A=b"])
def test_what_starts_nothing_is_none(written: str) -> None:
    assert shell.cleaned(written) is None


def test_a_line_is_parted_at_operators_outside_of_quotes() -> None:
    found = shell.steps("a 'x && y' && (b; c) || d \"e;f\" # g && h\ni 2>&1 &")
    assert [(step.text, step.operator) for step in found] == [
        ("a 'x && y'", "&&"),
        ("(b; c)", "||"),
        ('d "e;f"', "\n"),
        ("i 2>&1", "&"),
    ]


@given(st.text("abc '\"\\$(){};&|#\n=-./`", max_size=60))
def test_any_text_is_read(text: str) -> None:
    shell.steps(text)
    line = shell.cleaned(text)
    assert line is None or all(isinstance(word, str) for word in line.argv)
