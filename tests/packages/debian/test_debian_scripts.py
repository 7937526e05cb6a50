"""Maintainer scripts are read, never run: what Corten does itself, what is harmless, and what is not understood."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from corten.packages.debian import caches
from corten.packages.debian.deb import Control, control_end, read_control, read_control_of
from corten.packages.debian.scripts import actions, alternatives, needs, unclear
from corten.packages.debian.shell import Unreadable, commands
from debian_parts import make_deb


def control(
    postinst: str = "", *, name: str = "sample", files: tuple[str, ...] = (), **scripts: str
) -> Control:
    found = {key: f"#!/bin/sh\n{text}\n" for key, text in {"postinst": postinst, **scripts}.items() if text}
    return Control(f"Package: {name}\n", {"package": name}, dict.fromkeys(files, "0" * 32), found)


def reached(script: str, action: str = "configure") -> list[str]:
    return [str(command) for command in commands(script, action)]


def test_branches_for_other_times_are_left_out() -> None:
    script = """
set -e
case "$1" in
    configure) one ;;
    upgrade|abort-*) never ;;
    *) echo "called with unknown argument $1" >&2; exit 1 ;;
esac
if [ "$1" = "upgrade" ] && dpkg --compare-versions "$2" lt-nl 2.0; then never; else two; fi
[ -n "$2" ] && never
if [ "configure" = "$1" -a "x$2" != "x" ]; then never; fi
[ "$2" != "" ] && never
if dpkg --compare-versions "$2" lt 3.0; then three; fi
"""
    found = reached(script)
    assert [name for name in ("one", "two", "three", "never") if name in found] == ["one", "two", "three"]


def test_functions_loops_and_constants_are_followed() -> None:
    script = """
