"""A network namespace is made for a container, or another one's is entered, while the container starts.

    open      in the shim, before the process namespace: the network namespace, empty
    enter     in the first process of the process namespace: waits for `connect`, and enters the network namespace
    connect   in the shim: pasta and Corten's forwarder are started, and `enter` goes on

pasta and the forwarder are in the container's process namespace, though not its first process, so whatever is killed, they
never outlive the container: the kernel ends them with it. They stay in the machine's network namespace (the forwarder: its
sockets do).

As root the namespace is made in a user namespace of its own, in which just the user nobody exists: pasta, which has rights
over this one network namespace only, is nobody to the machine.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
from pathlib import Path

from corten.errors import RuntimeFailure
from corten.runtime.forwarder import Forwarder
from corten.runtime.identity import Identity
from corten.runtime.network import forwarding, pasta
from corten.runtime.network.loopback import free_ports, raise_loopback
from corten.runtime.network.ports import Port, Taken
from corten.runtime.processes import first_of, inside
from corten.sandbox import kernel
from corten.values import dataclass

_NOBODY = 65534
_TUN = os.makedev(10, 200)
_MS_PRIVATE = 1 << 18


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a container gets its network. `pasta` is its program's path, with `ports`; None: no way out. `forwards` are bound
    sockets that Corten passes on, for `patient` clients where they wait for a program that is still starting; `notify` is a pipe
    on which the forwarder says that they can be answered, and `ready` what it asks for that; `drains` is as in `Passed`. `shared`: the directory of the container whose network it shares, instead of all of that."""

    pasta: str | None = None
    ports: tuple[Port, ...] = ()
    forwards_names: bool = False
    forwards: tuple[Taken, ...] = ()
    patient: bool = False
    notify: int | None = None
    ready: str | None = None
    drains: bool = False
    shared: str | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that it needs until `connect`."""
        return tuple(item.listener for item in self.forwards if item.listener is not None)


def users_of(directory: str) -> int:
    """A descriptor of the user namespace of the container in `directory`. Raises RuntimeFailure where it has ended, OSError."""
    # The engine's: the container's own may be below that one.
    watcher = inside(Path(directory))
    if watcher is None:
        raise _ended(directory)
    return os.open(f"/proc/{watcher}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


class Wire:
    """The network of one container, on its way."""

    def __init__(self, wiring: Wiring, identity: Identity) -> None:
        """`open`. Raises RuntimeFailure, OSError."""
        self._wiring = wiring
        self._user: int | None = None
        self.forwarder: Forwarder | None = None
        self.helpers: list[int] = []
        if wiring.shared is not None:
            self._network = _network_of(wiring.shared)
        elif identity.kind == "root":
            self._network, self._user = _new_network(in_user_namespace=True)
        else:
            self._network, _ = _new_network(in_user_namespace=False)
        self._waits, self._go = os.pipe2(os.O_CLOEXEC)

    def enter(self) -> None:
        """Wait until the network is there, and go there. Does not return where it never will be. Raises OSError."""
        os.close(self._go)
        if os.read(self._waits, 1) != b"r":
            os._exit(125)
        kernel.setns(self._network, kernel.CLONE_NEWNET)
        if self._wiring.shared is None:
            raise_loopback()
            free_ports()

    def connect(self) -> None:
        """Start what the network needs, in the background. Raises RuntimeFailure with the reason."""
        os.close(self._waits)
        if self._wiring.pasta is not None:
            self._start_pasta(self._wiring.pasta)
        if self._wiring.forwards:
            self.forwarder = Forwarder(self._start_forwarder, self._wiring.notify)
        os.write(self._go, b"r")
        os.close(self._go)

    def _start_pasta(self, path: str) -> None:
        wiring = self._wiring
        told, tell = os.pipe2(os.O_CLOEXEC)
        heard, ready = os.pipe2(os.O_CLOEXEC)
        # It opens this by its path, as nobody.
        os.fchmod(ready, 0o666)
        command = pasta.arguments(
            path,
            wiring.ports,
            forwards_names=wiring.forwards_names,
            namespace=f"/proc/self/fd/{self._network}",
            ready=f"/proc/self/fd/{ready}",
        )
        pid = os.fork()
        if pid == 0:
            try:
                os.set_inheritable(ready, True)
                self._become_pasta(command, tell)
            except OSError as error:
                os.write(tell, f"{error.strerror} ({error.filename or command[0]})".encode())
            finally:
                os._exit(125)
        os.close(tell)
        os.close(ready)
        with os.fdopen(told, "rb") as words, os.fdopen(heard, "rb") as number:
            if number.read(1):
                self.helpers.append(pid)
                return
            said = words.read(1 << 16)
        os.waitpid(pid, 0)
        raise RuntimeFailure(
            f"the private network cannot be made; pasta says: {pasta.reason(said.decode(errors='replace'))}",
            hint="a port may have been taken meanwhile; 'corten doctor' shows what this machine allows",
        )

    def _become_pasta(self, command: list[str], tell: int) -> None:
        if self._user is not None:
            _show_tun()
            os.setgroups(())
            kernel.setns(self._user, kernel.CLONE_NEWUSER)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor, place in ((null, 0), (null, 1), (tell, 2)):
            os.dup2(descriptor, place)
        os.set_inheritable(self._network, True)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # It takes an ignored one for a failure; Python ignores it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(command[0], command, {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")})

    def _start_forwarder(self) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            kernel.setns(self._network, kernel.CLONE_NEWNET)
            raise_loopback()
            if self._user is not None:
                os.setgroups(())
                os.setresgid(_NOBODY, _NOBODY, _NOBODY)
                os.setresuid(_NOBODY, _NOBODY, _NOBODY)
            null = os.open(os.devnull, os.O_RDWR)
            for place in range(3):
                os.dup2(null, place)
            start = 3
            notify = self._wiring.notify
            for kept in sorted({*self._wiring.descriptors, *([notify] if notify is not None else [])}):
                os.closerange(start, kept)
                start = kept + 1
            os.closerange(start, os.sysconf("SC_OPEN_MAX"))
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            wiring = self._wiring
            forwarding.run(
                wiring.forwards,
                patient=wiring.patient,
                notify=notify,
                ready=wiring.ready,
                drains=wiring.drains,
            )
        finally:
            os._exit(125)


def _new_network(*, in_user_namespace: bool) -> tuple[int, int | None]:
    """Descriptors of a new network namespace and, where it is made in one, of its new user namespace. Raises RuntimeFailure."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            if in_user_namespace:
                kernel.unshare(kernel.CLONE_NEWUSER)
                theirs.send(b"u")
                if theirs.recv(1) != b"m":
                    os._exit(125)
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
            kernel.unshare(kernel.CLONE_NEWNET)
            opened = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("net", "user")]
            socket.send_fds(theirs, [b"n"], opened)
            os._exit(0)
        finally:
            os._exit(125)
    theirs.close()
    with ours:
        if in_user_namespace and ours.recv(1) == b"u":
            for kind in ("uid", "gid"):
                Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {_NOBODY} 1", encoding="utf-8")
            ours.send(b"m")
        said, descriptors, _, _ = socket.recv_fds(ours, 1, 2)
    os.waitpid(pid, 0)
    if said != b"n" or len(descriptors) != 2:
        raise RuntimeFailure(
            "this machine refuses a network namespace", hint="use --network host, or run 'corten doctor'"
        )
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if in_user_namespace:
        return descriptors[0], descriptors[1]
    os.close(descriptors[1])
    return descriptors[0], None


