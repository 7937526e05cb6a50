from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from corten.build.debian_base import kept, place_base, place_system, stdlib_directories
from corten.errors import BuildError, FormatError
from corten.packages.debian.tree import walk
from corten.packages.files import Deb
from debian_parts import Entries, File, HardLink, Link, written

AWK = """#!/bin/sh
set -e
# update-alternatives --install /usr/bin/commented commented /bin/x 1
if [ "$1" = configure ]; then
    update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \\
        --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/mawk.1.gz \\
        --slave /usr/bin/nawk nawk /usr/bin/mawk
    update-alternatives --install /usr/bin/$tool $tool /usr/bin/mawk 5
    update-alternatives --install "/usr/bin/$tool" fixed /usr/bin/mawk 5
    update-alternatives --quiet --install /usr/bin/gone gone /usr/bin/nothing 1 || true
    update-alternatives --install /etc/../../evil evil /usr/bin/mawk 1
    touch /tmp/script-was-run
fi
"""


def packages(directory: Path) -> list[tuple[Deb, Path]]:
    """A small base."""
    directory.mkdir(exist_ok=True)

    def deb(name: str, files: Entries, **rest: object) -> tuple[Deb, Path]:
        return written(directory, name, files=files, **rest)

    return [
        deb(
            "base-files",
            {
                "bin": None,
                "var/run": None,
                "root": None,
                "tmp": None,
                "etc/dpkg/origins/debian": b"Vendor: Debian\n",
                "usr/lib/os-release": b'ID=debian\nVERSION_ID="12"\n',
                "etc/os-release": Link("../usr/lib/os-release"),
                "usr/share/base-files/dot.profile": b"profile\n",
                "usr/share/base-files/nsswitch.conf": b"hosts: files dns\n",
                "usr/share/doc/base-files/copyright": b"(c)\n",
                "usr/share/doc/base-files/changelog.gz": b"long\n",
                "usr/share/man/man1/x.1.gz": b"manual\n",
            },
        ),
        deb("dash", {"bin/dash": File(b"dash", 0o755), "bin/sh": Link("dash")}),
        deb("mawk", {"usr/bin/mawk": File(b"mawk", 0o755)}, scripts={"postinst": AWK}, provides="awk"),
        deb(
            "gzip",
            {"bin/gunzip": File(b"g", 0o4755), "bin/uncompress": HardLink("bin/gunzip")},
            md5sums=False,
        ),
        deb(
            "ca-certificates",
            {
                "usr/share/ca-certificates/mozilla/B.crt": b"-----B-----",
                "usr/share/ca-certificates/mozilla/Főtanúsítvány.crt": b"-----U-----\n",
                "usr/share/ca-certificates/mozilla/A.crt": b"-----A-----\n",
                "usr/share/ca-certificates/README": b"no certificate",
            },
            architecture="all",
        ),
        deb("tzdata", {"usr/share/zoneinfo/Etc/UTC": b"TZif", "usr/share/zoneinfo/right/UTC": b"TZif"}),
        deb(
            "python3.11-minimal",
            {"usr/bin/python3.11": File(b"python", 0o755), "usr/lib/python3.11/os.py": b"pass\n"},
            version="3.11.2-6",
            depends="libc6 (>= 2.35)",
        ),
    ]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    tree = tmp_path / "base"
    tree.mkdir()
    place_base(packages(tmp_path / "debs"), tree, python="3.11.2")
    return tree


