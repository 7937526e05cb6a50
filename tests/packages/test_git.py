"""A commit of a repository as a tree of files, from git's own server and from plain files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import CortenError, FetchError, ProjectError, ResolutionError
from corten.packages.git import Checkout, Git
from corten.packages.repositories import Repository, repository_of, version_of
from corten.packages.requirements import parse_requirement
from support import repositories
from support.repositories import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with repositories.serving(tmp_path / "hub") as made:
        yield made


def check_out(
    root: Path,
    url: str,
    ref: str = "",
    commit: str = "",
    subdirectory: str = "",
    login: tuple[str, str] | None = None,
) -> tuple[Checkout, dict[str, str]]:
    """The checkout, and the files that it wrote."""
    place = root / f"out-{len(list(root.glob('out-*')))}"
    (place / "work").mkdir(parents=True)
    (place / "tree").mkdir()
    (root / "home").mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(root / "home")}
    made = Git(environment, login).check_out(
        Repository(url, ref, subdirectory), commit, place / "tree", place / "work"
    )
    return made, {
        path.relative_to(place / "tree").as_posix(): path.read_text()
        for path in sorted((place / "tree").rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("way", ["", "/dumb"])
def test_branches_tags_commits_and_the_head(tmp_path: Path, hub: Hub, way: str) -> None:
    first = hub.make("lib", {"a.py": "1", "sub/b.py": "2"}, tag="v1.0")
    second = hub.make("lib", {"a.py": "3"})
    url = f"{hub.url}{way}/lib.git"
    old, new = {"a.py": "1", "sub/b.py": "2"}, {"a.py": "3", "sub/b.py": "2"}
    assert check_out(tmp_path, url) == (Checkout(second), new)
    assert check_out(tmp_path, url, "main") == (Checkout(second), new)
    assert check_out(tmp_path, url, "v1.0") == (Checkout(first), old)
    assert check_out(tmp_path, url, first) == (Checkout(first), old)
    assert check_out(tmp_path, url, first[:8]) == (Checkout(first), old)
    # What a lock pins holds, wherever the branch is by now.
    assert check_out(tmp_path, url, "main", first) == (Checkout(first), old)
    assert check_out(tmp_path, url, subdirectory="sub") == (Checkout(second), {"b.py": "2"})


def test_modes_and_links(tmp_path: Path, hub: Hub) -> None:
    hub.make("lib", {"tool.sh": "x", "sub/a": "a"})
    (hub.root / "lib.work/tool.sh").chmod(0o755)
    (hub.root / "lib.work/sub/link").symlink_to("../tool.sh")
    hub.commit("lib")
    check_out(tmp_path, f"{hub.url}/lib.git")
    tree = tmp_path / "out-0/tree"
    assert os.readlink(tree / "sub/link") == "../tool.sh"
    assert os.access(tree / "tool.sh", os.X_OK)
    assert not (tree / "sub/a").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("path", "ref", "message"),
    [
        ("/nothing.git", "", "there is no repository at"),
        ("/lib.git", "v9", "has no 'v9'"),
        ("/lib.git", "0" * 40, f"has no '{'0' * 40}'"),
    ],
)
def test_what_is_not_there(tmp_path: Path, hub: Hub, path: str, ref: str, message: str) -> None:
    hub.make("lib", {"a.py": "1"})
    with pytest.raises(FetchError) as caught:
        check_out(tmp_path, f"{hub.url}{path}", ref)
    assert message in caught.value.message
    assert caught.value.hint
    with pytest.raises(FetchError, match="has no folder 'sub'"):
        check_out(tmp_path, f"{hub.url}/lib.git", subdirectory="sub")


def test_a_login_is_given_or_asked_for(tmp_path: Path, hub: Hub) -> None:
    commit = hub.make("lib", {"a.py": "1"})
    hub.login = ("me", "secret")
    with pytest.raises(FetchError, match="wants a login that git does not have"):
        check_out(tmp_path, f"{hub.url}/lib.git")
    with pytest.raises(FetchError, match="wants a login"):
        check_out(tmp_path, f"{hub.url}/lib.git", login=("me", "wrong"))
    assert check_out(tmp_path, f"{hub.url}/lib.git", login=("me", "secret"))[0].commit == commit
    # The user's own store of git's.
    (tmp_path / "home/.gitconfig").write_text("[credential]\n\thelper = store\n")
    (tmp_path / "home/.git-credentials").write_text(hub.url.replace("//", "//me:secret@") + "\n")
    assert check_out(tmp_path, f"{hub.url}/lib.git")[0].commit == commit


def test_a_host_that_does_not_answer_in_time(tmp_path: Path, hub: Hub) -> None:
    hub.make("lib", {"a.py": "1"})
    (tmp_path / "tree").mkdir(), (tmp_path / "work").mkdir()
    git = Git({"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, seconds=0)
    with pytest.raises(FetchError, match="did not finish"):
        git.check_out(Repository(f"{hub.url}/lib.git"), "", tmp_path / "tree", tmp_path / "work")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git+https://h.invalid/a/b", Repository("https://h.invalid/a/b")),
        ("git+https://h.invalid/a/b.git@v1.0", Repository("https://h.invalid/a/b.git", "v1.0")),
        ("git+https://h.invalid/a/b@feature/x#egg=My_Lib", Repository("https://h.invalid/a/b", "feature/x", name="my-lib")),
        ("git+https://h.invalid/a#egg=lib&subdirectory=py/lib", Repository("https://h.invalid/a", "", "py/lib", name="lib")),
        ("lib @ git+https://h.invalid/a.git", Repository("https://h.invalid/a.git", name="lib")),
        ("lib @ git+ssh://git@h.invalid:22/a/b.git@main", Repository("ssh://git@h.invalid:22/a/b.git", "main", name="lib")),
        ("https://h.invalid/a/b.git", Repository("https://h.invalid/a/b.git")),
    ],
)  # fmt: skip
def test_how_repositories_are_written(text: str, expected: Repository) -> None:
    assert repository_of(parse_requirement(text)) == expected


def test_a_written_login_is_kept_apart() -> None:
    found = repository_of(parse_requirement("x @ git+https://me:se%40cret@h.invalid/a.git@v1"))
    assert (found.url, found.ref) == ("https://h.invalid/a.git", "v1")
    assert found.login is not None
    assert (found.login.user, found.login.password) == ("me", "se@cret")
    assert "cret" not in repr(found) + found.shown


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("x @ hg+https://h.invalid/a", ResolutionError, "is in hg"),
        ("x @ git+file:///srv/a", ResolutionError, "is a repository of this machine"),
        ("x @ git+/srv/a.git", ResolutionError, "is a repository of this machine"),
        ("x @ git+git://h.invalid/a", ResolutionError, "which does not check who answers"),
        ("x @ git+ext://sh", ResolutionError, "comes over 'ext'"),
        ("git+git@h.invalid:a/b.git", ProjectError, "is written as for scp"),
        ("x @ git+https://h.invalid/a@--upload-pack=touch", ProjectError, "has no ref"),
        ("x @ git+https://h.invalid/a@x..y", ProjectError, "has no ref"),
        ("x @ git+https://h.invalid/a@+x:y", ProjectError, "has no ref"),
        ("x @ git+https://h.invalid/a#subdirectory=../..", ProjectError, "is not a folder"),
        ("x @ git+https://h.invalid/../a", ProjectError, "has an address that Corten cannot read"),
        ("x @ git+https://-oProxy/a", ProjectError, "has an address that Corten cannot read"),
        ("x @ git+ssh://-oProxyCommand=x/a", ProjectError, "has an address that Corten cannot read"),
        ("x @ git+ssh://-x@h.invalid/a", ProjectError, "is not a valid user for ssh"),
        ("x @ git+https://${HOST}/a", ProjectError, "stands outside"),
    ],
)  # fmt: skip
def test_what_is_no_repository(text: str, kind: type[CortenError], message: str) -> None:
    with pytest.raises(kind) as caught:
        repository_of(parse_requirement(text, "requirements.txt:1"))
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("described", "version"),
    [
        ("v1.2.3-0-gabcdef0", "1.2.3"),
        ("1.2-0-gabcdef0", "1.2"),
        ("release-1.2-4-gabcdef0", "1.3.dev4+gaaaaaaaaa"),
        ("v1.2.3-4-gabcdef0", "1.2.4.dev4+gaaaaaaaaa"),
        ("v2.0.0rc1-1-gabcdef0", "2.0.0.dev1+gaaaaaaaaa"),
        ("v1.2.3-beta-0-gabcdef0", "1.2.3b0"),
        ("nightly2x-1-gabcdef0", "0.1.dev0+gaaaaaaaaa"),
        ("", "0.1.dev0+gaaaaaaaaa"),
    ],
)
def test_the_version_that_tags_tell(described: str, version: str) -> None:
    assert version_of(described, "a" * 40) == version


@pytest.mark.parametrize("way", ["", "/dumb"])
def test_what_git_says_of_a_commit(tmp_path: Path, hub: Hub, way: str) -> None:
    hub.make("lib", {"a.py": "1"}, tag="v1.0")
    hub.make("lib", {"a.py": "2"})
    commit = hub.make("lib", {"a.py": "3"})
    (tmp_path / "tree").mkdir(), (tmp_path / "work").mkdir()
    repository = Repository(f"{hub.url}{way}/lib.git")
    git = Git({"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    git.check_out(repository, "", tmp_path / "tree", tmp_path / "work")
    assert git.described(repository, commit, tmp_path / "work").startswith("v1.0-2-g")


def test_a_machine_without_git_is_told_so(tmp_path: Path) -> None:
    for name in ("empty", "tree", "work"):
        (tmp_path / name).mkdir()
    git = Git({"PATH": str(tmp_path / "empty"), "HOME": str(tmp_path)})
    with pytest.raises(FetchError, match="git is not installed"):
        git.check_out(Repository("https://h.invalid/x.git"), "", tmp_path / "tree", tmp_path / "work")


@pytest.mark.parametrize(
    ("name", "message"),
    [("x" * 300, "cannot be written: file name too long"), ("a/" * 300 + "x", "more than 256 folders deep")],
    ids=["long", "deep"],
)
def test_names_that_no_file_system_takes(tmp_path: Path, hub: Hub, name: str, message: str) -> None:
    hub.make("lib", {"a.py": "1"})
    bare = hub.root / "lib.git"
    blob = repositories.git(bare, "rev-parse", "main:a.py")
    repositories.git(bare, "read-tree", "--empty")
    repositories.git(bare, "update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    tree = repositories.git(bare, "write-tree")
    commit = repositories.git(bare, "commit-tree", tree, "-m", "x")
    repositories.git(bare, "update-ref", "refs/heads/main", commit)
    with pytest.raises(FetchError) as caught:
        check_out(tmp_path, f"{hub.url}/lib.git")
    assert message in caught.value.message


@pytest.mark.parametrize("way", ["GIT_SSH", "GIT_SSH_COMMAND", "core.sshCommand", "PATH"])
def test_ssh_is_the_users_and_asks_nothing(tmp_path: Path, way: str) -> None:
    for name in ("tree", "work", "home", "bin"):
        (tmp_path / name).mkdir()
    program, mark = tmp_path / "bin/ssh", tmp_path / "mark"
    program.write_text(
        f'#!/bin/sh\necho "$SSH_ASKPASS $SSH_ASKPASS_REQUIRE $@" >> {mark}\necho "Host key verification failed." >&2\nexit 255\n'
    )
    program.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    if way == "PATH":
        environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    elif way == "core.sshCommand":
        (tmp_path / "home/.gitconfig").write_text(f"[core]\n\tsshCommand = {program}\n")
    else:
        environment[way] = str(program)
    with pytest.raises(FetchError, match="is not known to ssh"):
        Git(environment).check_out(
            Repository("ssh://git@h.invalid/x.git"), "", tmp_path / "tree", tmp_path / "work"
        )
    said = mark.read_text()
    assert said.startswith("false force ")
    assert "git@h.invalid" in said
