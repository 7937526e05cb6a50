"""The layers that a lock alone determines, made where nobody has them, and the conflicts among their wheels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from corten.build import conflicts
from corten.build.conflicts import Verdict
from corten.build.job import Job
from corten.build.known import BuiltLayer, key_name
from corten.build.plan import (
    VENV,
    BucketLayer,
    EnvironmentLayer,
    PackageLayer,
    WheelLayer,
    package_layers,
)
from corten.errors import BuildError, NoSandbox
from corten.events import Note, Warned
from corten.oci import media
from corten.oci.digest import Digest
from corten.values import replace


def ensure_package_layers(job: Job, beneath: int) -> list[BuiltLayer]:
    """Every layer of the lock for the image of `job`, bottom to top; those that nobody has are made. `beneath` layers are
    the base's own. Raises BuildError, FetchError, FormatError, RegistryError, StoreError."""
    try:
        return _ensured(job, beneath)
    except NoSandbox as error:
        if job.part.scripts != "caches":
            raise
        job.observe(
            Warned(
                f"the caches of fonts, icons and others are not made, so the image differs from the one that other machines build: "
                f"{error.message}",
                error.hint,
            )
        )
        return _ensured(replace(job, part=replace(job.part, scripts="files")), beneath)


def _ensured(job: Job, beneath: int) -> list[BuiltLayer]:
    if job.part.system and not job.part.scripts:
        job.observe(
            Warned(
                "the lock does not say what the scripts of its Debian packages do, so none is configured",
                "run 'corten lock'",
            )
        )
    # Two layers are kept free for weights and code.
    planned = partial(package_layers, job.part, job.lock.serving, reserved=2 + beneath)
    plan = planned(frozenset())
    wheels = _wheels(plan)
    made: set[str] = set()
    verdict = conflicts.remembered(job.store, wheels) if wheels else Verdict(())
    if verdict is None and _lacks(job, plan):
        verdict = _offered_verdict(job, plan, wheels)
    if verdict is None:
        made |= _make(job, plan)
        verdict = _examined(job, plan, wheels, made)
    names = _say_conflicts(job, verdict)
    if names and any(isinstance(layer, BucketLayer) for layer in plan):
        plan = planned(names)
    made |= _make(job, plan)
    carried = verdict.encode() if wheels and verdict.is_about(wheels) else None
    return [_built(job, layer, layer.key not in made, carried) for layer in plan]


def _built(job: Job, layer: PackageLayer, reused: bool, verdict: str | None) -> BuiltLayer:
    built = job.known.built(layer.key, layer.title, reused)
    if verdict and isinstance(layer, EnvironmentLayer) and layer.prefix == VENV:
        built = replace(built, annotations={media.WHEELS: verdict})
    return built


def _lacks(job: Job, plan: Sequence[PackageLayer]) -> bool:
    return any(job.store.layers.find(layer.key) is None for layer in plan)


def _make(job: Job, plan: Sequence[PackageLayer]) -> set[str]:
    """The keys of the layers that had to be made."""
    if all(job.known.find(layer.key) is not None for layer in plan):
        return set()
    workshop = job.workshop()
    workshop.ensure(plan)
    return workshop.made


def _wheels(plan: Sequence[PackageLayer]) -> list[WheelLayer]:
    """The wheels of the project's environment in the order in which they are mounted."""
    wheels: list[WheelLayer] = []
    for layer in plan:
        if isinstance(layer, BucketLayer):
            wheels += layer.wheels
        elif isinstance(layer, WheelLayer):
            wheels.append(layer)
    return sorted(wheels, key=lambda layer: layer.wheel.name)


def _offered_verdict(
    job: Job, plan: Sequence[PackageLayer], wheels: Sequence[WheelLayer] | None = None
) -> Verdict | None:
    """What the image that serves as a cache says of its wheels; with `wheels`, only where they are exactly those."""
    for layer in plan:
        if isinstance(layer, EnvironmentLayer) and layer.prefix == VENV:
            offered = job.known.offered(layer.key)
            verdict = Verdict.decode(offered.annotations.get(media.WHEELS, "")) if offered else None
            if verdict and (wheels is None or verdict.is_about(wheels)):
                return verdict
    return None


def _examined(
    job: Job, plan: Sequence[PackageLayer], wheels: Sequence[WheelLayer], made: set[str]
) -> Verdict:
    """Look at the wheels themselves: at all that are here, and at absent ones as far as somebody else may write where
    they do. Those are fetched where an error or the plan depends on it."""
    present = _present(job, wheels)
    here = conflicts.examine(job.store, present)
    if len(present) == len(wheels):
        if all(job.store.layers.find(layer.key) for layer in wheels):
            conflicts.remember(job.store, wheels, here)
        return here
    old = _offered_verdict(job, plan)
    wanted = conflicts.suspects(wheels, old, here.roots)
    lacking = [layer for layer in wheels if layer.wheel.name in wanted and layer not in dict(present)]
    if lacking:
        if not job.project.strict and not any(isinstance(layer, BucketLayer) for layer in plan):
            names = ", ".join(f"'{layer.wheel.name}'" for layer in lacking[:5])
            more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
            job.observe(
                Note(
                    f"not checked whether other wheels write to the same paths, because they are not here: {names}{more}",
                    verbose=True,
                )
            )
            return here
        made |= _make(job, lacking)
        job.known.fetch([layer.key for layer in lacking])
        here = conflicts.examine(job.store, _present(job, wheels))
    if old is None:
        return here
    current = {key_name(layer.key) for layer in wheels}
    seen = {key: value for key, value in old.roots.items() if key in current}
    return Verdict(here.conflicts, {**seen, **here.roots})


def _present(job: Job, wheels: Sequence[WheelLayer]) -> list[tuple[WheelLayer, Digest]]:
    found = [(layer, job.known.find(layer.key)) for layer in wheels]
    return [(layer, diff_id) for layer, diff_id in found if diff_id and job.store.layers.has(diff_id)]


def _say_conflicts(job: Job, verdict: Verdict) -> frozenset[str]:
    """Each pair of wheels that write a path differently is a warning, or an error with `strict`. Returns their names."""
    for conflict in verdict.conflicts:
        more = f" (and {conflict.count} more)" if conflict.count else ""
        message = f"'{conflict.loser}' and '{conflict.winner}' both write '{conflict.path}'{more} with different bytes"
        hint = "keep one of the two in the project's dependencies"
        if job.project.strict:
            raise BuildError(message, hint=hint)
        job.observe(Warned(f"{message}; '{conflict.winner}' wins", hint))
    return verdict.names
