"""A database of Django's that is not there is told before the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corten.project.load import load, needs

Make = Callable[[dict[str, str | bytes]], Path]
SITE = {
    "manage.py": "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n",
    "site1/__init__.py": "",
    "site1/settings.py": "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'db.sqlite3'}}\n",
    "site1/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "requirements.txt": "django\n",
}


def told(root: Path) -> list[str]:
    return [line for line in needs(load(root)) if "Django" in line]


@pytest.mark.parametrize("below", ["", "web/"])
def test_a_database_that_is_not_there_is_named_with_the_command_that_makes_it(
    folder: Make, below: str
) -> None:
    (line,) = told(folder({f"{below}{path}": text for path, text in SITE.items()}))
    place = "site1/settings.py"  # of the project, which is in the folder that has the only one
    assert line == (
        f"Django's database 'db.sqlite3' ('{place}') is not in the project: once it runs, "
        "'corten exec NAME python manage.py migrate' makes its tables"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"db.sqlite3": b"SQLite format 3\0"},
        {"site1/settings.py": "DATABASES = {'default': {'ENGINE': 'django.db.backends.postgresql'}}\n"},
        {"Procfile": "web: sh start.sh\n", "start.sh": "python manage.py migrate\ngunicorn site1.wsgi\n"},
        {"Procfile": "web: python manage.py migrate && gunicorn site1.wsgi\n"},
    ],
)
def test_nothing_is_said_where_there_is_one_or_the_command_makes_it(
    folder: Make, more: dict[str, str | bytes]
) -> None:
    assert told(folder({**SITE, **more})) == []


def test_no_other_application_is_asked_for_one(folder: Make) -> None:
    files = {"app.py": "from flask import Flask\napp = Flask(__name__)\n", "requirements.txt": "flask\n"}
    assert told(folder({**files, "site1/settings.py": SITE["site1/settings.py"]})) == []