DIR=/var/lib/sample
unused() { never; }
make() {
  mkdir -p "$DIR"
}
make
for tool in alpha beta; do ln -s /bin/$tool /usr/bin/${tool}; done
cat > /etc/sample <<EOF
never
EOF
"""
    found = reached(script)
    assert 'mkdir -p "/var/lib/sample"' in found
    assert {"ln -s /bin/alpha /usr/bin/alpha", "ln -s /bin/beta /usr/bin/beta"} <= set(found)
    assert "never" not in found


def test_commands_that_are_substituted_count() -> None:
    assert "secretly run" in reached('[ -x "`secretly run`" ] && echo yes')
    assert "secretly run" in reached("value=$(secretly run)")


@pytest.mark.parametrize(
    "script", ["if true; then", "case x in", "echo 'open", "}", "( true", "cat <<EOF\nno end"]
)
def test_what_cannot_be_read_is_not_understood(script: str) -> None:
    with pytest.raises(Unreadable):
        commands(script, "configure")
    found = unclear(control(script))
    assert found is not None
    assert found.package == "sample"


def test_a_script_that_nests_without_end_is_refused_and_no_crash() -> None:
    assert unclear(control("(" * 100_000)) is not None
    assert unclear(control("f() { f; f; }; f")) is None


@pytest.mark.parametrize(
    "script",
    [
        "ldconfig",
        "update-rc.d sample defaults >/dev/null || true",
        "if [ -d /run/systemd/system ]; then systemctl daemon-reload >/dev/null || true; deb-systemd-invoke start x; fi",
        "# Automatically added by dh_installinit/13.11.4\nanything at all\n# End automatically added section",
        ". /usr/share/debconf/confmodule\ndb_get sample/question\ndb_stop",
        "update-alternatives --install /usr/bin/x x /usr/bin/x.sample 50",
        "for p in a b; do update-alternatives --install /usr/bin/$p $p /usr/bin/$p.sample 50; done",
        "mkdir -p /var/lib/sample\ntouch /etc/sample.conf",
        "ucf --three-way /usr/share/sample/a.conf /etc/a.conf",
        "if ! setcap cap_net_raw+ep /bin/sample; then chmod u+s /bin/sample; fi",
        "if [ -h /etc/alternatives/x -a ! -e /etc/alternatives/x ]; then rm -f /etc/alternatives/x; fi",
    ],
)
def test_what_corten_does_itself_or_is_harmless(script: str) -> None:
    assert unclear(control(script)) is None


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ("adduser --system --group sample", "adduser"),
        ("chown sample /var/lib/sample", "chown"),
        ("echo 1 > /etc/sample", "a write to /etc/sample"),
        ('update-alternatives --install /usr/bin/x x "$(find / -name x)" 50', "find"),
        ('mkdir -p "$UNKNOWN"', "mkdir"),
        ("mkdir -p /var/../../etc", "mkdir"),
        ("dpkg-divert --add /usr/bin/x", "dpkg-divert"),
        ("eval something", "eval"),
        ("'  a\n  b$//  ' x", "a b$//"),
        ("chmod 777 /bin/sample", "chmod"),
        ("rm -f /etc/alternatives/x /etc/passwd", "rm"),
        ("true && sample-setup | cat", "sample-setup"),
        (
            "# Automatically added by dh_installsysusers/13\nsystemd-sysusers sample.conf\n# End automatically added section",
            "systemd-sysusers",
        ),
    ],
)
def test_what_is_not_understood_names_the_package_and_the_command(script: str, command: str) -> None:
    found = unclear(control(script))
    assert found is not None
    assert (found.package, found.command) == ("sample", command)


def test_a_script_in_another_language_is_not_understood() -> None:
    perl = Control("", {"package": "sample"}, {}, {"postinst": "#!/usr/bin/perl\nprint 1;\n"})
    assert str(unclear(perl)) == "sample (/usr/bin/perl)"


def test_removing_files_of_older_versions_before_the_first_installation_is_harmless() -> None:
    assert unclear(control(preinst="rm -f /etc/old.conf")) is None
    assert unclear(control("rm -f /etc/old.conf")) is not None


def test_what_corten_does_in_place_of_scripts() -> None:
    found = actions(control("mkdir -p /var/lib/a\n[ -e /etc/b ] || touch /etc/b\nucf /usr/share/c /etc/c"))
    assert [(item.kind, item.path, item.source) for item in found] == [
        ("directory", "var/lib/a", ""),
        ("file", "etc/b", ""),
        ("file", "etc/c", "usr/share/c"),
    ]
    lines = alternatives(
        control("for p in a b; do update-alternatives --install /usr/bin/$p $p /usr/bin/$p.x 50; done")
    )
    assert lines == [f"update-alternatives --install /usr/bin/{p} {p} /usr/bin/{p}.x 50" for p in "ab"]


def test_packages_together_need_what_the_most_demanding_needs() -> None:
    plain = control("ldconfig", name="plain")
    touching = control("touch /etc/x", name="touching")
    fonts = control(name="fonts", files=("usr/share/fonts/truetype/a.ttf",))
    tool = control("fc-cache", name="fontconfig", files=("usr/bin/fc-cache",))
    user = control("adduser --system x", name="user")
    assert needs([plain]).mode == "none"
    assert needs([plain, fonts]).mode == "none"
    assert needs([plain, touching]).mode == "files"
    assert needs([plain, touching, fonts, tool]).mode == "caches"
    assert needs([plain, fonts, tool, user]).mode == "scripts"
    assert [str(item) for item in needs([plain, user]).unclear] == ["user (adduser)"]


def test_caches_are_made_of_sorted_files_by_the_packages_own_tools() -> None:
    folder = "usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0"
    paths = [f"{folder}/2.10.0/loaders/{name}.so" for name in "ba"] + [f"{folder}/gdk-pixbuf-query-loaders"]
    (step,) = caches.steps(paths)
    assert step.command == (
        f"/{folder}/gdk-pixbuf-query-loaders",
        *(f"/{folder}/2.10.0/loaders/{n}.so" for n in "ab"),
    )
    assert step.output == f"{folder}/2.10.0/loaders.cache"
    assert caches.steps(paths[:2]) == []


def test_control_files_are_read_from_the_beginning_of_a_package(tmp_path: Path) -> None:
    path = tmp_path / "sample.deb"
    path.write_bytes(make_deb("sample", files={"usr/share/sample": b"x" * 100_000}))
    data = path.read_bytes()
    end = control_end(data[:1000])
    assert end is not None
    assert end < len(data)
    assert read_control_of(io.BytesIO(data[:end]), "sample.deb") == read_control(path)
    assert control_end(b"not a package" * 100) is None
