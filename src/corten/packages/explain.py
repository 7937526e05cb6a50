"""uv's failures in Corten's words: pure functions from what uv printed to one clear error.

uv explains conflicts well; that text is kept, without its decoration. What has one cause becomes one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from corten.errors import CortenError, FetchError, ProjectError, ResolutionError
from corten.lazy import regex
from corten.packages.compatibility import Target, platforms_of, pythons_of
from corten.packages.requirements import normal_name
from corten.values import dataclass

LOOSEN = "loosen one of the requirements that it names"

Survey = Callable[[str], Sequence[str]]
"""The names of all files that the indexes have for a project; empty when that cannot be found out."""

_MISSING = regex(
    r"([a-z0-9][a-z0-9._-]*) was not found in (?:the package registry|the provided package locations)"
)
_UNASKED = regex(r"index URL \((\S+)\) (?:could not be queried|returned a `?40[13])")
_EMPTY = regex(r"there are no versions of ([a-z0-9][a-z0-9._-]*)(?=[ ,.]|$)")
_ABI = regex(
    r"we only found wheels for `([^`]+)` \(v([^)]+)\) with the following Python (?:ABI|implementation) tags?: (.*)"
)
_PLATFORM = regex(r"Wheels are available for `([^`]+)` \(v([^)]+)\) on the following platforms?: (.*)")
_UNBUILT = regex(r"Wheels are required for `([^`]+)`")
_PINNED = r"(?<![a-z0-9._-]){name}==([^\s,]+?)(?=[\s,]|$)"
_TICKED = regex(r"`([^`]+)`")
_ADDRESS = regex(r"https?://[^\s'`\"()<>]+")


@dataclass(frozen=True, slots=True)
class _Report:
    text: str
    hints: tuple[str, ...]

    @property
    def whole(self) -> str:
        """Everything on one line, to look for sentences in."""
        return " ".join(" ".join((self.text, *self.hints)).split())


def explain(printed: str, target: Target, survey: Survey) -> CortenError:
    """The error that `printed`, uv's standard error, stands for."""
    report = _report(printed)
    whole = report.whole
    network = _network(whole)
    if network is not None:
        return network
    solving = "No solution found" in whole
    if solving:
        unasked = _UNASKED.search(whole)
        if unasked is not None:
            return _refused(_host(unasked[1]))
        missing = _MISSING.search(whole)
        if missing is not None:
            return ResolutionError(
                f"no index has a package '{missing[1]}'",
                hint="check its spelling; a private index is named in uv's or pip's configuration",
            )
        empty = _EMPTY.search(whole)
        if empty is not None:
            return ResolutionError(
                f"the indexes list no file of '{empty[1]}'",
                hint="open the index's address in a browser: a login page or a proxy may answer in its place",
            )
        single = _wheels(report, target, survey)
        if single is not None:
            return single
        explanation = report.text.partition("No solution found when resolving dependencies")[2].strip(" :\n")
        explanation = re.sub(r"^for split \([^)]*\)\s*", "", explanation)
        body = "\n".join([explanation, *report.hints]).strip()
        return ResolutionError(
            f"the project's dependencies cannot all be satisfied:\n{_indented(body)}",
            hint=LOOSEN,
        )
    first = report.text.strip() or "uv failed without a word"
    kind = (
        ProjectError
        if re.search(r"requirement|extra not found|dependency group|parse|pyproject", first)
        else ResolutionError
    )
    return kind(
        f"the dependencies cannot be resolved: {_lowered(first)}",
        hint=report.hints[0] if report.hints else None,
    )


def lacking_wheels(printed: str) -> list[str]:
    """The packages of which `printed`, uv's standard error, says that no wheel fits."""
    if "No solution found" not in printed:
        return []
    report = _report(printed)
    found = [match[1] for hint in report.hints for match in _UNBUILT.finditer(hint)]
    found += [
        match[1] for hint in report.hints for pattern in (_ABI, _PLATFORM) if (match := pattern.search(hint))
    ]
    return list(dict.fromkeys(normal_name(name) for name in found))


def needs_another_python(printed: str) -> bool:
    """Whether `printed`, uv's standard error, says that a package does not take the Python that is resolved for."""
    return "No solution found" in printed and "Python version" in _report(printed).whole


