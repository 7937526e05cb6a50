"""A lock with as many made-up files as a test wants."""

from __future__ import annotations

from corten.lock.model import DebianBase, Lock, PlatformLock
from corten.oci.digest import Digest
from corten.oci.platform import Platform
from corten.packages.files import Deb, Wheel


def sample_deb(number: int, architecture: str = "amd64", version: str = "1:2.0-3+deb12u1") -> Deb:
    name = f"deb-{number}"
    path = f"pool/main/d/{name}/{name}_2.0-3+deb12u1_{architecture}.deb"
    sha256 = Digest.of(f"{name} {architecture} {version}".encode()).hex
    return Deb(name, version, architecture, "debian", path, 2000 + number, sha256, "2026-01-02T03:04:05Z")


def sample_wheel(number: int, version: str = "1.0") -> Wheel:
    file = f"wheel_{number}-{version}-py3-none-any.whl"
    return Wheel(f"wheel-{number}", version, file, 1000 + number, Digest.of(file.encode()).hex)


def sample_lock(wheels: int = 4, debs: int = 3, platforms: int = 2) -> Lock:
    """A lock for the first `platforms` of linux/amd64 and linux/arm64."""
    parts = []
    for architecture in ("amd64", "arm64")[:platforms]:
        files = tuple(sample_deb(number, architecture) for number in range(debs))
        parts.append(
            PlatformLock(
                Platform("linux", architecture),
                DebianBase("bookworm", "default", "3.11.2", files),
                system=tuple(sample_deb(number, architecture) for number in range(100, 102)),
                wheels=tuple(sample_wheel(number) for number in range(wheels)),
                serving=(sample_wheel(900),),
                system_names=("deb-100", "deb-101"),
            )
        )
    compilers = {"arm64": (sample_deb(0, "arm64"),)} if platforms == 1 else {}
    return Lock("0.1.0", Digest.of(b"inputs"), tuple(parts), Digest.of(b"serving"), compilers)
