"""What the scripts of a project's Debian packages would do, looked at when they are locked: nothing that they would do is left out in silence."""

from __future__ import annotations

from collections.abc import Sequence

from corten.errors import FetchError, FormatError, ResolutionError
from corten.events import Observer, Warned
from corten.lock.model import DebianBase, PlatformLock
from corten.packages.debian.archive import DebianArchive
from corten.packages.debian.scripts import Unclear, needs
from corten.packages.files import Deb
from corten.values import replace

_LONGEST = 900
"""Characters of the list in a lock."""

HINT = (
    "the build then needs root or a user with subordinate IDs; 'corten doctor' says which kind this user is"
)


def with_scripts(
    part: PlatformLock, before: PlatformLock | None, debian: DebianArchive, observe: Observer
) -> PlatformLock:
    """`part` with what it takes to configure its system packages, which `before`, the last lock's, may know already. What is not
    understood is said, and so is what could not be looked at. Raises SignatureError."""
    base = part.base
    if not part.system or not isinstance(base, DebianBase):
        return part
    if before is not None and before.scripts and (before.system, before.base) == (part.system, base):
        part = replace(part, scripts=before.scripts, unclear=before.unclear, tools=before.tools)
    else:
        try:
            there = {deb.sha256 for deb in base.debs}
            found = needs(debian.controls([deb for deb in part.system if deb.sha256 not in there]))
            tools: tuple[Deb, ...] = ()
            if found.mode == "scripts":
                architecture = part.platform.architecture
                tools = debian.tools(base.suite, architecture, base.debs, part.system, observe)
        except (FetchError, FormatError, ResolutionError) as error:
            observe(
                Warned(
                    f"the scripts of the Debian packages for {part.platform} were not read, so they will not be "
                    f"run: {error.message}",
                    "run 'corten lock' again when the packages can be fetched",
                )
            )
            return part
        part = replace(part, scripts=found.mode, unclear=listed(found.unclear), tools=tools)
    if part.unclear:
        observe(Warned(said(part.unclear), HINT))
    return part


def said(packages: str) -> str:
    """What is said of packages whose scripts are not understood; as `PlatformLock.unclear` lists them."""
    return f"the scripts of these Debian packages run in a sandbox, because Corten does not replace them: {packages}"


def listed(found: Sequence[Unclear]) -> str:
    """The packages with one command each, as many as a lock lists."""
    shown: list[str] = []
    for item in found:
        if sum(map(len, shown)) + 2 * len(shown) + len(str(item)) > _LONGEST:
            return f"{', '.join(shown)} and {len(found) - len(shown)} more"
        shown.append(str(item))
    return ", ".join(shown)