def _wheels(report: _Report, target: Target, survey: Survey) -> ResolutionError | None:
    """The error when one package simply has no wheel that fits."""
    whole = report.whole
    platform = _PLATFORM.search(_find(report.hints, _PLATFORM))
    python = _ABI.search(_find(report.hints, _ABI))
    unbuilt = [match[1] for hint in report.hints if (match := _UNBUILT.search(hint))]
    if platform is not None:
        name, version, tags = platform[1], platform[2], _TICKED.findall(platform[3])
        found = platforms_of([f"x-0-py3-none-{tag}.whl" for tag in tags])
        return _no_platform(name, version, target, found)
    if python is not None and not unbuilt:
        tags = _TICKED.findall(python[3])
        return _no_python(
            python[1], python[2], target, pythons_of([f"x-0-{tag.rstrip('mu')}-none-any.whl" for tag in tags])
        )
    for name in unbuilt:
        files = survey(name)
        if not files:
            continue
        wheels = [file for file in files if file.endswith(".whl")]
        if not wheels:
            return _no_wheels(name, None, ())
        pinned = re.search(_PINNED.format(name=re.escape(name)), whole)
        if pinned is None:
            continue
        version = pinned[1]
        mine = [file for file in wheels if _version_in(file) == _plain(version)]
        return missing_wheel(name, version, target, mine, _versions(wheels))
    return None


def missing_wheel(
    name: str, version: str, target: Target, wheels: Sequence[str], others: Sequence[str] = ()
) -> ResolutionError:
    """The error for a version none of whose `wheels` runs on `target`; `others` are versions that have wheels."""
    if not wheels:
        return _no_wheels(name, version, others)
    pythons = pythons_of(wheels)
    if target.threaded:
        return ResolutionError(
            f"'{name}' {version} has no wheel for the free-threaded Python {target.minor}",
            hint=f'choose another version of it, or python = "{target.minor}" in [tool.corten]',
        )
    if pythons and target.minor not in pythons:
        return _no_python(name, version, target, pythons)
    return _no_platform(name, version, target, platforms_of(wheels))


_NOT_BUILT = regex(
    r"'([\w.-]{1,100}) ([\w.!+-]{1,60})' has no wheel that fits and cannot be built from source: (.*)",
    re.DOTALL,
)


def not_built(error: CortenError, target: Target, survey: Survey) -> ResolutionError | None:
    """The error for a source that could not be built, where that version is made for other Pythons: then that is the cause, and what its
    build said is its sequel. None for any other."""
    found = _NOT_BUILT.match(error.message)
    if found is None:
        return None
    name, version, why = found.groups()
    mine = [file for file in survey(name) if file.endswith(".whl") and _version_in(file) == _plain(version)]
    pythons = pythons_of(mine)
    if not pythons or target.minor in pythons:
        return None
    cause = _no_python(name, version, target, pythons)
    way = error.hint if error.hint and "build-system-packages" in error.hint else None
    return ResolutionError(
        f"{cause.message}, and it cannot be built from source for {target.minor}: {why}",
        hint=f"{way}; or {cause.hint}" if way else cause.hint,
    )


def _no_wheels(name: str, version: str | None, others: Sequence[str]) -> ResolutionError:
    what = f"'{name}' {version}" if version else f"'{name}'"
    ways = "make a wheel of it ('pip wheel --no-deps') and name its folder with --find-links, or replace the package"
    if others:
        ways = f"choose a version that has wheels (the newest is {others[-1]}), or " + ways
    return ResolutionError(f"{what} has no wheel, and no source that can be built here", hint=ways)


def _no_python(name: str, version: str, target: Target, pythons: Sequence[str]) -> ResolutionError:
    exists = f"; its wheels are for Python {', '.join(pythons)}" if pythons else ""
    # 3.8 is the oldest that an image can have without a base of its own.
    fitting = [python for python in pythons if int(python.split(".")[1]) >= 8]
    other = (
        f'another Python: python = "{fitting[-1]}" in [tool.corten]'
        if fitting
        else "a base with such a Python"
    )
    return ResolutionError(
        f"'{name}' {version} has no wheel for Python {target.minor}{exists}",
        hint=f"choose another version of it, or {other}",
    )