def test_unpacks_through_the_merged_usr(base: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        assert os.readlink(base / name) == f"usr/{name}"
    assert (base / "usr/bin/dash").read_bytes() == b"dash"
    assert os.readlink(base / "usr/bin/sh") == "dash"
    assert (base / "usr/bin/gunzip").stat().st_mode & 0o7777 == 0o755


def test_makes_what_scripts_would_have_made(base: Path) -> None:
    passwd = (base / "etc/passwd").read_text().splitlines()
    assert passwd[0] == "root:x:0:0:root:/root:/bin/sh"
    assert "nonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh" in passwd
    assert any(line.startswith("nobody:x:65534:65534:") for line in passwd)
    groups = (base / "etc/group").read_text().splitlines()
    assert {"root:x:0:", "nonroot:x:65532:", "nogroup:x:65534:", "shadow:x:42:"} <= set(groups)
    assert len((base / "etc/shadow").read_text().splitlines()) == len(passwd)
    assert all(line.split(":")[1] == "*" for line in (base / "etc/shadow").read_text().splitlines())
    assert (base / "etc/nsswitch.conf").read_bytes() == b"hosts: files dns\n"
    assert (base / "root/.profile").read_bytes() == b"profile\n"
    assert os.readlink(base / "etc/localtime") == "/usr/share/zoneinfo/Etc/UTC"
    assert os.readlink(base / "usr/bin/python3") == "python3.11"
    assert os.readlink(base / "usr/bin/python") == "python3"
    assert os.readlink(base / "var/run") == "/run"
    for name in ("resolv.conf", "hosts", "hostname"):
        assert (base / "etc" / name).read_bytes() == b""


def test_makes_the_places_that_containers_need(base: Path) -> None:
    for name in ("proc", "sys", "dev", "run", "app", "models", "opt", "home"):
        assert (base / name).stat().st_mode & 0o7777 == 0o755
    for name in ("tmp", "var/tmp", "home/nonroot", "run/lock"):
        assert (base / name).stat().st_mode & 0o7777 == 0o1777


def test_bundles_the_certificates_in_a_fixed_order(base: Path) -> None:
    bundle = (base / "etc/ssl/certs/ca-certificates.crt").read_bytes()
    assert bundle == b"-----A-----\n-----B-----\n-----U-----\n"
    assert (
        base / "etc/ca-certificates.conf"
    ).read_text() == "mozilla/A.crt\nmozilla/B.crt\nmozilla/Főtanúsítvány.crt\n"


def test_sets_alternatives_from_literal_lines_and_runs_nothing(base: Path) -> None:
    assert os.readlink(base / "usr/bin/awk") == "/etc/alternatives/awk"
    assert os.readlink(base / "etc/alternatives/awk") == "/usr/bin/mawk"
    assert os.readlink(base / "etc/alternatives/nawk") == "/usr/bin/mawk"
    assert sorted(path.name for path in (base / "etc/alternatives").iterdir()) == ["awk", "nawk"]
    assert not (base / "evil").exists()
    assert not (base / "usr/bin/$tool").is_symlink()
    assert not Path("/tmp/script-was-run").exists()
    record = (base / "var/lib/dpkg/alternatives/awk").read_text()
    assert record == "auto\n/usr/bin/awk\nnawk\n/usr/bin/nawk\n\n/usr/bin/mawk\n5\n/usr/bin/mawk\n\n"


def test_dpkg_itself_reads_the_record_of_alternatives(base: Path) -> None:
    query = ["update-alternatives", "--admindir", base / "var/lib/dpkg/alternatives", "--query", "awk"]
    output = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    assert "Alternative: /usr/bin/mawk\nPriority: 5\nSlaves:\n nawk /usr/bin/mawk\n" in output


def test_leaves_out_what_nobody_reads_and_keeps_copyright(base: Path) -> None:
    assert (base / "usr/share/doc/base-files/copyright").exists()
    assert not (base / "usr/share/doc/base-files/changelog.gz").exists()
    assert not (base / "usr/share/man").exists()
    assert not (base / "usr/share/zoneinfo/right").exists()
    assert kept("usr/share/doc/libstdc++6")
    assert kept("usr/share/doc/libstdc++6/copyright")
    assert kept("usr/share/mandriva/x")
    assert not kept("usr/share/locale/de/LC_MESSAGES/tool.mo")
    assert kept("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so")
    assert kept("usr/lib/x86_64-linux-gnu/gconv/gconv-modules")
    assert not kept("usr/lib/aarch64-linux-gnu/gconv/EBCDIC-US.so")


def test_records_every_package_as_distroless_images_do(base: Path) -> None:
    records = base / "var/lib/dpkg/status.d"
    assert len(list(records.iterdir())) == 2 * 7
    text = (records / "python3.11-minimal").read_text()
    assert text.startswith("Package: python3.11-minimal\nStatus: install ok installed\nVersion: 3.11.2-6\n")
    assert "\n with a longer text\n .\n" in text
    assert text.endswith("of two parts\n")
    for sums in records.glob("*.md5sums"):
        for line in sums.read_text().splitlines():
            digest, path = line.split("  ")
            assert hashlib.md5((base / path).read_bytes()).hexdigest() == digest
    gzip = (records / "gzip.md5sums").read_text()
    assert [line.split("  ")[1] for line in gzip.splitlines()] == ["usr/bin/gunzip", "usr/bin/uncompress"]


def fingerprint(tree: Path) -> list[tuple[str, str]]:
    found = []
    for path in walk(tree):
        at = tree / path
        status = at.lstat()
        if at.is_symlink():
            value = "link " + os.readlink(at)
        elif at.is_dir():
            value = f"directory {status.st_mode & 0o7777:o}"
        else:
            value = f"{status.st_mode & 0o7777:o} {hashlib.sha256(at.read_bytes()).hexdigest()}"
        found.append((path, value))
    return found


def test_depends_on_the_packages_alone(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere ü").mkdir()
    other = tmp_path / "elsewhere ü" / "tree"
    other.mkdir()
    before = os.umask(0o077)
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("LC_ALL", "C")
    try:
        place_base(packages(tmp_path / "elsewhere ü" / "debs"), other, python="3.11")
    finally:
        os.umask(before)
    assert fingerprint(other) == fingerprint(base)


def test_a_part_of_a_base_is_enough_to_compile_with(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "debs").mkdir()
    only = written(tmp_path / "debs", "python3.11-minimal", files={"usr/bin/python3.11": File(b"", 0o755)})
    place_base([only], tmp_path / "tree", python="3.11")
    assert (tmp_path / "tree/usr/bin/python3").is_symlink()


def test_says_where_the_standard_library_is() -> None:
    assert stdlib_directories("3.11.2") == stdlib_directories("3.11") == ("usr/lib/python3.11",)


def system(tmp_path: Path, base: Path, *added: tuple[Deb, Path]) -> Path:
    tree = tmp_path / "system"
    tree.mkdir()
    base_debs = [deb for deb, _ in packages(tmp_path / "debs")]
    place_system(list(added), tree, base_debs=base_debs, base_tree=base)
    return tree


def test_a_system_layer_holds_what_is_new(tmp_path: Path, base: Path) -> None:
    gawk = AWK.replace("mawk 5", "gawk 10").replace("mawk", "gawk")
    tree = system(
        tmp_path,
        base,
        written(tmp_path, "gawk", files={"bin/gawk": File(b"gawk", 0o755)}, scripts={"postinst": gawk}),
        written(tmp_path, "more-ca", files={"usr/share/ca-certificates/mine/C.crt": b"-----C-----\n"}),
    )
    files = {path for path in walk(tree) if not (tree / path).is_dir() or (tree / path).is_symlink()}
    assert files == {
        "etc/alternatives/awk",
        "etc/alternatives/nawk",
        "etc/ca-certificates.conf",
        "etc/ld.so.cache",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/bin/awk",
        "usr/bin/gawk",
        "usr/bin/nawk",
        "usr/share/ca-certificates/mine/C.crt",
        "var/lib/dpkg/alternatives/awk",
        "var/lib/dpkg/status.d/gawk",
        "var/lib/dpkg/status.d/gawk.md5sums",
        "var/lib/dpkg/status.d/more-ca",
        "var/lib/dpkg/status.d/more-ca.md5sums",
    }
    assert os.readlink(tree / "etc/alternatives/awk") == "/usr/bin/gawk"
    assert (tree / "var/lib/dpkg/alternatives/awk").read_text().count("/usr/bin/mawk\n5\n") == 1
    bundle = (tree / "etc/ssl/certs/ca-certificates.crt").read_bytes()
    assert bundle == b"-----C-----\n-----A-----\n-----B-----\n-----U-----\n"


def test_a_system_package_that_the_base_has_is_passed_over(tmp_path: Path, base: Path) -> None:
    tree = system(tmp_path, base, *packages(tmp_path / "debs")[:2])
    assert [path for path in walk(tree) if (tree / path).is_file()] == ["etc/ld.so.cache"]


def test_a_system_package_cannot_take_a_file_of_the_base(tmp_path: Path, base: Path) -> None:
    with pytest.raises(BuildError, match="'dash' and 'thief' both contain '/bin/dash'"):
        system(tmp_path, base, written(tmp_path, "thief", files={"bin/dash": b"mine"}))


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path, base: Path) -> None:
    deb, _ = written(tmp_path, "wanted")
    _, path = written(tmp_path, "other")
    with pytest.raises(FormatError, match=r"holds 'other' 1.0-1 instead of 'wanted' 1.0-1"):
        system(tmp_path, base, (deb, path))


def test_a_truncated_package_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    deb, path = written(tmp_path, "cut", files={"usr/lib/data": os.urandom(5000)})
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FormatError, match="is cut") as caught:
        place_base([(deb, path)], tmp_path / "tree", python="3.11")
    assert caught.value.hint
