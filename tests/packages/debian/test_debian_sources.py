from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import FetchError, UsageError
from corten.packages.debian.sources import read_sources

NO_CONFIG = Path("/nonexistent/config.toml")


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "apt" / "sources.list.d").mkdir(parents=True)
    return tmp_path / "apt"


def test_the_environment_comes_first(apt: Path, tmp_path: Path) -> None:
    (apt / "sources.list").write_text("deb http://apt.example/debian bookworm main\n")
    config = tmp_path / "config.toml"
    config.write_text(
        '[debian]\nmirror = "http://config.example/debian"\nsnapshot = "http://dated.example/"\n'
    )
    environment = {"CORTEN_DEBIAN_MIRROR": "http://one.example/debian/ http://two.example/debian"}
    found = read_sources(environment, config, apt)
    assert found.of("debian") == ("http://one.example/debian", "http://two.example/debian")
    assert found.snapshot == "http://dated.example"
    assert "CORTEN_DEBIAN_MIRROR" in found.origin
    # The security archive is not configured: it is looked for beside the main one.
    assert found.of("debian-security") == (
        "http://apt.example/debian-security",
        "http://one.example/debian-security",
        "http://two.example/debian-security",
    )


def test_the_configuration_file_comes_second(apt: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".config" / "corten").mkdir(parents=True)
    (home / ".config" / "corten" / "config.toml").write_text(
        '[debian]\nmirror = "/srv/mirror/debian"\nsecurity-mirror = "https://s.example/debian-security"\n'
    )
    found = read_sources({"HOME": str(home)}, None, apt)
    assert found.of("debian") == ("file:///srv/mirror/debian",)
    assert found.of("debian-security") == ("https://s.example/debian-security",)


def test_reads_both_forms_of_apt_sources(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "# comment\n"
        "deb-src http://src.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a.example/debian/ bookworm main # x\n"
        "deb http://ppa.example/tool nodistro main\n"
        "deb cdrom:[Debian]/ bookworm main\n"
        "deb http://a.example/debian-security bookworm-security main\n"
    )
    (apt / "sources.list.d" / "more.sources").write_text(
        "Types: deb deb-src\nURIs: https://b.example/debian\n http://c.example/debian\nSuites: trixie trixie-updates\n"
        "Components: main\nSigned-By:\n -----BEGIN PGP\n .\n -----END\n"
        "\n"
        "Enabled: no\nTypes: deb\nURIs: https://off.example/debian\nSuites: trixie\nComponents: main\n"
        "\n"
        "Types: deb\nURIs: https://b.example/debian-security\nSuites: trixie-security\nComponents: main\n"
    )
    (apt / "sources.list.d" / "ignored.save").write_text("deb http://saved.example/debian bookworm main\n")
    found = read_sources({}, NO_CONFIG, apt)
    assert found.of("debian") == (
        "http://a.example/debian",
        "https://b.example/debian",
        "http://c.example/debian",
    )
    assert found.of("debian-security")[:2] == (
        "http://a.example/debian-security",
        "https://b.example/debian-security",
    )
    assert all(
        "ppa" not in url and "off" not in url for url in found.of("debian") + found.of("debian-security")
    )


def test_follows_a_mirror_list_and_local_mirrors(apt: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(
        "# mirrors\nhttp://near.example/debian\tpriority:1\nhttps://far.example/debian\n"
    )
    (apt / "sources.list").write_text(
        f"deb mirror+file:{tmp_path}/list bookworm main\ndeb file:/srv/debian bookworm main\n"
    )
    assert set(read_sources({}, NO_CONFIG, apt).of("debian")) == {
        "http://near.example/debian",
        "https://far.example/debian",
        "file:///srv/debian",
    }


def test_says_what_to_do_without_any_mirror(apt: Path) -> None:
    with pytest.raises(FetchError, match="no mirror of the archive 'debian-security'") as caught:
        read_sources({}, NO_CONFIG, apt).of("debian-security")
    assert "CORTEN_DEBIAN_SECURITY_MIRROR" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "address", ["mirror.example", "ftp://x.example/debian", "http://", "debian", "http://a b/"]
)
def test_refuses_what_is_no_address(address: str, apt: Path) -> None:
    with pytest.raises(UsageError):
        read_sources({"CORTEN_DEBIAN_SNAPSHOT": address}, NO_CONFIG, apt)


def test_refuses_unknown_keys_with_a_suggestion(apt: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[debian]\nmirrors = "http://a.example"\n')
    with pytest.raises(UsageError, match="unknown key 'mirrors'") as caught:
        read_sources({}, config, apt)
    assert "'mirror'" in (caught.value.hint or "")
    config.write_text("[debian\n")
    with pytest.raises(UsageError, match="is not TOML"):
        read_sources({}, config, apt)


def test_broken_apt_files_are_passed_over(apt: Path) -> None:
    (apt / "sources.list").write_bytes(
        b"\xff\xfe deb deb deb\ndeb [unclosed http://x bookworm\ndeb http://ok.example/debian sid main\n"
    )
    (apt / "sources.list.d" / "bad.sources").write_text(
        " starts: wrong\n\nTypes deb\n\nTypes: deb\nURIs: http://[bad\nSuites: sid\n"
    )
    assert read_sources({}, NO_CONFIG, apt).of("debian") == ("http://ok.example/debian",)
