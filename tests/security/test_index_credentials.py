"""Where a user's credentials and files may go when a project names the places: nowhere that its user has not named."""

from __future__ import annotations

import base64
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from corten.errors import CortenError, FetchError, NotConfirmed, ProjectError, UsageError
from corten.lock.format import write_lock
from corten.lock.inputs import inputs_digest
from corten.lock.model import PlatformLock
from corten.packages.credentials import Login, Logins
from corten.packages.indexes import read_indexes
from corten.packages.requirements import read_requirements
from corten.packages.trust import Trust, origins_of, read_trust, remember
from corten.project.load import load
from support.command import Corten
from support.locks import sample_lock
from support.resolving import Desk
from support.web import Web, serving
from support.wheels import make_wheel

SECRET = "hush-hush-4711"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with serving() as good:
        yield Desk(tmp_path, good)


@pytest.fixture
def evil() -> Iterator[Web]:
    """A server that writes down what it is told."""
    with serving() as web:
        yield web


def told(web: Web) -> str:
    """Everything that a server was told, credentials in plain text."""
    words = [f"{item.path} {item.headers}" for item in web.seen]
    for item in web.seen:
        kind, _, coded = item.headers.get("authorization", "").partition(" ")
        words.append(base64.b64decode(coded).decode() if kind == "Basic" else "")
    return " ".join(words)


def corp(desk: Desk, web: Web) -> None:
    """A project that calls an index of its choice `corp`, and a user who has credentials for an index of that name."""
    desk.write(
        "pyproject.toml",
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["alpha"]\n'
        f'[[tool.uv.index]]\nname = "corp"\nurl = "{web.url}/simple"\ndefault = true\n'
        '[tool.corten]\ncommand = ["python", "x.py"]\n',
    )
    desk.environment |= {"UV_INDEX_CORP_USERNAME": "me", "UV_INDEX_CORP_PASSWORD": SECRET}


def test_credentials_of_a_named_index_go_to_no_host_that_the_project_gives_the_name(
    desk: Desk, evil: Web
) -> None:
    corp(desk, evil)
    with pytest.raises(NotConfirmed) as caught:
        desk.lock()
    assert evil.seen == []
    assert SECRET not in caught.value.message + str(caught.value.hint) + caught.value.question
    assert caught.value.hint == f"if you trust it: corten lock --trust-index {evil.url}"


def test_a_confirmed_host_gets_them_and_is_remembered_for_that_project_alone(desk: Desk) -> None:
    corp(desk, desk.good)
    desk.good.login = ("me", SECRET)
    remember(desk.folder, desk.environment, indexes=[desk.good.url])
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]
    assert read_trust(desk.root, desk.environment) == Trust()
    (kept,) = (desk.store.root / "trusted").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert SECRET not in kept.read_text()


def test_a_host_in_the_users_configuration_needs_no_question_whatever_the_project_calls_it(
    desk: Desk,
) -> None:
    corp(desk, desk.good)
    desk.good.login = ("me", SECRET)
    desk.environment["UV_INDEX"] = f"mine={desk.index}"
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url {url}/${{SECRET}}/simple",
        "--extra-index-url {url}/simple?${{SECRET}}",
        "--find-links {url}/${{SECRET}}",
        "alpha @ {url}/${{SECRET}}/alpha-1.0-py3-none-any.whl",
        "{url}/alpha-1.0-py3-none-any.whl#${{SECRET}}",
        "alpha==${{SECRET}}",
        "-r ${{SECRET}}.txt",
        "--index-url http://${{SECRET}}.{host}/simple",
        "--index-url http://me@{host}/x@${{SECRET}}@/simple",
    ],
)
def test_variables_outside_the_user_part_are_refused(desk: Desk, evil: Web, line: str) -> None:
    desk.environment |= {"SECRET": SECRET, "UV_DEFAULT_INDEX": desk.index, "CORTEN_TRUST_INDEX": evil.url}
    desk.write("requirements.txt", f"alpha\n{line.format(url=evil.url, host=evil.host)}\n")
    with pytest.raises(
        ProjectError, match=r"requirements\.txt:2: \$\{SECRET\} stands outside the user"
    ) as caught:
        desk.lock()
    assert caught.value.hint
    assert evil.seen == []