def _no_platform(name: str, version: str, target: Target, platforms: Sequence[str]) -> ResolutionError:
    exists = f"; its wheels are for {', '.join(platforms)}" if platforms else ""
    return ResolutionError(
        f"'{name}' {version} has no wheel for {target.platform} with Python {target.minor} and glibc 2.{target.glibc}{exists}",
        hint=f"choose another version of it, leave {target.platform} out of `platforms`, or keep it out there with a "
        f"marker such as ; platform_machine != '{target.platform.machine}'",
    )


def _network(whole: str) -> FetchError | None:
    """The error when an index could not be read."""
    failed = re.search(
        r"[Ff]ailed to (?:fetch|download)|[Rr]equest failed|error sending request|HTTP status", whole
    )
    if failed is None or (
        "No solution found" in whole and "network was disabled" not in whole and "HTTP status" not in whole
    ):
        return None
    if "Failed to fetch" not in whole and "HTTP status" not in whole and "error sending request" not in whole:
        return None
    address = _ADDRESS.search(whole)
    host = _host(address[0]) if address else "the index"
    if re.search(r"\b40[13]\b|Unauthorized|Forbidden", whole):
        return _refused(host)
    reasons = (
        (
            r"dns error|Name or service not known|failed to lookup",
            "is not known to this machine's name resolution",
            "check the address and the network",
        ),
        (r"timed? ?out|timeout", "does not answer in time", "try again, or use another mirror"),
        (
            r"certificate|tls|ssl",
            "has a certificate that is not trusted",
            "name the certificate authority's file in SSL_CERT_FILE or PIP_CERT",
        ),
        (
            r"Connection refused|tcp connect|\(Connect\)",
            "is down: the connection failed",
            "check the address and the network",
        ),
        (r"\b429\b|\b50[0-9]\b", "answered with an error", "try again later, or use another mirror"),
    )
    for pattern, what, hint in reasons:
        if re.search(pattern, whole, re.IGNORECASE):
            return FetchError(f"the index at '{host}' {what}", hint=hint)
    return FetchError(f"the index at '{host}' could not be read", hint="check the address and the network")


def _host(address: str) -> str:
    return address.split("//", 1)[-1].split("/")[0].rpartition("@")[2]


def _refused(host: str) -> FetchError:
    return FetchError(
        f"the index at '{host}' refused access",
        hint="put its credentials into ~/.netrc, or into the index's address or variables; where the project alone names it, "
        f"confirm it, too: corten lock --trust-index {host}",
    )


def _report(printed: str) -> _Report:
    """uv's text without colours, warnings and drawn lines; its hints apart. Old and new uv draw differently."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    lines: list[str] = []
    hints: list[str] = []
    in_hint = False
    for line in text.splitlines():
        line = re.sub(
            r"^[\s│├╰─▶×╭]*(error:|cause:|Caused by:)?[ \t]?", lambda m: " " * max(len(m[0]) - 10, 0), line
        ).rstrip()
        bare = line.strip()
        if bare.startswith("warning:") or not bare:
            in_hint = False
        elif bare.startswith("hint:"):
            hints.append(bare.removeprefix("hint:").strip())
            in_hint = True
        elif in_hint:
            hints[-1] += " " + bare
        else:
            lines.append(line)
    return _Report("\n".join(lines), tuple(hints))


def _find(hints: Sequence[str], pattern: re.Pattern[str]) -> str:
    return next((hint for hint in hints if pattern.search(hint)), "")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _lowered(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].lower() + text[1:]


def _version_in(file: str) -> str:
    parts = file.split("-")
    return _plain(parts[1]) if len(parts) > 2 else ""


def _plain(version: str) -> str:
    from packaging.version import InvalidVersion, Version

    try:
        return str(Version(version))
    except InvalidVersion:
        return version


def _versions(wheels: Sequence[str]) -> list[str]:
    from packaging.version import InvalidVersion, Version

    found = set()
    for file in wheels:
        try:
            found.add(Version(_version_in(file)))
        except InvalidVersion:
            continue
    stable = sorted(version for version in found if not version.is_prerelease)
    return [str(version) for version in stable or sorted(found)]