def _show_tun() -> None:
    """Let nobody open /dev/net/tun in this process's own view: the device gives no right by itself, only together with one
    over a network namespace (tun.c, CAP_NET_ADMIN), and most machines leave it open to all."""
    if os.stat("/dev/net/tun").st_mode & stat.S_IRWXO & 6 == 6:
        return
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("none", "/", None, kernel.MS_REC | _MS_PRIVATE)
    kernel.mount("tmpfs", "/dev/net", "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC)
    os.umask(0)
    os.mknod("/dev/net/tun", stat.S_IFCHR | 0o666, _TUN)


def _first_of(directory: str) -> int:
    """A process in the namespaces of the container in `directory`: its own first one. Raises RuntimeFailure."""
    found = first_of(Path(directory))
    if found is None:
        raise _ended(directory)
    return found


def _ended(directory: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"'{os.path.basename(directory)}' is not running, so its network cannot be shared",
        hint="'corten ps' lists those that run",
    )


def _network_of(directory: str) -> int:
    """A descriptor of the network namespace of the container in `directory`. Raises RuntimeFailure, OSError."""
    found = os.open(f"/proc/{_first_of(directory)}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    if os.path.samestat(os.fstat(found), os.stat("/proc/self/ns/net")):
        raise RuntimeFailure(
            f"'{os.path.basename(directory)}' has no network of its own, but the machine's",
            hint="use --network host to have the same",
        )
    return found