@pytest.mark.parametrize(
    "text",
    [
        'extra-index-url = ["{url}/${{HTTPS_PROXY}}/simple"]',
        'find-links = ["{url}/${{HTTPS_PROXY}}"]',
        '[[index]]\nurl = "{url}/${{HTTPS_PROXY}}/simple"',
    ],
)
def test_variables_in_uvs_configuration_of_a_project_are_refused(desk: Desk, evil: Web, text: str) -> None:
    """uv has the addresses of proxies, which may have a password."""
    desk.environment |= {
        "HTTPS_PROXY": SECRET,
        "UV_DEFAULT_INDEX": desk.index,
        "CORTEN_TRUST_INDEX": evil.url,
    }
    desk.write("requirements.txt", "alpha\n")
    desk.write("uv.toml", text.format(url=evil.url) + "\n")
    with pytest.raises(ProjectError, match="stands outside the user and password"):
        desk.lock()
    assert evil.seen == []


@pytest.mark.parametrize(
    "line", ["--index-url {}/simple\nalpha", "alpha @ {}/files/alpha-1.0-py3-none-any.whl"]
)
def test_variables_in_the_user_part_need_a_host_that_the_user_names(desk: Desk, line: str) -> None:
    desk.good.login = ("me", SECRET)
    desk.environment["TOKEN"] = SECRET
    desk.write("requirements.txt", line.format(desk.good.url.replace("//", "//me:${TOKEN}@")) + "\n")
    with pytest.raises(NotConfirmed, match="a variable in the address"):
        desk.lock()
    assert desk.good.seen == []
    desk.environment["CORTEN_TRUST_INDEX"] = desk.good.host
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


def test_a_variable_stays_in_the_user_part_whatever_it_holds(tmp_path: Path) -> None:
    """`TOKEN` with a slash or an @ in it would choose another host if it were put into the text of the address."""
    file = tmp_path / "requirements.txt"
    file.write_text("--index-url https://${TOKEN}@good.example/simple\n")
    environment = {
        "HOME": str(tmp_path),
        "TOKEN": "x@evil.example/?",
        "PIP_INDEX_URL": "https://good.example/s",
        "PIP_CONFIG_FILE": os.devnull,
    }
    found = read_indexes(tmp_path, environment).with_requirements(read_requirements([file]))
    assert found.default is not None
    assert found.default.url == "https://good.example/simple"
    assert found.logins.for_url(found.default.url) == ("x@evil.example/?", "")
    assert found.logins.for_url("https://evil.example/simple") is None


@pytest.mark.parametrize(
    "way",
    ["pip.conf", "PIP_INDEX_URL", "UV_INDEX_URL", "variables", "netrc", "uv.toml", "links page", "extra"],
)
def test_what_a_user_has_set_up_works_without_a_question(desk: Desk, way: str) -> None:
    desk.good.login = ("me", SECRET)
    address = f"{desk.good.with_login('me', SECRET)}/simple"
    environment = desk.environment
    desk.write("requirements.txt", "alpha\n")
    if way == "pip.conf":
        del environment["PIP_CONFIG_FILE"]
        path = desk.home / ".config/pip/pip.conf"
        path.parent.mkdir(parents=True)
        path.write_text(f"[global]\nindex-url = {address}\n")
    elif way in {"PIP_INDEX_URL", "UV_INDEX_URL"}:
        environment[way] = address
    elif way == "variables":
        environment |= {
            "UV_DEFAULT_INDEX": f"c={desk.index}",
            "UV_INDEX_C_USERNAME": "me",
            "UV_INDEX_C_PASSWORD": SECRET,
        }
    elif way == "netrc":
        environment["UV_DEFAULT_INDEX"] = desk.index
        desk.netrc("127.0.0.1", "me", SECRET)
    elif way == "uv.toml":
        path = desk.home / ".config/uv/uv.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f'[[index]]\nurl = "{address}"\ndefault = true\n')
    elif way == "extra":
        environment |= {"PIP_EXTRA_INDEX_URL": address, "UV_DEFAULT_INDEX": desk.index}
    else:
        desk.good.files["/links"] = (
            b'<a href="/files/alpha-1.0-py3-none-any.whl">alpha-1.0-py3-none-any.whl</a>'
        )
        desk.good.types["/links"] = "text/html"
        environment |= {"PIP_FIND_LINKS": f"{desk.good.with_login('me', SECRET)}/links", "PIP_NO_INDEX": "1"}
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


