"""Files of `--secret` and of a project's folder, as a container gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import RuntimeFailure
from corten.runtime.options import RunOptions
from corten.runtime.secret_files import secret_files


def test_they_are_copies_for_their_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "secrets.toml").write_text("two")
    options = RunOptions(
        secrets=(("t", str(tmp_path / "token")),),
        project_secrets=((str(tmp_path / "project"), "secrets.toml", "/app/secrets.toml"),),
    )
    for _ in range(2):
        shown = secret_files(tmp_path, options, None)
        assert [inside for _, inside in shown] == ["/app/secrets.toml", "/run/secrets/t"]
        assert [Path(place).read_text() for place, _ in shown] == ["two", "one"]
        assert {Path(place).stat().st_mode & 0o777 for place, _ in shown} == {0o400}


def test_a_projects_file_that_has_become_a_link_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "of-this-machine").write_text("secret")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "secrets.toml").symlink_to(tmp_path / "of-this-machine")
    options = RunOptions(project_secrets=((str(tmp_path / "project"), "secrets.toml", "/x"),))
    assert secret_files(tmp_path, options, None) == ()


def test_a_secret_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="of the secret 't' cannot be read"):
        secret_files(tmp_path, RunOptions(secrets=(("t", str(tmp_path / "gone")),)), None)
