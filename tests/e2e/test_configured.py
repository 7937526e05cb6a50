"""Debian packages whose scripts matter: configured in a sandbox, they work as those that apt installs, and whoever builds them gets
the same image."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.lock.format import read_lock
from corten.oci.platform import Platform
from corten.store.store import Store
from support.command import Corten
from support.runner import Plain

pytestmark = pytest.mark.e2e

Make = Callable[..., Path]

PACKAGES = (
    "default-jre-headless ffmpeg fontconfig fonts-dejavu-core gir1.2-gtk-3.0 git-lfs graphviz imagemagick "
    "libgdk-pixbuf-2.0-0 libgdk-pixbuf2.0-bin libgtk-3-0 nginx nodejs odbcinst python3-gi r-base-core redis-server "
    "shared-mime-info tesseract-ocr unixodbc xauth xvfb"
)

SMOKE = {
    "graphviz": ("echo 'digraph{a->b}' | dot -Tsvg | grep -c '<svg'", "1"),
    "default-jre-headless": ("java -version 2>&1 | grep -c '^OpenJDK 64-Bit Server VM'", "1"),
    "java's certificates": (
        'test "$(keytool -list -cacerts -storepass changeit 2>/dev/null | grep -c trustedCertEntry)" = '
        '"$(grep -c BEGIN /etc/ssl/certs/ca-certificates.crt)" && echo all',
        "all",
    ),
    "imagemagick": ("convert -size 8x8 xc:red /tmp/a.png && identify -format '%wx%h' /tmp/a.png", "8x8"),
    "r-base-core": ("Rscript -e 'cat(sum(1:10), is.function(head))'", "55 TRUE"),
    "redis-server": (
        "redis-server --port 7777 --save '' --daemonize yes >/dev/null; "
        "for i in 1 2 3 4 5 6 7 8 9; do redis-cli -p 7777 ping 2>/dev/null && break; sleep 1; done; redis-cli -p 7777 shutdown",
        "PONG",
    ),
    "redis's user": (
        "stat -c '%U:%G %a' /var/lib/redis /etc/redis/redis.conf",
        "redis:redis 750\nredis:redis 640",
    ),
    "nginx": (
        "nginx -t 2>&1 | tail -1",
        "nginx: configuration file /etc/nginx/nginx.conf test is successful",
    ),
    "nginx's sites": ("readlink -f /etc/nginx/sites-enabled/default", "/etc/nginx/sites-available/default"),
    "fontconfig": ("fc-match sans", 'DejaVuSans.ttf: "DejaVu Sans" "Book"'),
    "libgdk-pixbuf": (
        "convert -size 4x4 xc:red /tmp/a.xpm && gdk-pixbuf-csource /tmp/a.xpm | grep -c width",
        "1",
    ),
    "shared-mime-info": (
        "/usr/bin/python3 -c \"from gi.repository import Gio; print(Gio.content_type_guess('a.svg', None)[0])\"",
        "image/svg+xml",
    ),
    "GTK 3": (
        "xvfb-run -a /usr/bin/python3 -W ignore -c \"import gi; gi.require_version('Gtk', '3.0')\n"
        "from gi.repository import Gtk, GLib\nw = Gtk.Window(title='x'); w.show_all()\n"
        'GLib.timeout_add(200, Gtk.main_quit); Gtk.main(); print(w.get_visible())" 2>/dev/null',
        "True",
    ),
    "tesseract-ocr": ("tesseract --list-langs | tail -n +2 | sort | tr '\\n' ' '", "eng osd"),
    "ffmpeg": (
        "ffmpeg -v error -f lavfi -i testsrc=d=1 -c:v libx264 -y /tmp/o.mp4 && test -s /tmp/o.mp4 && echo made",
        "made",
    ),
    "git-lfs": ("git config --system filter.lfs.clean", "git-lfs clean -- %f"),
    "unixodbc": (
        "odbcinst -j | grep -c /etc/odbcinst.ini; test -f /etc/odbcinst.ini && echo there",
        "1\nthere",
    ),
    "nodejs": ("node -p 1+1; js -p 1+2", "2\n3"),
}
"""For each package a command and what it printed in a bookworm in which apt had installed the packages."""


def written(make: Make, packages: str, name: str) -> Path:
    listed = ", ".join(f'"{item}"' for item in packages.split())
    text = (
        f'[tool.corten]\nname = "{name}"\nbase = "debian:bookworm"\ncommand = ["true"]\nsystem = [{listed}]\n'
    )
    return make({"pyproject.toml": text, "main.py": ""}, name)


def for_user(plain: Plain, root: Path) -> Path:
    """The project with its lock in a folder of this user."""
    place = plain.home / root.name
    subprocess.run(["cp", "-rT", root, place], check=True)
    subprocess.run(["chown", "-R", f"{plain.user.pw_uid}:{plain.user.pw_gid}", place], check=True)
    return place


def configured(home: Path, name: str) -> str:
    """The layer of an image that has the configuration of its packages."""
    store = Store(home)
    return str(store.images.get(name, Platform.host()).config.diff_ids[2])


def test_what_scripts_need_is_said_and_refused_where_only_one_user_exists(
    corten: Corten, project: Make, plain_runners: Callable[[str], Plain]
) -> None:
    root = written(project, "redis-server", "configured-none")
    said = corten("lock", root).stderr
    assert "redis-tools (adduser)" in said
    lock = read_lock(root / "corten.lock").platforms[0]
    assert (lock.scripts, "redis-tools (adduser)" in lock.unclear) == ("scripts", True)
    assert {"dpkg", "perl-base", "debconf"} <= {deb.name for deb in lock.tools}
    assert not {"dpkg", "debconf"} & {deb.name for deb in lock.system}
    found = corten("doctor", root).stdout
    assert "redis-tools (adduser)" in found
    plain = plain_runners("none")
    place = for_user(plain, root)
    done = plain("build", place)
    assert done.returncode == 1
    assert "configured by their own scripts, which need more than one user ID" in done.stderr
    assert "redis-tools (adduser)" in done.stderr
    assert "subordinate IDs" in done.stderr


def test_two_stores_and_two_users_give_one_image(
    corten: Corten, project: Make, plain_runners: Callable[[str], Plain]
) -> None:
    root = written(project, "redis-server libpaper1 fontconfig fonts-dejavu-core", "configured")
    digest = corten.build(root)["digest"]
    plain = plain_runners("subuids")
    done = plain("build", for_user(plain, root), timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest
    one = configured(corten.home, "configured")
    assert one == configured(plain.home / "store", "configured")
    store = Store(corten.home)
    tree = next(store.layers.tree(item) for item in store.layers.all() if str(item) == one)
    assert "redis:x:207:207:" in (tree / "etc/passwd").read_text()
    assert ":19000:" in (tree / "etc/shadow").read_text()
    assert (tree / "etc/papersize").read_text() == "a4\n"
    assert list((tree / "var/cache/fontconfig").glob("*.cache-*"))
    assert not (tree / "usr/bin/dpkg").exists()
    assert not (tree / "var/lib/dpkg/status").exists()
    ran = corten("run", "-u", "0", "configured", "--", "stat", "-c", "%U:%G %a", "/var/lib/redis")
    assert ran.stdout == "redis:redis 750\n"


def test_caches_need_no_other_user(
    corten: Corten, project: Make, plain_runners: Callable[[str], Plain]
) -> None:
    root = written(project, "fontconfig fonts-dejavu-core", "cached")
    digest = corten.build(root)["digest"]
    assert read_lock(root / "corten.lock").platforms[0].scripts == "caches"
    plain = plain_runners("none")
    done = plain("build", for_user(plain, root), timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digest


@pytest.fixture(scope="module")
def everything(corten: Corten, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every command printed in an image with all packages."""
    root = tmp_path_factory.mktemp("everything")
    text = (
        '[tool.corten]\nname = "everything"\nbase = "debian:bookworm"\ncommand = ["true"]\n'
        f"system = {PACKAGES.split()}\n".replace("'", '"')
    )
    (root / "pyproject.toml").write_text(text)
    corten("build", root, timeout=1800)
    script = "".join(
        f"echo '@@ {name.replace(chr(39), '')}'\n{command}\n" for name, (command, _) in SMOKE.items()
    )
    (root / "smoke.sh").write_text(script)
    places = [item for path in ("/var/lib/nginx", "/var/log/nginx") for item in ("--tmpfs", path)]
    options = ["-u", "0", *places, "-v", f"{root}/smoke.sh:/smoke.sh:ro"]
    done = corten("run", *options, "everything", "--", "sh", "/smoke.sh", code=None)
    parts = [part.partition("\n") for part in done.stdout.split("@@ ")[1:]]
    return {name: text.strip() for name, _, text in parts}


@pytest.mark.parametrize("name", SMOKE)
def test_packages_work_as_those_that_apt_installs(everything: dict[str, str], name: str) -> None:
    assert everything[name.replace("'", "")] == SMOKE[name][1]
