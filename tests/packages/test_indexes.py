"""What uv's and pip's configuration say together, and that no credential gets out."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from corten.errors import CortenError, FetchError, UsageError
from corten.packages.credentials import Login, Logins, split_login
from corten.packages.indexes import Index, Indexes, read_indexes
from corten.packages.requirements import read_requirements


def read(tmp_path: Path, root: Path | None = None, **environment: str) -> Indexes:
    return read_indexes(
        root, {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "etc"), **environment}
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pip_files_and_variables_by_their_strength(tmp_path: Path) -> None:
    write(tmp_path / "etc/pip/pip.conf", "[global]\nindex-url = https://shared/simple\ntimeout = 60\n")
    assert read(tmp_path).default == Index("https://shared/simple", default=True)
    write(tmp_path / ".pip/pip.conf", "[global]\nindex_url = https://legacy/simple\n")
    assert read(tmp_path).default == Index("https://legacy/simple", default=True)
    write(
        tmp_path / ".config/pip/pip.conf",
        "[global]\nindex-url = https://user/simple\nextra-index-url =\n    https://a/simple\n    https://b/simple\n"
        "[install]\nfind-links = ~/wheels https://page/links.html\ntrusted-host = a b:8080\n",
    )
    found = read(tmp_path)
    assert found.default == Index("https://user/simple", default=True)
    assert [index.url for index in found.extra] == ["https://a/simple", "https://b/simple"]
    assert found.find_links == (f"{os.path.expanduser('~')}/wheels", "https://page/links.html")
    assert found.insecure == {"a", "b:8080"}
    assert found.settings["index-strategy"] == "unsafe-best-match"
    chosen = write(tmp_path / "chosen.conf", "[global]\nindex-url = https://chosen/simple\ncert = /ca.pem\n")
    found = read(tmp_path, PIP_CONFIG_FILE=str(chosen))
    assert found.default == Index("https://chosen/simple", default=True)
    assert found.certificates == Path("/ca.pem")
    assert found.network().certificates == Path("/ca.pem")
    assert read(tmp_path, PIP_CONFIG_FILE=str(chosen), PIP_INDEX_URL="https://env/simple").default == Index(
        "https://env/simple", default=True
    )
    assert read(tmp_path, PIP_CONFIG_FILE=os.devnull).default is None
    assert read(tmp_path, PIP_NO_INDEX="1").no_index
    assert not read(tmp_path, PIP_NO_INDEX="false").no_index


def test_uv_files_and_variables_come_before_pips(tmp_path: Path) -> None:
    project = tmp_path / "project"
    write(
        tmp_path / ".config/uv/uv.toml", 'index-url = "https://user/simple"\nfind-links = ["/user/wheels"]\n'
    )
    write(
        project / "pyproject.toml",
        '[[tool.uv.index]]\nname = "corp"\nurl = "https://corp/simple"\nexplicit = true\n'
        '[tool.uv]\nfind-links = ["own/wheels"]\nconstraint-dependencies = ["x<2"]\nindex-strategy = "first-index"\n'
        '[tool.uv.pip]\nprerelease = "allow"\npython-version = "3.9"\n',
    )
    found = read(
        tmp_path, project, PIP_INDEX_URL="https://pip/simple", PIP_EXTRA_INDEX_URL="https://extra/simple"
    )
    assert found.default == Index("https://user/simple", default=True)
    assert found.extra == (Index("https://corp/simple", "corp", explicit=True), Index("https://extra/simple"))
    assert found.find_links == (str(project / "own/wheels"), "/user/wheels")
    settings = tomllib.loads(found.uv_toml())
    assert settings["index-strategy"] == "first-index"
    assert settings["constraint-dependencies"] == ["x<2"]
    assert settings["prerelease"] == "allow"
    assert "python-version" not in settings
    assert settings["index"] == [
        {"name": "corp", "url": "https://corp/simple", "explicit": True},
        {"url": "https://extra/simple"},
        {"url": "https://user/simple", "default": True},
    ]
    found = read(
        tmp_path,
        project,
        UV_DEFAULT_INDEX="main=https://env/simple",
        UV_INDEX="https://one/s two=https://two/s",
    )
    assert found.default == Index("https://env/simple", "main", default=True)
    assert found.extra[:2] == (Index("https://one/s"), Index("https://two/s", "two"))
    assert read(tmp_path, project, UV_CONFIG_FILE=str(write(tmp_path / "x.toml", "no-index = true"))).no_index
    assert read(tmp_path, project, UV_NO_CONFIG="1").default is None


def test_without_any_configuration_uv_decides(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert found.default is None
    assert found.uv_toml().strip() == ""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".config/pip/pip.conf", "index-url = https://me:hush-hush@host/simple"),
        (".config/pip/pip.conf", "[global]\nx\n  hush-hush"),
        (".config/uv/uv.toml", 'index-url = "https://me:hush-hush@host'),
    ],
)
def test_a_damaged_file_is_named_and_not_quoted(tmp_path: Path, file: str, text: str) -> None:
    path = write(tmp_path / file, text)
    with pytest.raises(UsageError, match=path.name) as caught:
        read(tmp_path)
    assert "hush-hush" not in caught.value.message


def test_what_uv_alone_knows_of_an_index_is_handed_on(tmp_path: Path) -> None:
    text = '[[index]]\nurl = "https://own/simple"\ncache-control = { api = "max-age=5" }\nformat = "flat"\n'
    write(tmp_path / ".config/uv/uv.toml", text)
    assert tomllib.loads(read(tmp_path).uv_toml()) == tomllib.loads(text)


def test_credentials_are_taken_out_of_addresses(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        PIP_INDEX_URL="https://me:hush%40hush@host:8443/simple/",
        UV_INDEX="b=https://token@b.host/s",
    )
    assert found.default == Index("https://host:8443/simple/", default=True)
    assert "hush" not in repr(found)
    assert "token" not in repr(found)
    assert found.logins.for_url("https://host:8443/files/x.whl") == ("me", "hush@hush")
    assert found.logins.for_url("https://host/simple/") is None
    assert found.logins.for_url("http://host:8443/simple/") is None
    assert found.logins.for_url("https://b.host/s/x/") == ("token", "")
    text = found.uv_toml()
    assert "https://me:hush%40hush@host:8443/simple/" in text
    assert found.redacted("at https://me:hush%40hush@host/x: hush@hush") == "at https://host/x: ****"
    assert "hush" not in str(found.uv_environment().get("UV_DEFAULT_INDEX"))


def test_credentials_of_a_named_index(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        UV_INDEX="my-corp.x=https://corp/simple",
        UV_INDEX_MY_CORP_X_USERNAME="me",
        UV_INDEX_MY_CORP_X_PASSWORD="hush-hush",
    )
    assert found.logins.for_url("https://corp/files/a.whl") == ("me", "hush-hush")


def test_the_longest_path_wins() -> None:
    logins = Logins((Login("https://h/a", "a", "1"), Login("https://h/a/b", "b", "2")))
    assert logins.for_url("https://h/a/b/c") == ("b", "2")
    assert logins.for_url("https://h/a/x") == ("a", "1")
    assert logins.for_url("https://H/files/x") == ("a", "1")
    assert logins.for_url("https://h.evil/a") is None
    assert logins.for_url("file:///h/a") is None


def test_netrc_answers_for_its_hosts_only(tmp_path: Path) -> None:
    write(tmp_path / ".netrc", "machine corp login me password hush-hush\ndefault login x password y\n")
    logins = read(tmp_path).logins
    assert logins.for_url("https://corp/simple") == ("me", "hush-hush")
    assert logins.for_url("https://corp:443/simple") == ("me", "hush-hush")
    assert logins.for_url("https://other/simple") is None
    # An entry has no port and no scheme: for others the user names the index.
    for address in ("https://corp:8080/simple", "http://corp/simple"):
        assert logins.for_url(address) is None
    named = read(tmp_path, UV_INDEX="https://corp:8080/simple").logins
    assert named.for_url("https://corp:8080/files/x.whl") == ("me", "hush-hush")
    other = write(tmp_path / "elsewhere", "machine corp login you password pst\n")
    assert read(tmp_path, NETRC=str(other)).logins.for_url("https://corp/") == ("you", "pst")
    broken = write(tmp_path / "broken", "machine corp login me hush-hush\n")
    with pytest.raises(FetchError, match=r"broken' cannot be understood at line \d") as caught:
        read(tmp_path, NETRC=str(broken)).logins.for_url("https://corp/")
    assert "hush-hush" not in caught.value.message


def test_the_keyring_program_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = write(
        tmp_path / "bin/keyring",
        "#!/bin/sh\n"
        'if [ "$1 $2 $3 $4" = "--mode creds get keyring.corp" ]; then printf "anna\\nopen\\n"; exit 0; fi\n'
        'if [ "$1 $2 $3" = "get https://keyring.corp me" ]; then echo sesame; exit 0; fi\nexit 1\n',
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = read(tmp_path, PIP_INDEX_URL="https://me@keyring.corp/simple", PIP_KEYRING_PROVIDER="subprocess")
    assert found.logins.for_url("https://keyring.corp/simple") == ("me", "sesame")
    found = read(tmp_path, UV_KEYRING_PROVIDER="subprocess")
    assert found.logins.for_url("https://keyring.corp/simple") == ("anna", "open")
    assert found.logins.for_url("https://unknown.corp/simple") is None
    assert read(tmp_path).logins.for_url("https://keyring.corp/simple") is None


def test_places_in_requirements_files_join(tmp_path: Path) -> None:
    file = write(
        tmp_path / "r/requirements.txt",
        "--index-url https://me:hush-hush@own/simple\n--extra-index-url https://extra/simple\n-f ../wheels\n"
        "https://files/alpha-1.0-py3-none-any.whl\nbeta @ file:///x/beta-1.0-py3-none-any.whl\n./c-1-py3-none-any.whl\n",
    )
    found = read(tmp_path, PIP_INDEX_URL="https://pip/simple").with_requirements(read_requirements([file]))
    assert found.default == Index("https://own/simple", default=True)
    assert found.extra == (Index("https://extra/simple"),)
    assert found.find_links == (str(tmp_path / "wheels"),)
    assert set(found.direct) == {
        "https://files/alpha-1.0-py3-none-any.whl",
        "file:///x/beta-1.0-py3-none-any.whl",
        (tmp_path / "r/c-1-py3-none-any.whl").as_uri(),
    }
    assert found.logins.for_url("https://own/x") == ("me", "hush-hush")


def test_the_environment_of_uv_is_what_corten_chose(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        PATH="/bin",
        PIP_CERT="/ca.pem",
        UV_CACHE_DIR="/cache",
        UV_PYTHON="3.8",
        UV_NO_BINARY="1",
        UV_INDEX_X_PASSWORD="p",
        PIP_INDEX_URL="https://a/b",
        VIRTUAL_ENV="/v",
        https_proxy="http://proxy",
    )
    environment = found.uv_environment()
    assert environment["UV_CACHE_DIR"] == "/cache"
    assert environment["https_proxy"] == "http://proxy"
    assert environment["SSL_CERT_FILE"] == "/ca.pem"
    assert environment["UV_PYTHON_DOWNLOADS"] == "never"
    assert not {"UV_PYTHON", "UV_NO_BINARY", "PIP_INDEX_URL", "VIRTUAL_ENV"} & environment.keys()


def test_splitting_a_login_keeps_the_rest() -> None:
    assert split_login("https://u:p%40@h:1/a@b?c#d") == (
        "https://h:1/a@b?c#d",
        Login("https://h:1/a@b?c#d", "u", "p@"),
    )
    for plain in ("https://h/a@b", "/path/u:p@h", "git+ssh://h/x"):
        assert split_login(plain) == (plain, None)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CortenError, match="not an address"):
        read(tmp_path, PIP_INDEX_URL="https://host:port-of-call/simple")
