"""The devices that a caller asks for, found on this machine: reading, choosing and completing in one call."""

from __future__ import annotations

from collections.abc import Sequence

from corten.events import Note, Observer
from corten.runtime.cdi.choose import Gpus, edits_for, gpu_devices
from corten.runtime.cdi.model import Edits
from corten.runtime.cdi.nodes import completed
from corten.runtime.cdi.read import directories, read_specifications
from corten.runtime.identity import Identity
from corten.values import replace


def wanted_edits(
    gpus: Gpus | None, names: Sequence[str], places: tuple[str, ...], identity: Identity, observe: Observer
) -> Edits:
    """The edits for `gpus` and for the devices with the full `names`, by the specifications in `places` (empty: those of
    this machine). What cannot be done is told to `observe`. Raises RuntimeFailure for a device that is not there."""
    found = read_specifications(places or directories())
    asked = [*(gpu_devices(gpus, found) if gpus is not None else ()), *names]
    edits = completed(edits_for(asked, found))
    groups = tuple(group for group in edits.groups if identity.kind == "root" or identity.has_gid(group))
    lost = [str(group) for group in edits.groups if group not in groups]
    notes = [*edits.notes, *([f"the group {', '.join(lost)} of a device is not this user's"] if lost else [])]
    for note in dict.fromkeys(notes):
        observe(Note(note))
    return replace(edits, groups=groups, notes=())