def test_the_users_own_folder_of_wheels_needs_no_question(desk: Desk) -> None:
    desk.environment |= {"PIP_FIND_LINKS": str(desk.root / "pool"), "PIP_NO_INDEX": "1"}
    desk.write("requirements.txt", f"--find-links {desk.root}/pool\nalpha\n")
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


def test_the_users_own_index_on_the_disk_needs_no_question(desk: Desk) -> None:
    """Its pages link to files beside it, as mirrors are laid out."""
    mirror = desk.root / "mirror"
    (mirror / "simple/alpha").mkdir(parents=True)
    (desk.root / "pool").rename(mirror / "files")
    (mirror / "simple/alpha/index.html").write_text(
        '<a href="../../files/alpha-1.0-py3-none-any.whl">alpha-1.0-py3-none-any.whl</a>'
    )
    desk.environment["PIP_INDEX_URL"] = (mirror / "simple").as_uri()
    desk.write("requirements.txt", "alpha\n")
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


def test_a_redirect_to_another_host_gets_none_of_the_indexs_credentials(desk: Desk, evil: Web) -> None:
    """The user's own index, which is logged in to, sends uv and Corten elsewhere for its files."""
    desk.good.login = ("me", SECRET)
    wheel = (desk.root / "pool/alpha-1.0-py3-none-any.whl").read_bytes()
    evil.files["/alpha-1.0-py3-none-any.whl"] = evil.files["/away"] = wheel
    desk.environment |= {
        "UV_DEFAULT_INDEX": f"{desk.good.with_login('me', SECRET)}/simple",
        "CORTEN_TRUST_INDEX": evil.url,
    }
    desk.write("requirements.txt", "alpha\n")
    desk.good.misbehave["/files/alpha-1.0-py3-none-any.whl"] = lambda handler, _: (
        handler.reply(302, b"", {"Location": f"{evil.url}/away"}) is None
    )
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]
    assert evil.asked("/away")
    assert SECRET not in told(evil)
    assert SECRET in told(desk.good)


