"""Requirements from version control (`git+https://host/path@ref#subdirectory=sub`): what is asked for, as values. Pure."""

from __future__ import annotations

import urllib.parse

from corten.errors import ProjectError, ResolutionError
from corten.lazy import regex
from corten.packages.credentials import Login, split_login
from corten.packages.requirements import Requirement, normal_name, refuse_variables
from corten.values import dataclass

COMMIT = regex(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_OF_COMMIT = regex(r".*-([0-9a-f]{40}(?:[0-9a-f]{24})?)\.[0-9a-f]{16}\.tar")
_DESCRIBED = regex(r"[^0-9]*?v?([0-9][0-9A-Za-z.+!_-]*?)-([0-9]{1,9})-g[0-9a-f]{4,64}")
_REF = regex(r"[A-Za-z0-9_](?:[A-Za-z0-9_./+#=-]{0,250}[A-Za-z0-9_+=-])?")
_HOST = regex(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")
_PATH = regex(r"/[A-Za-z0-9_.~%+@:,=-][A-Za-z0-9_.~%+@:,=/-]*")
_USER = regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_INSIDE = regex(r"[A-Za-z0-9_.@+ -]+(?:/[A-Za-z0-9_.@+ -]+)*")
_NAME = regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Repository:
    """`url` is the address that git is given, without a password; `ref` a branch, a tag or a commit (empty: what the repository has for
    its head); `subdirectory` the package's folder in it; `login` what is written in the address; `name` the package's normal name (empty:
    not said)."""

    url: str
    ref: str = ""
    subdirectory: str = ""
    login: Login | None = None
    name: str = ""

    @property
    def scheme(self) -> str:
        """`https`, `http` or `ssh`."""
        return self.url.partition("://")[0]

    @property
    def shown(self) -> str:
        """For people."""
        return self.url + (f"@{self.ref}" if self.ref else "")


def repository_of(item: Requirement) -> Repository:
    """What a requirement from version control asks for. Raises ResolutionError for what Corten does not fetch, ProjectError for what is no
    address."""
    location = (item.location or "").strip()
    tool, _, rest = location.partition("+")
    if "+" not in location.split("://")[0] and not location.startswith(("git:", "git@")):
        tool, rest = "git", location  # `https://host/path.git`
    if tool.lower() != "git":
        raise _refused(item, f"is in {tool[:10]}, and Corten fetches from git alone")
    scheme, separator, _ = rest.partition("://")
    scheme = scheme.lower()
    if not separator:
        if "@" in rest.partition(":")[0] and not rest.startswith(("/", ".")):
            raise ProjectError(
                f"{_at(item)}the repository of '{_what(item)}' is written as for scp",
                hint="write git+ssh://USER@HOST/PATH",
            )
        raise _refused(item, "is a repository of this machine", _FOLDER)
    if scheme == "file":
        raise _refused(item, "is a repository of this machine", _FOLDER)
    if scheme == "git":
        raise _refused(
            item, "uses git's own protocol, which does not check who answers", "write git+https://…"
        )
    if scheme not in ("https", "http", "ssh"):
        raise _refused(item, f"comes over '{scheme[:20]}', which Corten does not use")
    address, _, fragment = rest.partition("#")
    refuse_variables(address, item.where)
    bare, login = split_login(scheme + address[len(scheme) :])
    host, _, path = bare.partition("://")[2].partition("/")
    path, at, ref = f"/{path}".rpartition("@")
    if not at:
        path, ref = ref, ""
    given = dict(pair.partition("=")[::2] for pair in fragment.split("&") if pair)
    subdirectory = urllib.parse.unquote(given.get("subdirectory", "")).strip("/")
    egg = given.get("egg", "").partition("[")[0].partition("==")[0]
    name = item.name or (normal_name(egg) if _NAME.fullmatch(egg) else "")
    usable = _HOST.fullmatch(host) and _PATH.fullmatch(path) and not {".", ".."} & set(path.split("/"))
    if not usable or len(rest) > 2000:
        raise ProjectError(
            f"{_at(item)}the repository of '{_what(item)}' has an address that Corten cannot read",
            hint="write git+https://HOST/PATH@REF",
        )
    if ref and (not _REF.fullmatch(ref) or ".." in ref or "//" in ref or ref.endswith(".lock")):
        raise ProjectError(
            f"{_at(item)}the repository of '{_what(item)}' has no ref {ref[:60]!r}",
            hint="name a branch, a tag or a commit",
        )
    if subdirectory and (not _INSIDE.fullmatch(subdirectory) or {".", ".."} & set(subdirectory.split("/"))):
        raise ProjectError(
            f"{_at(item)}'{subdirectory[:60]}' is not a folder in the repository of '{_what(item)}'",
            hint="write #subdirectory=FOLDER",
        )
    if scheme == "ssh":
        user = login.user if login is not None else ""
        if user and not _USER.fullmatch(user):
            raise ProjectError(
                f"{_at(item)}the user {user[:60]!r} is not a valid user for ssh", hint="correct it"
            )
        return Repository(f"ssh://{user + '@' if user else ''}{host}{path}", ref, subdirectory, None, name)
    return Repository(f"{scheme}://{host}{path}", ref, subdirectory, login, name)


def commit_in(file: str) -> str:
    """The commit in the name of a source in a lock; empty where it is no repository's."""
    match = _OF_COMMIT.fullmatch(file)
    return match[1] if match else ""


def version_of(described: str, commit: str) -> str:
    """The version of a commit from what `git describe --long` says of it, as setuptools-scm counts: a tag's own, else the next one's
    development version. Pure."""
    from packaging.version import InvalidVersion, Version

    match = _DESCRIBED.fullmatch(described)
    if match is not None:
        try:
            tagged, distance = Version(match[1]), int(match[2])
        except InvalidVersion:
            pass
        else:
            if not distance:
                return str(tagged)
            *start, last = tagged.release
            following = ".".join(map(str, (*start, last if tagged.is_prerelease else last + 1)))
            return str(Version(f"{following}.dev{distance}+g{commit[:9]}"))
    return f"0.1.dev0+g{commit[:9]}"


_FOLDER = "name its folder in the project ('./libs/x'), which is used in place"


def _refused(
    item: Requirement, why: str, hint: str = "make a wheel of it, and name the wheel"
) -> ResolutionError:
    return ResolutionError(f"{_at(item)}'{_what(item)}' {why}", hint=hint)


def _what(item: Requirement) -> str:
    if item.name:
        return item.name
    bare = split_login((item.location or item.text).partition("#")[0])[0]
    return bare.rstrip("/").rsplit("/", 1)[-1][:100]


def _at(item: Requirement) -> str:
    return f"{item.where}: " if item.where else ""
