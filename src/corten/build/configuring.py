"""The layer of what the scripts of system packages do, above the layer that has their files (`corten.packages.debian.scripts.Mode`).

files    what Corten does itself, and no program runs
caches   programs of the packages make caches of the image's files, in a sandbox
scripts  Debian's own dpkg configures the packages, in a sandbox; what it needs for that (perl, debconf) lies between the image and
         what is written, and does not enter the layer

The sandbox has no network and nothing of this machine (`corten.sandbox.over_layers`). Equal packages give an equal layer, for
root and for a plain user: users and groups have fixed numbers, and what differs between two runs is left out (`captured.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from corten.build import debian_alternatives, debian_base, dpkg_database
from corten.build.captured import Captured, capture
from corten.build.plan import ConfiguredLayer
from corten.errors import BuildError, NoSandbox, RuntimeFailure
from corten.events import Note, Observer, Warned
from corten.lock.scripts import HINT, said
from corten.oci import tar
from corten.packages.debian import caches
from corten.packages.debian.deb import Control, read_control
from corten.packages.debian.scripts import actions, alternatives, needs
from corten.packages.debian.tree import Tree
from corten.packages.files import Deb
from corten.runtime.emulation import is_emulated
from corten.runtime.identity import Identity, current_identity, why_no_namespace, write_mappings
from corten.sandbox import over_layers
from corten.sandbox.enter_layers import write_archive
from corten.sandbox.over_layers import OverLayers, Program

_PREINST, _CONFIGURE = (
    "install",
    ("/usr/bin/dpkg", "--force-unsafe-io", "--force-confold", "--configure", "-a"),
)
_SHOWN = 4000
_FONTS = "usr/share/fonts"
_LEAST_IDS = 65536

_NO_QUESTIONS = b"".join(
    b"%s required pam_permit.so\n" % kind for kind in (b"auth", b"account", b"password", b"session")
)

ENVIRONMENT = {
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
    "DEBIAN_FRONTEND": "noninteractive",
    "FORCE_SOURCE_DATE": "1",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PERL_HASH_SEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": str(tar.EPOCH),
    "SYSTEMD_OFFLINE": "1",
    "TERM": "dumb",
    "TZ": "UTC",
    "UCF_FORCE_CONFFNEW": "1",
}

# Numbers for users that Debian's packages make and leave to adduser(8), so that they do not depend on what else is installed.
_NAMES = (
    "messagebus systemd-network systemd-resolve systemd-timesync systemd-coredump polkitd sshd redis postgres mysql nginx "
    "memcache rabbitmq mongodb elasticsearch munge slurm epmd couchdb postfix postdrop Debian-exim dnsmasq ntp ntpsec "
    "_chrony tcpdump uuidd avahi colord geoclue rtkit saned pulse pulse-access lightdm gdm ssl-cert crontab _ssh render sgx "
    "kvm input netdev bluetooth scanner utempter plocate haproxy varnish varnishlog vcache tomcat squid unbound bind "
    "stunnel4 proftpd ftp vsftpd prometheus grafana influxdb statd _rpc tss usbmux fwupd-refresh hplip speech-dispatcher gnats "
    "docker libvirt libvirt-qemu libuuid mosquitto zabbix nagios _apt-cacher logcheck dovecot dovenull amavis clamav opendkim"
)
_POOL = tuple(_NAMES.split())
_FIRST_POOL = 200


def configure(
    layer: ConfiguredLayer,
    files: Mapping[str, Path],
    lower: Sequence[Path],
    place: Path,
    folder: Path,
    observe: Observer,
    spend: Callable[[int], None],
) -> Captured:
    """Make the layer over the trees `lower`, in the empty directory `folder`; all lie below `place`. Raises BuildError (a script
    failed, or this user cannot run them), NoSandbox, FormatError."""
    there = {deb.sha256 for deb in layer.system.base.base.debs}
    debs = [deb for deb in layer.system.debs if deb.sha256 not in there]
    controls = [read_control(files[deb.sha256]) for deb in debs]
    if layer.unclear:
        observe(Warned(said(layer.unclear), HINT))
    _tell_more(layer, controls, observe)
    trees, upper = list(lower), folder / "upper"
    upper.mkdir(mode=0o755)
    _write_own(Tree(upper, trees, spend), controls)
    tools: Path | None = None
    programs: list[Program] = []
    if layer.mode == "scripts":
        tools = folder / "tools"
        tools.mkdir(mode=0o755)
        _write_tools(layer.tools, files, tools, trees, controls, spend)
        programs += _scripts(controls)
        trees.append(tools)
    if layer.mode != "files":
        _date_fonts(controls, Tree(upper, trees), upper)
        programs += _caches(controls, Tree(upper, trees))
    owned = False
    if programs:
        identity = identity_for(layer)
        ran = _run(programs, trees, place, folder, identity, layer)
        owned = layer.mode == "scripts"
        archive = ran.archive
        for number, code in ran.failed:
            observe(Warned(f"'{programs[number].command[0]}' of a Debian package failed with {code}"))
    else:
        archive = folder / "archive.tar"
        write_archive(str(upper), str(archive))
    root = folder / "captured"
    root.mkdir(mode=0o755)
    captured = capture(archive, root, list(lower), tools, owned=owned, spend=spend)
    if captured.personal:
        names = ", ".join(f"'/{path}'" for path in captured.personal)
        observe(Note(f"left out of the image, because every machine needs its own: {names}"))
    return captured


def _tell_more(layer: ConfiguredLayer, controls: Sequence[Control], observe: Observer) -> None:
    """The lock says what is needed by files that were not verified then."""
    order = ("none", "files", "caches", "scripts")
    found = needs(controls)
    if order.index(found.mode) > order.index(layer.mode):
        packages = ", ".join(map(str, found.unclear[:5])) or "caches"
        observe(
            Warned(
                f"the Debian packages need more than the lock says, and are not configured: {packages}",
                "run 'corten lock --upgrade'",
            )
        )


def _write_own(tree: Tree, controls: Sequence[Control]) -> None:
    """What Corten does itself in place of scripts."""
    for control in controls:
        for action in actions(control):
            if action.kind == "directory":
                tree.directory(action.path)
            elif tree.kind(action.path) is not None:
                continue
            elif action.kind == "link":
                if tree.exists(action.source):
                    tree.link(action.path, action.source)
            else:
                data = tree.read(action.source) if action.source else b""
                if data is not None:
                    tree.write(action.path, data)
    debian_alternatives.write_alternatives(
        tree, ["\n".join(alternatives(control)) for control in controls], debian_base.kept
    )


def _write_tools(
    debs: Sequence[Deb],
    files: Mapping[str, Path],
    place: Path,
    lower: Sequence[Path],
    controls: Sequence[Control],
    spend: Callable[[int], None],
) -> None:
    tree = debian_base.place_tools([(deb, files[deb.sha256]) for deb in debs], place, lower, spend=spend)
    pool = "".join(f"{name}:{_FIRST_POOL + number}\n" for number, name in enumerate(_POOL))
    tree.write("etc/adduser-pool.conf", pool.encode())
    tree.write("etc/adduser.conf", b"UID_POOL=/etc/adduser-pool.conf\nGID_POOL=/etc/adduser-pool.conf\n")
    # adduser(8) calls chfn(1), which asks PAM, and that may not be configured yet.
    for name in ("chfn", "chpasswd", "chsh", "other", "runuser", "su"):
        tree.write(f"etc/pam.d/{name}", _NO_QUESTIONS)
    # Hooks of packages that are configured later: dpkg has them in place only then, as configuration files.
    for name in tree.listing("etc/libpaper.d"):
        tree.write(f"etc/libpaper.d/{name}", b"#!/bin/sh\n", executable=True)
    # Services are not started (invoke-rc.d(8)).
    tree.write("usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n", executable=True)
    tree.directory("var/cache/debconf")
    _write_certificates(tree)
    for number in range(1, 10):
        tree.directory(f"usr/share/man/man{number}")  # alternatives have links to manual pages there
    dpkg_database.write_database(tree, controls, [read_control(files[deb.sha256]) for deb in debs])


def _write_certificates(tree: Tree) -> None:
    """The links of update-ca-certificates(8), from which Java's key store is made. An image has the bundle alone."""
    place = "usr/share/ca-certificates"
    for folder in tree.listing(place):
        for name in tree.listing(f"{place}/{folder}"):
            if name.endswith(".crt"):
                short = name[:-4].replace(" ", "_").replace(",", "_").replace("(", "=").replace(")", "=")
                tree.link(f"etc/ssl/certs/{short}.pem", f"/{place}/{folder}/{name}")


