"""Headers of well-known packages are there when their sources are compiled."""

from __future__ import annotations

from corten.lock.build_headers import known_headers
from corten.project.load import load
from support.lock_world import World


def test_only_packages_that_are_named_bring_headers() -> None:
    assert known_headers({"psycopg2", "flask"}) == {"psycopg2": ("libpq-dev",)}
    assert known_headers({"flask", "psycopg2-binary"}) == {}


def test_a_package_that_is_only_imported_has_its_headers_too(world: World) -> None:
    """`MySQLdb` is of mysqlclient, which nothing lists."""
    world.write("requirements.txt", "alpha\n")
    world.write("main.py", "import MySQLdb\n")
    project = load(world.folder)
    assert [item.requirement for item in project.unlisted] == ["mysqlclient"]
    assert known_headers([item.requirement for item in project.unlisted]) == {
        "mysqlclient": ("default-libmysqlclient-dev",)
    }
