"""Of which time versions should be, where the project does not pin them: of its last commit, and of its saved models. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from corten.errors import UsageError
from corten.packages.files import Wheel
from corten.project.last_commit import newest_fitting
from corten.project.saved_models import Saved
from corten.values import dataclass

_FAMILY = ("scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl", "imbalanced-learn")
"""What scikit-learn is compiled against, or changes with it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings of uv to resolve with, and what is said where that works. `only_with`: it counts only if this package is in the
    result."""

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    only_with: str = ""


def trials(
    settings: Mapping[str, Any],
    commit: str | None,
    saved: Saved | None,
    python: str,
    built: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Trial, ...]:
    """What to try, the best first; the last is always the plain way. `commit` is the day of the last commit where versions should
    be of that time, `saved` a model whose version of scikit-learn nothing else decides, `built` the days on which packages were built
    whose versions are not known. What `settings` say already stands."""
    found: list[Trial] = []
    general: dict[str, Any] = {}
    said: tuple[str, ...] = ()
    if commit is not None and "exclude-newer" not in settings:
        day = newest_fitting(commit, python)
        why = (
            "the day of the last commit"
            if day == commit
            else f"since Python {python} is younger than the last commit ({commit})"
        )
        general, said = {"exclude-newer": _end_of(day)}, (f"versions are those of {day}, {why}",)
    days: dict[str, str] = {}
    last_day = saved.last_day if saved is not None else None
    model: tuple[str, ...] = ()
    if saved is not None and last_day is not None:
        day = newest_fitting(last_day, python)
        days = dict.fromkeys(_FAMILY, _end_of(day))
        model = (
            f"scikit-learn and what it needs are those of {day}: '{saved.path}' was saved with {saved.sklearn}",
        )
    conda: tuple[str, ...] = ()
    if built:
        days |= {name: _end_of(newest_fitting(day, python)) for name, day in built.items()}
        conda = (
            "what conda's builders built is in the version of its day, or of the first days of this Python",
        )
    if days and "exclude-newer-package" not in settings:
        one = {**general, "exclude-newer-package": days, **settings}
        found.append(Trial(one, (*said, *model, *conda), "scikit-learn" if model and not conda else ""))
    if general:
        found.append(Trial({**general, **settings}, said))
    plain = (f"the newest versions are taken: those of {_day(general)} do not fit together or are not known",)
    return (*found, Trial(settings, plain if general else ()))


def chosen_day(written: str, commit: str | None, saved: Sequence[Saved]) -> str | None:
    """The day that `--as-of` names: one that is written, the last commit's (`commit`), or the last one of the release series that the
    newest of the `saved` models was made with (`model`). None for `now`. Raises UsageError."""
    if written == "now":
        return None
    if written == "commit":
        if commit is None:
            raise UsageError(
                "the project has no commit to take the day from", hint="write the day: --as-of 2024-06-30"
            )
        return commit
    if written == "model":
        last = max((item for item in saved if item.last_day is not None), key=_order, default=None)
        if last is None:
            raise UsageError(
                "no saved model names a version whose time is known", hint="write the day: --as-of 2024-06-30"
            )
        return last.last_day
    from datetime import date

    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", written):
            raise ValueError
        return date.fromisoformat(written).isoformat()
    except ValueError as error:
        raise UsageError(
            f"'{written}' is not a day", hint="write it as 2024-06-30, or: commit, model, now"
        ) from error


def as_of_settings(settings: Mapping[str, Any], day: str | None) -> Mapping[str, Any]:
    """`settings` of uv's, with nothing that is younger than `day`."""
    return settings if day is None else {**settings, "exclude-newer": _end_of(day)}


def old_project_note(
    commit: str | None, python: str, lines: Sequence[str], settings: Mapping[str, Any], today: str
) -> str | None:
    """What is said of requirements without versions in a project whose last commit is more than a year old."""
    if commit is None or "exclude-newer" in settings:
        return None
    day = newest_fitting(commit, python)
    loose = [line for line in lines if not re.search(r"==|~=|<| @ ", line.partition(";")[0])]
    if not loose or int(today[:4]) * 12 + int(today[5:7]) - int(day[:4]) * 12 - int(day[5:7]) <= 12:
        return None
    return (
        f"the last commit is from {commit}, but versions that nothing pins are today's: "
        f"'corten lock --as-of {day}' takes those of {'that day' if day == commit else f'the first days of Python {python}'}"
    )


def deciding(
    saved: Sequence[Saved], named: Mapping[str, Sequence[str]], before: Sequence[Wheel]
) -> Saved | None:
    """The model whose version of scikit-learn should hold: the newest, unless the last lock or the project itself says one."""
    if any(wheel.name == "scikit-learn" for wheel in before):
        return None
    if any(re.search(r"[<=~]", line) for line in named.get("scikit-learn", ())):
        return None
    return max((item for item in saved if item.sklearn is not None), key=_order, default=None)


def mismatches(saved: Sequence[Saved], wheels: Sequence[Wheel]) -> tuple[tuple[str, str], ...]:
    """Models that were saved with another series of scikit-learn than is in `wheels`: what is wrong, and what to do."""
    locked = next((wheel.version for wheel in wheels if wheel.name == "scikit-learn"), None)
    series = ".".join((locked or "").split(".")[:2])
    return tuple(
        (
            f"'{item.path}' was saved with scikit-learn {item.sklearn}, and the lock has {locked or 'none'}",
            f"add to the dependencies: scikit-learn=={item.series}.*; where that has no wheel for this Python, save the model "
            "again with the version of the lock",
        )
        for item in saved
        if item.sklearn is not None and item.series != series
    )


def _order(item: Saved) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", item.sklearn or "")[:3])


def _end_of(day: str) -> str:
    return f"{day}T23:59:59Z"


def _day(settings: Mapping[str, Any]) -> str:
    return str(settings.get("exclude-newer", "")).partition("T")[0]