def _scripts(controls: Sequence[Control]) -> list[Program]:
    unclear = {item.package for item in needs(controls).unclear}
    programs = []
    for control in controls:
        if "preinst" in control.scripts and control.name in unclear:
            name = dpkg_database.info_name(control.fields)
            variables = (f"DPKG_MAINTSCRIPT_PACKAGE={control.name}", "DPKG_MAINTSCRIPT_NAME=preinst")
            path = f"/{dpkg_database.INFO}/{name}.preinst"
            programs.append(Program(("/usr/bin/env", *variables, path, _PREINST), needed=False))
    return [*programs, Program(_CONFIGURE)]


def _date_fonts(controls: Sequence[Control], tree: Tree, upper: Path) -> None:
    """Give folders with fonts the time that they have in an image's archive: fontconfig notes it, and throws away a cache of another."""
    folders = {parent for control in controls for path in control.md5sums for parent in _above(path, _FONTS)}
    for folder in sorted(folders):
        if tree.exists(folder):
            tree.directory(folder)
    for folder in sorted(folders):
        real = tree.resolved(folder)
        if real is not None and (upper / real).is_dir():
            os.utime(upper / real, (tar.EPOCH, tar.EPOCH))


def _above(path: str, top: str) -> list[str]:
    """The folders of a path, from its own up to `top`."""
    found = []
    while path.startswith(f"{top}/"):
        path = path.rpartition("/")[0]
        found.append(path)
    return found


