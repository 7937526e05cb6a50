"""What the maintainer scripts of a base's packages would have made, and a service in a container needs.

Users and groups (base-passwd), the bundle of certificate authorities (ca-certificates), the files that base-files, libc-bin
and readline-common copy into /etc, the time zone, python's names, and the places where things are mounted.
"""

from __future__ import annotations

from corten.packages.debian.tree import Tree

BUNDLE = "etc/ssl/certs/ca-certificates.crt"

_AUTHORITIES = "usr/share/ca-certificates"

# Users and groups with fixed numbers, as Debian assigns them (base-passwd, /usr/share/doc/base-passwd/users-and-groups),
# and `nonroot` with the number that distroless images gave it.
_USERS = (
    ("root", 0, 0, "root", "/root", ""),
    ("daemon", 1, 1, "daemon", "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, 2, "bin", "/bin", "/usr/sbin/nologin"),
    ("sys", 3, 3, "sys", "/dev", "/usr/sbin/nologin"),
    ("sync", 4, 65534, "sync", "/bin", "/bin/sync"),
    ("games", 5, 60, "games", "/usr/games", "/usr/sbin/nologin"),
    ("man", 6, 12, "man", "/var/cache/man", "/usr/sbin/nologin"),
    ("lp", 7, 7, "lp", "/var/spool/lpd", "/usr/sbin/nologin"),
    ("mail", 8, 8, "mail", "/var/mail", "/usr/sbin/nologin"),
    ("news", 9, 9, "news", "/var/spool/news", "/usr/sbin/nologin"),
    ("uucp", 10, 10, "uucp", "/var/spool/uucp", "/usr/sbin/nologin"),
    ("proxy", 13, 13, "proxy", "/bin", "/usr/sbin/nologin"),
    ("www-data", 33, 33, "www-data", "/var/www", "/usr/sbin/nologin"),
    ("backup", 34, 34, "backup", "/var/backups", "/usr/sbin/nologin"),
    ("list", 38, 38, "Mailing List Manager", "/var/list", "/usr/sbin/nologin"),
    ("irc", 39, 39, "ircd", "/run/ircd", "/usr/sbin/nologin"),
    ("_apt", 42, 65534, "", "/nonexistent", "/usr/sbin/nologin"),
    ("nobody", 65534, 65534, "nobody", "/nonexistent", "/usr/sbin/nologin"),
    ("nonroot", 65532, 65532, "nonroot", "/home/nonroot", ""),
)
_GROUPS = (
    "root:0 daemon:1 bin:2 sys:3 adm:4 tty:5 disk:6 lp:7 mail:8 news:9 uucp:10 man:12 proxy:13 kmem:15 dialout:20 "
    "fax:21 voice:22 cdrom:24 floppy:25 tape:26 sudo:27 audio:29 dip:30 www-data:33 backup:34 operator:37 list:38 irc:39 "
    "src:40 shadow:42 utmp:43 video:44 sasl:45 plugdev:46 staff:50 games:60 users:100 nogroup:65534 nonroot:65532"
)

_COPIES = (
    ("usr/share/base-files/dot.profile", "root/.profile"),
    ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
    ("usr/share/base-files/profile", "etc/profile"),
    ("usr/share/base-files/motd", "etc/motd"),
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/base-files/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/readline/inputrc", "etc/inputrc"),
    ("usr/share/debianutils/shells", "etc/shells"),
)

_DIRECTORIES = (
    "app",
    "boot",
    "dev",
    "etc/opt",
    "home",
    "media",
    "mnt",
    "models",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "usr/local/bin",
    "usr/local/etc",
    "usr/local/games",
    "usr/local/include",
    "usr/local/lib",
    "usr/local/sbin",
    "usr/local/share",
    "usr/local/src",
    "var/cache",
    "var/lib",
    "var/log",
    "var/mail",
    "var/opt",
    "var/spool",
)
_STICKY = ("tmp", "var/tmp", "run/lock", "home/nonroot")

# An engine binds its own over these three; a file has to be there for that.
_EMPTY = ("etc/hostname", "etc/hosts", "etc/resolv.conf")


def merge_usr(tree: Tree) -> None:
    """Make `/bin`, `/sbin`, `/lib` and `/lib64` links into `/usr`, before anything is unpacked through them."""
    for name in ("bin", "sbin", "lib", "lib64"):
        tree.directory(f"usr/{name}")
        tree.link(name, f"usr/{name}")


def configure(tree: Tree, python: str) -> None:
    """Make everything above that does not depend on the packages' own choice; `python` is a minor version."""
    for directory in _DIRECTORIES:
        tree.directory(directory)
    for directory in _STICKY:
        tree.directory(directory, sticky=True)
    for path in _EMPTY:
        tree.write(path, b"")
    for source, target in _COPIES:
        data = tree.read(source)
        if data is not None and tree.kind(target) is None:
            tree.write(target, data)
    _write_accounts(tree)
    _link(tree, "var/run", "/run")
    _link(tree, "var/lock", "/run/lock")
    _link(tree, "var/spool/mail", "../mail")
    _link(tree, "etc/mtab", "/proc/mounts")
    if tree.kind("etc/dpkg/origins/debian"):
        _link(tree, "etc/dpkg/origins/default", "debian")
    if tree.exists("usr/share/zoneinfo/Etc/UTC"):
        _link(tree, "etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
        tree.write("etc/timezone", b"Etc/UTC\n")
    if tree.exists(f"usr/bin/python{python}"):
        _link(tree, "usr/bin/python3", f"python{python}")
        _link(tree, "usr/bin/python", "python3")
        tree.directory(f"usr/local/lib/python{python}/dist-packages")
    write_bundle(tree)


def write_bundle(tree: Tree) -> None:
    """Write the bundle of all certificate authorities in `/usr/share/ca-certificates`, as update-ca-certificates(8) does
    without a configuration of one's own. Nothing where there are none."""
    paths = [
        f"{folder}/{name}"
        for folder in tree.listing(_AUTHORITIES)
        for name in tree.listing(f"{_AUTHORITIES}/{folder}")
        if name.endswith(".crt")
    ]
    parts = []
    for path in paths:
        data = tree.read(f"{_AUTHORITIES}/{path}") or b""
        parts.append(data if data.endswith(b"\n") else data + b"\n")
    if not parts:
        return
    tree.write(BUNDLE, b"".join(parts))
    tree.write("etc/ca-certificates.conf", "".join(f"{path}\n" for path in paths).encode())
    if tree.kind("usr/lib/ssl") == "directory":
        # Where OpenSSL looks without being told.
        if tree.kind("usr/lib/ssl/cert.pem") is None:
            tree.link("usr/lib/ssl/cert.pem", f"/{BUNDLE}")
        if tree.kind("usr/lib/ssl/certs") is None:
            tree.link("usr/lib/ssl/certs", "/etc/ssl/certs")


def _write_accounts(tree: Tree) -> None:
    """passwd(5), group(5) and shadow(5): no account has a password, and none can be logged into."""
    shell = next((path for path in ("/bin/bash", "/bin/sh") if tree.exists(path)), "/usr/sbin/nologin")
    users = [
        f"{name}:x:{uid}:{gid}:{text}:{home}:{own or shell}\n" for name, uid, gid, text, home, own in _USERS
    ]
    groups = [
        f"{name}:x:{number}:\n" for name, _, number in (item.partition(":") for item in _GROUPS.split())
    ]
    shadow = [f"{user[0]}:*:19000:0:99999:7:::\n" for user in _USERS]
    tree.write("etc/passwd", "".join(users).encode())
    tree.write("etc/group", "".join(groups).encode())
    tree.write("etc/shadow", "".join(shadow).encode())


def _link(tree: Tree, path: str, target: str) -> None:
    """A link, where there is nothing yet but perhaps an empty directory from a package."""
    if tree.kind(path) == "directory":
        if tree.listing(path):
            return
        tree.remove_directory(path)
    if tree.kind(path) in (None, "symlink"):
        tree.link(path, target)
