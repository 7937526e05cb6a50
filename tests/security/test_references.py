"""Requirements that lead to repositories: nothing of one runs on this machine, nothing of it leaves its folder, and logins go to their host alone."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import FetchError, StoreError
from corten.packages.git import Git, _entries, _Failed
from corten.packages.repositories import Repository
from corten.store.unpacking import Headroom
from support import repositories
from support.repositories import PLAIN, Hub, git


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with repositories.serving(tmp_path / "hub") as made:
        made.make("lib", {"a.py": "1"})
        yield made


def check_out(root: Path, url: str, **options: object) -> tuple[Path, tuple[str, ...]]:
    for name in ("tree", "work", "home"):
        (root / name).mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(root / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    environment.update(options.pop("environment", {}))  # type: ignore[call-overload]
    made = Git(environment, **options).check_out(Repository(url), "", root / "tree", root / "work")  # type: ignore[arg-type]
    return root / "tree", made.notes


def test_no_filter_hook_or_submodule_of_a_repository_runs(tmp_path: Path, hub: Hub) -> None:
    """The user's own git has a filter and hooks, as LFS installs them; a checkout by git would start them."""
    mark = tmp_path / "ran"
    home = tmp_path / "home"
    hooks = home / "hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {hooks}\n\tfsmonitor = touch {mark}\n[filter "lfs"]\n\tsmudge = touch {mark}; cat\n\tprocess = touch {mark}\n'
        f"[init]\n\ttemplateDir = {home}/template\n[submodule]\n\trecurse = true\n[fetch]\n\trecurseSubmodules = true\n"
    )
    (home / "template/hooks").mkdir(parents=True)
    (home / "template/hooks/post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (home / "template/hooks/post-checkout").chmod(0o755)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    hub.make("evil", {".gitattributes": "* filter=lfs\n", "model.bin": pointer, "a.py": "1"})
    inner = git(hub.root / "lib.work", "rev-parse", "HEAD")
    git(hub.root / "evil.work", "update-index", "--add", "--cacheinfo", f"160000,{inner},sub")
    (hub.root / "evil.work/.gitmodules").write_text(
        f'[submodule "sub"]\n\tpath = sub\n\turl = {hub.url}/lib.git\n\tupdate = !touch {mark}\n'
    )
    git(hub.root / "evil.work", "add", ".gitmodules")
    git(hub.root / "evil.work", "commit", "-q", "-m", "submodule")
    git(hub.root / "evil.work", "push", "-q", "--all", str(hub.root / "evil.git"))
    hub.seen.clear()
    tree, notes = check_out(tmp_path, f"{hub.url}/evil.git")
    assert not mark.exists()
    assert (tree / "model.bin").read_bytes() == pointer
    assert not (tree / "sub").exists()
    assert not [path for path, _ in hub.seen if path.startswith("/lib.git")]
    assert [note.partition(" '")[0] for note in notes] == ["submodules of", "files of"]


def test_a_repository_brings_no_name_and_no_link_that_leads_out(tmp_path: Path, hub: Hub) -> None:
    bare = hub.root / "lib.git"

    def publish(mode: str, name: str, content: str) -> None:
        variables = {"PATH": os.environ["PATH"], **PLAIN}
        blob = subprocess.run(
            ["git", "hash-object", "-w", "--stdin"],
            cwd=bare,
            input=content,
            text=True,
            env=variables,
            capture_output=True,
            check=True,
        ).stdout.strip()
        entry = f"{mode} {'tree' if mode == '040000' else 'blob'} {blob}\t{name}\0"
        tree = subprocess.run(
            ["git", "mktree", "-z", "--missing"],
            cwd=bare,
            input=entry,
            text=True,
            env=variables,
            capture_output=True,
            check=True,
        ).stdout.strip()
        commit = git(bare, "commit-tree", tree, "-m", "x")
        git(bare, "update-ref", "refs/heads/main", commit)

    for number, (mode, name, content, message) in enumerate(
        [
            ("120000", "link", "/etc/passwd", "is a link that leads out of it"),
            ("120000", "link", "../../../etc/passwd", "is a link that leads out of it"),
            ("100644", "..", "x", "has a file with the name"),
            ("100644", ".git", "x", "has a file with the name"),
            ("100644", ".GIT ", "x", "has a file with the name"),
            ("100644", "a\nb", "x", "has a file with the name"),
            ("100644", "a\x1b[2Jb", "x", "has a file with the name"),
        ]
    ):  # fmt: skip
        publish(mode, name, content)
        root = tmp_path / str(number)
        root.mkdir()
        with pytest.raises(FetchError) as caught:
            check_out(root, f"{hub.url}/lib.git")
        assert message in caught.value.message
        assert not list((root / "tree").iterdir())


def test_a_file_is_not_written_through_a_link_of_the_repository(tmp_path: Path, hub: Hub) -> None:
    """A tree with a link and a folder of one name, as git itself never makes it."""
    bare = hub.root / "lib.git"
    variables = {"PATH": os.environ["PATH"], **PLAIN}

    def made(*words: str, given: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=bare, input=given, text=True, env=variables, capture_output=True, check=True
        )
        return done.stdout.strip()

    link = made("hash-object", "-w", "--stdin", given="sub")
    file = made("hash-object", "-w", "--stdin", given="x")
    inner = made("mktree", "-z", given=f"100644 blob {file}\tb.py\0")
    tree = made(
        "mktree",
        "-z",
        given=f"120000 blob {link}\ta\0040000 tree {inner}\ta\0".replace("\0040000", "\x00040000"),
    )
    git(bare, "update-ref", "refs/heads/main", git(bare, "commit-tree", tree, "-m", "x"))
    with pytest.raises(FetchError, match="cannot be written"):
        check_out(tmp_path, f"{hub.url}/lib.git")
    assert not (tmp_path / "tree/sub").exists()


def test_a_login_goes_to_its_own_host_and_not_along_a_redirect(tmp_path: Path, hub: Hub) -> None:
    with repositories.serving(tmp_path / "other") as other:
        other.make("lib", {"a.py": "2"})
        hub.moved["/lib.git"] = f"{other.url.replace('127.0.0.1', 'localhost')}/lib.git"
        tree, _ = check_out(tmp_path, f"{hub.url}/lib.git", login=("me", "secret"))
        assert (tree / "a.py").read_text() == "2"
        assert other.seen
        assert {login for _, login in other.seen} == {None}
        # Where the first host has asked for the login already,
        hub.login = ("me", "secret")
        other.seen.clear()
        first = tmp_path / "first"
        first.mkdir()
        with pytest.raises(FetchError):
            check_out(first, f"{hub.url}/lib.git", login=("me", "secret"))
        assert {login for _, login in other.seen} == {None}
        # and where the other host asks for one, it gets none.
        hub.login, other.login = None, ("me", "secret")
        other.seen.clear()
        second = tmp_path / "second"
        second.mkdir()
        with pytest.raises(FetchError, match="wants a login"):
            check_out(second, f"{hub.url}/lib.git", login=("me", "secret"))
        assert {login for _, login in other.seen} == {None}


@pytest.mark.parametrize("target", ["file:///etc/", "ext::sh -c touch% ran", "ftp://127.0.0.1:9/"])
def test_a_redirect_leads_to_no_other_protocol(tmp_path: Path, hub: Hub, target: str) -> None:
    hub.moved["/lib.git"] = target
    with pytest.raises(FetchError) as caught:
        check_out(tmp_path, f"{hub.url}/lib.git")
    assert caught.value.hint
    assert not (tmp_path / "work/ran").exists()


def test_gits_own_protocols_are_closed(tmp_path: Path) -> None:
    for url in ("file:///srv/x.git", "ext::sh -c 'touch ran'", "git://127.0.0.1:9/x", "http://127.0.0.1:9/x"):
        root = tmp_path / url[:4]
        root.mkdir()
        with pytest.raises(
            FetchError, match="leads to a protocol" if "http" not in url else "cannot be fetched"
        ):
            check_out(root, url)
    assert not list(tmp_path.rglob("ran"))


def test_git_gets_nothing_of_this_process_that_steers_it(tmp_path: Path, hub: Hub) -> None:
    mark = tmp_path / "ran"
    steering = {
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_WORK_TREE": str(tmp_path),
        "GIT_TRACE": str(mark),
        "GIT_PROXY_COMMAND": f"touch {mark}",
        "GIT_EXTERNAL_DIFF": f"touch {mark}",
        "GIT_ASKPASS": "/bin/echo",
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor=touch {mark}'",
        "LD_PRELOAD": "/nowhere.so",
    }
    tree, _ = check_out(tmp_path, f"{hub.url}/lib.git", environment=steering)
    assert (tree / "a.py").read_text() == "1"
    assert not mark.exists()


def test_a_login_is_in_no_message(tmp_path: Path, hub: Hub) -> None:
    hub.login = ("me", "other")
    with pytest.raises(FetchError) as caught:
        check_out(tmp_path, f"{hub.url}/lib.git", login=("me", "s3cret-word"))
    assert "s3cret-word" not in f"{caught.value.message} {caught.value.hint}"


def test_a_commit_has_a_bounded_size() -> None:
    repository = Repository("https://h.invalid/x.git")
    name = "a" * 40
    large = f"100644 blob {name} {1 << 31}\tx\0".encode()
    many = b"".join(f"100644 blob {name} 0\t{number}\0".encode() for number in range(100_001))
    for listed in (large, many):
        with pytest.raises(FetchError, match="has more than 100,000 files or 1 GB"):
            _entries(listed, repository)


def test_a_fetch_writes_a_bounded_size(tmp_path: Path, hub: Hub) -> None:
    hub.make("lib", {"big": os.urandom(1 << 18)})
    with pytest.raises(FetchError) as caught:
        check_out(tmp_path, f"{hub.url}/lib.git", largest=1 << 16)
    assert "is larger than" in caught.value.message
    assert not list((tmp_path / "tree").iterdir())


def trees_in_trees(bare: Path, leaf: str, levels: int) -> None:
    """Publish a tree of ten entries that all lead to one tree of ten entries, and so on down to the object `leaf`."""
    variables = {"PATH": os.environ["PATH"], **PLAIN}
    kind, name = leaf.split()
    for _ in range(levels):
        mode = "040000" if kind == "tree" else "100644"
        entries = "".join(f"{mode} {kind} {name}\t{number}\n" for number in range(10))
        name = subprocess.run(
            ["git", "mktree"],
            cwd=bare,
            input=entries,
            text=True,
            env=variables,
            capture_output=True,
            check=True,
        ).stdout.strip()
        kind = "tree"
    git(bare, "update-ref", "refs/heads/main", git(bare, "commit-tree", name, "-m", "x"))


@pytest.mark.parametrize("kind", ["blob", "tree"])
def test_a_small_repository_of_very_many_files_is_refused_as_they_are_listed(
    tmp_path: Path, hub: Hub, kind: str
) -> None:
    bare = hub.root / "lib.git"
    blob = git(bare, "rev-parse", "main:a.py")
    empty = git(bare, "hash-object", "-w", "-t", "tree", os.devnull)
    trees_in_trees(bare, f"blob {blob}" if kind == "blob" else f"tree {empty}", 30)
    with pytest.raises(FetchError, match="more than 100,000 files"):
        check_out(tmp_path, f"{hub.url}/lib.git")
    assert not list((tmp_path / "tree").iterdir())


def test_a_repository_does_not_fill_the_disk(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(StoreError, match="is full but for"):
        check_out(tmp_path, f"{hub.url}/lib.git", headroom=Headroom(tmp_path, 1 << 60))
    assert not list((tmp_path / "tree").iterdir())


def test_what_git_complains_is_bounded(tmp_path: Path) -> None:
    """A program in git's place, which complains for ever of what a server says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text(
        "#!/bin/sh\nhead -c 50000000 /dev/zero >&2\necho 'fatal: the end' >&2\nexit 1\n"
    )
    (programs / "git").chmod(0o755)
    tracemalloc.start()
    try:
        with pytest.raises(_Failed, match="fatal: the end"):
            check_out(
                tmp_path, "https://h.invalid/x.git", environment={"PATH": f"{programs}:{os.environ['PATH']}"}
            )
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