def _caches(controls: Sequence[Control], tree: Tree) -> list[Program]:
    paths = [path for control in controls for path in control.md5sums]
    return [
        Program(step.command, step.output and f"/{step.output}", needed=False)
        for step in caches.steps(paths, tree.exists)
    ]


def identity_for(layer: ConfiguredLayer) -> Identity:
    """Who runs the programs. Raises BuildError where nobody can, NoSandbox where an image is of use without."""
    platform = layer.platform
    what = f"the Debian packages {layer.unclear}" if layer.unclear else "caches of Debian packages"
    if platform != layer.host and not is_emulated(platform):
        kind = BuildError if layer.mode == "scripts" else NoSandbox
        raise kind(
            f"{what} are configured by programs for {platform}, which this machine cannot run",
            hint=f"build on a {platform} machine, or install an emulator, which is slow (as root: apt install qemu-user-static)",
        )
    identity = current_identity()
    if layer.mode != "scripts" or identity.kind == "root":
        return identity
    if identity.kind != "range" or not (
        identity.has_uid(_LEAST_IDS - 1) and identity.has_gid(_LEAST_IDS - 1)
    ):
        raise BuildError(
            f"{what} are configured by their own scripts, which need more than one user ID",
            hint="build as root, or give this user subordinate IDs (as root: apt install uidmap; "
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER)",
        )
    return identity


def _run(
    programs: Sequence[Program],
    trees: Sequence[Path],
    place: Path,
    folder: Path,
    identity: Identity,
    layer: ConfiguredLayer,
) -> over_layers.Ran:
    value = OverLayers(
        tuple(programs),
        tuple(os.path.relpath(tree, place) for tree in trees),
        str(place),
        os.path.relpath(folder, place),
        ENVIRONMENT,
    )
    mapped = None if identity.kind == "root" else lambda pid: write_mappings(pid, identity)
    try:
        ran = over_layers.run(value, mapped)
    except RuntimeFailure as error:
        raise NoSandbox(f"Debian packages cannot be configured: {error.message}", hint=error.hint) from error
    except NoSandbox as error:
        raise NoSandbox(
            f"Debian packages cannot be configured: {error.message}", hint=why_no_namespace()
        ) from error
    end = ran.finished
    if end.late:
        raise BuildError(f"configuring Debian packages took longer than {value.seconds:.0f} seconds")
    if end.code != 0 or not ran.archive.exists():
        _, code = ran.failed[-1] if ran.failed else (0, end.code)
        said = (end.output + b"\n" + end.errors).decode(errors="replace").strip()[-_SHOWN:]
        raise BuildError(
            f"configuring Debian packages failed with {code}:\n{said}",
            hint="leave the package out of `system`",
        )
    return ran