def test_files_on_another_host_get_that_hosts_credentials(desk: Desk, evil: Web) -> None:
    """An index without a login, whose files are on a host that the user names: uv reads their metadata there, too."""
    page = desk.good.files["/simple/alpha/"].replace(b'href="/files', f'href="{evil.url}/files'.encode())
    desk.good.files["/simple/alpha/"] = page
    evil.files["/files/alpha-1.0-py3-none-any.whl"] = (
        desk.root / "pool/alpha-1.0-py3-none-any.whl"
    ).read_bytes()
    evil.login = ("me", SECRET)
    desk.environment["UV_DEFAULT_INDEX"] = desk.index
    desk.netrc("127.0.0.1", "me", SECRET)
    desk.write("requirements.txt", "alpha\n")
    with pytest.raises(CortenError):  # another port than the index's, and than https has
        desk.lock()
    assert SECRET not in told(evil)
    desk.environment["CORTEN_TRUST_INDEX"] = evil.url
    assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("url", "environment", "sent"),
    [
        ("https://corp.example/s", {}, True),
        ("http://corp.example/s", {}, False),
        ("http://corp.example/s", {"PIP_TRUSTED_HOST": "corp.example"}, True),
        ("http://corp.example/s", {"UV_INSECURE_HOST": "other.example"}, False),
        ("http://127.0.0.1:8080/s", {}, True),
        ("http://localhost/s", {}, True),
        ("http://127.0.0.1.evil.example/s", {}, False),
    ],
)
def test_credentials_are_not_sent_over_plain_http(
    tmp_path: Path, url: str, environment: dict[str, str], sent: bool
) -> None:
    address = url.replace("//", f"//me:{SECRET}@")
    found = read_indexes(
        None, {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": address, **environment}
    )
    if sent:
        assert found.logins.for_url(url) == ("me", SECRET)
        assert SECRET in found.uv_toml()
        return
    for call in (lambda: found.logins.for_url(url), found.uv_toml):
        with pytest.raises(FetchError, match="not sent over plain http") as caught:
            call()
        assert SECRET not in caught.value.message


def test_netrc_and_keyring_answer_for_https_and_for_hosts_that_the_user_names(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine corp.example login me password {SECRET}\n")
    logins = Logins(environment={"HOME": str(tmp_path)})
    assert logins.for_url("https://corp.example/simple") == ("me", SECRET)
    for url in (
        "https://corp.example:8443/simple",
        "http://corp.example/simple",
        "https://corp.example.evil/simple",
    ):
        assert logins.for_url(url) is None
    named = Logins(environment={"HOME": str(tmp_path)}, named=frozenset({("https", "corp.example:8443")}))
    assert named.for_url("https://corp.example:8443/simple") == ("me", SECRET)


def test_a_project_can_neither_call_the_keyring_nor_waive_certificates_of_the_users_hosts(
    tmp_path: Path,
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (root / "uv.toml").write_text(
        'keyring-provider = "subprocess"\nallow-insecure-host = ["corp.example", "corp.example:443", "other.example"]\n'
    )
    (root / "requirements.txt").write_text("--trusted-host corp.example\n")
    environment = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"https://me:{SECRET}@corp.example/s",
    }
    found = read_indexes(root, environment).with_requirements(read_requirements([root / "requirements.txt"]))
    assert not found.keyring
    assert "keyring" not in found.uv_toml()
    assert not {"corp.example"} & found.insecure


@pytest.mark.parametrize(
    ("own", "written"),
    [
        ("corp.example", "https://corp.example"),
        ("corp.example:8443", "CORP.example:8443"),
        ("corp.example:8443", "https://corp.example:8443/"),
        ("corp.example:8443", "corp.example"),
        ("[fd00::1]:8443", "[fd00::1]"),
    ],
)
def test_no_spelling_of_a_host_waives_certificates_of_the_users(
    tmp_path: Path, own: str, written: str
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    environment = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"https://me:{SECRET}@{own}/s",
    }
    (root / "requirements.txt").write_text(f"--trusted-host {written}\n")
    read = read_requirements([root / "requirements.txt"])
    assert read_indexes(root, environment).with_requirements(read).insecure == frozenset()
    (root / "uv.toml").write_text(f'allow-insecure-host = ["{written}"]\n')
    assert read_indexes(root, environment).insecure == frozenset()


@pytest.mark.parametrize("written", ["*", "http*", "*.example", "a,b", "h:x", "user@h"])
def test_a_project_waives_certificates_of_single_hosts_alone(tmp_path: Path, written: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"--trusted-host {written}\n")
    indexes = read_indexes(tmp_path, {"HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="not a host"):
        indexes.with_requirements(read_requirements([tmp_path / "requirements.txt"]))
    (tmp_path / "uv.toml").write_text(f'allow-insecure-host = ["{written}"]\n')
    with pytest.raises(UsageError, match="not a host"):
        read_indexes(tmp_path, {"HOME": str(tmp_path)})


def test_netrc_does_not_answer_where_the_project_waives_certificates(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine corp.example login me password {SECRET}\n")
    (tmp_path / "requirements.txt").write_text("-i https://corp.example/s\n--trusted-host corp.example:443\n")
    found = read_indexes(tmp_path, {"HOME": str(tmp_path)})
    assert SECRET in found.logins.with_login("https://corp.example/s")
    found = found.with_requirements(read_requirements([tmp_path / "requirements.txt"]))
    assert SECRET not in found.uv_toml()
    assert found.logins.for_url("https://corp.example/s") is None


def test_logins_of_a_project_reach_its_own_host_only() -> None:
    logins = Logins((Login("https://h.example/simple", "a", "b"),))
    assert logins.for_url("https://h.example/files/x") == ("a", "b")
    assert logins.for_url("https://h.example:444/files/x") is None


def outside(desk: Desk, way: str) -> None:
    """A project that reads a file of the user's by one of several ways."""
    secret = desk.root / "secret.txt"
    secret.write_text(f"{SECRET}\n")
    desk.write("requirements.txt", "alpha\n")
    if way == "included":
        desk.write("requirements.txt", "alpha\n-r ../secret.txt\n")
    elif way == "absolute":
        desk.write("requirements.txt", f"alpha\n-r file://{secret}\n")
    elif way == "constraint":
        desk.write("requirements.txt", "alpha\n-c ../secret.txt\n")
    elif way == "nested":
        desk.write("requirements.txt", "-r sub/more.txt\n")
        desk.write("sub/more.txt", "-c ../../secret.txt\n")
    elif way == "through a folder":
        (desk.folder / "up").symlink_to(desk.root)
        desk.write("requirements.txt", "-r up/secret.txt\n")
    elif way == "setting":
        desk.write("pyproject.toml", '[tool.corten]\nrequirements = "up.txt"\ncommand = ["python"]\n')
        (desk.folder / "up.txt").symlink_to(secret)
    else:
        (desk.folder / "requirements.txt").unlink()
        (desk.folder / "requirements.txt").symlink_to(secret)


WAYS = ["included", "absolute", "constraint", "nested", "through a folder", "setting", "link"]


@pytest.mark.parametrize("way", WAYS)
def test_files_outside_the_project_are_not_read(desk: Desk, way: str) -> None:
    desk.environment["UV_DEFAULT_INDEX"] = desk.index
    outside(desk, way)
    with pytest.raises(NotConfirmed) as caught:
        desk.lock()
    assert caught.value.place == str(desk.root / "secret.txt")
    assert SECRET not in caught.value.message + str(caught.value.hint) + caught.value.question
    assert desk.good.seen == []


def test_an_outside_file_that_the_user_names_is_read(desk: Desk) -> None:
    desk.environment |= {"UV_DEFAULT_INDEX": desk.index}
    (desk.root / "common.txt").write_text("alpha\n")
    desk.write("requirements.txt", "-r ../common.txt\n")
    project = load(desk.folder)
    with pytest.raises(NotConfirmed):
        inputs_digest(project)
    remember(desk.folder, os.environ | desk.environment, paths=[str(desk.root / "common.txt")])
    before = dict(os.environ)
    os.environ["CORTEN_HOME"] = desk.environment["CORTEN_HOME"]
    try:
        assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("requirements.txt", "--find-links {root}/pool\nalpha\n"),
        ("requirements.txt", "{root}/pool/alpha-1.0-py3-none-any.whl\n"),
        ("requirements.txt", "alpha @ file://{root}/pool/alpha-1.0-py3-none-any.whl\n"),
        ("requirements.txt", "--index-url file://{root}/pool\nalpha\n"),
        ("uv.toml", 'find-links = ["{root}/pool"]\n'),
        ("uv.toml", 'override-dependencies = ["alpha @ file://{root}/pool/alpha-1.0-py3-none-any.whl"]\n'),
    ],
)
def test_wheels_outside_the_project_are_not_taken(desk: Desk, file: str, text: str) -> None:
    desk.environment["UV_DEFAULT_INDEX"] = desk.index
    desk.write("requirements.txt", "alpha\n")
    desk.write(file, text.format(root=desk.root))
    with pytest.raises(NotConfirmed, match="outside the project"):
        desk.lock()
    desk.environment["CORTEN_TRUST_PATH"] = str(desk.root / "pool")
    if "index-url" not in text:
        assert desk.lock() == ["alpha-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.toml"])
def test_configuration_that_is_a_link_out_of_the_project_is_refused(desk: Desk, name: str) -> None:
    other = desk.root / "other.toml"
    other.write_text(f'secret = "{SECRET}')
    (desk.folder / name).unlink(missing_ok=True)
    (desk.folder / name).symlink_to(other)
    desk.write("requirements.txt", "alpha\n")
    with pytest.raises(UsageError, match="a link that leads out of the project") as caught:
        desk.lock()
    assert SECRET not in caught.value.message


def test_uv_lock_that_is_a_link_out_of_the_project_is_refused(desk: Desk) -> None:
    (desk.root / "other.lock").write_text(f"version = 1\n# {SECRET}\n")
    desk.write(
        "pyproject.toml", '[project]\nname = "demo"\nversion = "1"\n[tool.corten]\ncommand = ["python"]\n'
    )
    (desk.folder / "uv.lock").symlink_to(desk.root / "other.lock")
    with pytest.raises(NotConfirmed, match="a link that leads out of the project"):
        inputs_digest(load(desk.folder))


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("pypi.corp", [("https", "pypi.corp")]),
        ("pypi.corp:8443", [("https", "pypi.corp:8443")]),
        ("https://me:x@PyPI.corp:443/simple", [("https", "pypi.corp")]),
        ("http://pypi.corp", [("http", "pypi.corp")]),
        ("127.0.0.1:3141", [("https", "127.0.0.1:3141"), ("http", "127.0.0.1:3141")]),
    ],
)
def test_what_a_confirmation_names(text: str, origins: list[tuple[str, str]]) -> None:
    assert origins_of(text) == origins


@pytest.mark.parametrize("text", ["", "a b", "ftp://h", "https://", "h:x", "*"])
def test_a_confirmation_that_names_no_host(text: str) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        origins_of(text)


def command(desk: Desk) -> Corten:
    """The command, in a project whose base is settled, so that no Debian mirror is needed."""
    sample = sample_lock(platforms=1)
    parts = tuple(PlatformLock(part.platform, part.base) for part in sample.platforms)
    write_lock(desk.folder / "corten.lock", replace(sample, platforms=parts))
    desk.write("pyproject.toml", '[tool.corten]\ncommand = ["python", "x.py"]\nplatforms = ["linux/amd64"]\n')
    (desk.root / "common.txt").write_text("alpha\n")
    desk.write("requirements.txt", "-r ../common.txt\n")
    return Corten(desk.store.root, {**desk.environment, "UV_DEFAULT_INDEX": desk.index})


def test_the_command_names_the_flag_and_remembers_it(desk: Desk) -> None:
    corten = command(desk)
    flag = f"--trust-path {desk.root / 'common.txt'}"
    refused = corten("lock", desk.folder, code=1)
    assert f"hint: if you trust it: corten lock {flag}" in refused.stderr
    assert "does not exist" in corten("lock", desk.folder, "--trust-path", desk.root / "none", code=2).stderr
    assert "added alpha 1.0" in corten("lock", desk.folder, *flag.split()).stderr
    assert "up to date" in corten("lock", desk.folder, "--check").stderr


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_asked_once(desk: Desk, answer: str) -> None:
    corten = command(desk)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        corten.command("lock", desk.folder),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=corten.variables(),
    )
    os.close(terminal)
    said = b""
    with suppress(OSError):  # which is how a terminal ends whose other side is closed
        while piece := os.read(controller, 4096):
            if b"[y/N]" in piece:
                os.write(controller, f"{answer}\n".encode())
            said += piece
    os.close(controller)
    assert process.wait() == (0 if answer == "y" else 1), said
    assert said.count(b"[y/N]") == 1
    assert (b"--trust-path" in said) == (answer == "n")
    assert bool(list((desk.store.root / "trusted").glob("*.json"))) == (answer == "y")


def test_every_error_is_one_of_cortens(desk: Desk, evil: Web) -> None:
    for text in ("--index-url http://[::1\nalpha\n", "--find-links http://h:x/\nalpha\n"):
        desk.write("requirements.txt", text)
        with pytest.raises(CortenError):
            desk.lock()
    make_wheel(desk.root / "unused", "x")
    assert evil.seen == []
