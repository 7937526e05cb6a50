"""What `corten store check` finds, how it says where it came from, and what a repair removes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.oci.digest import Digest
from corten.store.blobs import Blobs
from corten.store.check import Checked, Finding, check, repair
from corten.store.encodings import Encoding
from corten.store.store import Store
from support import tars
from support.command import Corten
from support.images import add_layer, make_image
from support.wheels import make_wheel

FILES = {"etc/a": b"a" * 3000, "usr/bin/tool": b"#!/bin/sh\n", "usr/lib/b": b"b"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An image of two layers, a wheel, what is known of them, and a blob of the registry."""
    made = Store.open(tmp_path / "home")
    image = make_image(made, "iris:1", [FILES, {"app/main.py": b"print()\n"}], keys=True)
    make_image(made, "other:1", [FILES], keys=True)
    made.encodings.add(
        image.config.diff_ids[0], Encoding("gzip", Digest.of(b"x"), 1, repositories=("host/iris",))
    )
    made.repo_digests.note(image.id, "host/iris@sha256:1")
    wheel = make_wheel(tmp_path, "demo", "1.5")
    made.files.add(tmp_path / wheel.file, wheel.sha256, "wheel")
    Blobs(made.root / "registry").put(b"layer")
    return made


def tree(store: Store) -> Path:
    return store.layers.tree(store.images.get("iris:1").config.diff_ids[0])


def one(checked: Checked, kind: str) -> Finding:
    assert [finding.kind for finding in checked.findings] == [kind]
    return checked.findings[0]


def wheel_of(store: Store) -> Path:
    return next(path for path in store.files.directory.rglob("*") if path.is_file())


def overwrite(path: Path) -> None:
    """One byte of a file changes, as on a bad disk: neither its size nor its times."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_whole_store_has_no_findings(store: Store) -> None:
    checked = check(store)
    assert checked.findings == ()
    assert checked.incomplete == ()
    assert checked.numbers == {
        "layers": 2,
        "blobs": 4,
        "files": 1,
        "images": 2,
        "keys": 2,
        "encodings": 1,
        "repo-digests": 1,
        "registry-blobs": 1,
    }
    assert checked.bytes > sum(store.layers.get(diff_id).size for diff_id in store.layers.all())


def test_an_empty_store_is_no_finding_and_stays_empty(tmp_path: Path) -> None:
    assert check(Store.open(tmp_path / "none")) == Checked()
    assert list(tmp_path.iterdir()) == []


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte": (lambda tree: overwrite(tree / "etc/a"), "other contents"),
    "bytes in a file": (lambda tree: (tree / "etc/a").write_bytes(b"A" * 3000), "'etc/a' was written later"),
    "a longer file": (lambda tree: (tree / "etc/a").write_bytes(b"a" * 3001), "'etc/a' has 3001 bytes"),
    "a file more": (lambda tree: (tree / "etc/new").write_bytes(b""), "'etc/new' was added"),
    "a folder more": (lambda tree: (tree / "new").mkdir(), "'new' was added"),
    "a file less": (lambda tree: (tree / "usr/lib/b").unlink(), "'usr/lib/b' is missing"),
    "a mode": (lambda tree: (tree / "etc/a").chmod(0o666), "'etc/a' has the mode 666"),
    "a folder's mode": (lambda tree: (tree / "etc").chmod(0o777), "'etc' has the mode 777"),
    "set-user-ID": (lambda tree: (tree / "usr/bin/tool").chmod(0o4755), "'usr/bin/tool' has the mode 4755"),
    "a link": (lambda tree: replace_by_link(tree / "etc/a"), "'etc/a' is a symlink"),
    "a folder as a link": (
        lambda tree: (shutil.rmtree(tree / "etc"), (tree / "etc").symlink_to("usr")),
        "'etc' is",
    ),
    "an owner": (lambda tree: os.chown(tree / "etc/a", 7, 7), "'etc/a' belongs to the user 7"),
    "the list": (lambda tree: overwrite(tree.parent / "entries"), ""),
    "the size": (
        lambda tree: (tree.parent / "layer.json").write_text(
            (tree.parent / "layer.json").read_text().replace('"size": ', '"size": 1')
        ),
        "'layer.json' says",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_to_a_layer_is_found_and_repaired(change: str, store: Store) -> None:
    act, said = CHANGES[change]
    image = store.images.get("iris:1")
    diff_id = image.config.diff_ids[0]
    if change == "an owner" and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    act(tree(store))
    finding = one(check(store), "layer")
    assert finding.name == str(diff_id)
    assert finding.origin == ("layer 0", "image 'iris:1'", "image 'other:1'", "registry 'host/iris'")
    assert said in " ".join((finding.problem, *finding.details))
    repaired = repair(store, check(store))
    assert one(repaired, "layer").removed
    assert not store.layers.has(diff_id)
    lacks = check(store).findings
    assert lacks == ()  # a registry has it
    make_image(store, "iris:1", [FILES], keys=True)
    assert check(store).findings == ()


def test_what_was_linked_with_a_layer_is_found_as_well(store: Store) -> None:
    """Layers of many small wheels are made by hard links from the layers of each."""
    with store.temporary_directory() as directory:
        (directory / "fs").mkdir()
        os.link(tree(store) / "etc/a", directory / "fs/a")
        store.layers.commit(directory, None)
    overwrite(tree(store) / "etc/a")
    assert [finding.kind for finding in check(store).findings] == ["layer", "layer"]


@pytest.mark.parametrize("name", tars.ACCEPTED)
def test_no_odd_layer_from_elsewhere_is_taken_for_damaged(name: str, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "home")
    data = tars.ACCEPTED[name] + tars.END
    with store.temporary_directory() as directory:
        store.layers.receive(directory, [data], Digest.of(data))
    assert check(store).findings == ()
    place = store.layers.directory / Digest.of(data).hex
    (place / "fs" / "added").write_text("")
    assert "'added' was added" in one(check(store), "layer").details


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("set-user-ID", lambda tree: (tree / "su").chmod(0o6755), "'su' has the mode 6755"),
        ("global owners", lambda tree: os.chown(tree / "f", 0, 0), "'f' belongs to 0:0"),
        ("a hidden directory that is made", lambda tree: os.removexattr(tree / "d", "user.overlay.opaque"), "'d' shows"),
        ("links outwards", lambda tree: ((tree / "a").unlink(), (tree / "a").symlink_to("/etc")), "'a' is a link"),
        ("a file over a link outwards", lambda tree: (tree / "f").write_text("MINE"), "was written later"),
        ("odd padding", lambda tree: overwrite(tree.parent / "recipe"), ""),
        ("a file again and again", lambda tree: overwrite(tree.parent / "replaced" / "0"), "other contents"),
    ],
)  # fmt: skip
def test_a_changed_layer_from_elsewhere(
    name: str, change: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    if name == "global owners" and os.geteuid() != 0:
        pytest.skip("only root keeps owners")
    store = Store.open(tmp_path / "home")
    data = tars.ACCEPTED[name] + tars.END
    with store.temporary_directory() as directory:
        store.layers.receive(directory, [data], Digest.of(data))
    change(store.layers.directory / Digest.of(data).hex / "fs")
    finding = one(check(store), "layer")
    assert said in " ".join((finding.problem, *finding.details))
    assert one(repair(store, check(store)), "layer").removed
    assert check(store).findings == ()


def test_a_damaged_configuration_names_its_image(store: Store) -> None:
    image = store.images.get("iris:1")
    overwrite(store.blobs.path(image.id))
    finding = one(check(store), "blob")
    assert finding.origin == ("the configuration of image 'iris:1'", "registry 'host/iris@sha256:1'")
    assert one(repair(store, check(store)), "blob").removed
    lacks = one(check(store), "image")
    assert (lacks.name, lacks.problem) == ("iris:1", f"lacks its configuration '{image.id.short}'")
    make_image(store, "iris:1", [FILES, {"app/main.py": b"print()\n"}], keys=True)
    assert check(store).findings == ()


def test_a_damaged_wheel_names_its_package(store: Store) -> None:
    path = wheel_of(store)
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    finding = one(check(store), "file")
    assert finding.origin == ("wheel demo 1.5",)
    assert one(repair(store, check(store)), "file").removed
    assert check(store).findings == ()


def test_a_damaged_debian_package_names_itself(store: Store, tmp_path: Path) -> None:
    control = tmp_path / "package" / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(
        "Package: hello\nVersion: 2.10-3\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n"
    )
    subprocess.run(
        ["dpkg-deb", "--build", control.parent, tmp_path / "hello.deb"], check=True, capture_output=True
    )
    data = (tmp_path / "hello.deb").read_bytes()
    place = store.files.add(tmp_path / "hello.deb", Digest.of(data).hex, "deb")
    assert check(store).findings == ()
    place.write_bytes(data + b"more")
    assert one(check(store), "file").origin == ("package hello 2.10-3",)


def test_a_key_that_leads_to_another_layer(store: Store) -> None:
    other = add_layer(store, "other")
    key = next(path for path in sorted(store.layers.keys.glob("*/*")) if str(other) not in path.read_text())
    key.write_text(f"{other}\n")
    finding = one(check(store), "key")
    assert other.short in finding.problem
    assert "image 'iris:1'" in finding.origin
    repair(store, check(store))
    assert check(store).findings == ()


@pytest.mark.parametrize(("kind", "directory"), [("encoding", "encodings"), ("repo-digest", "repo-digests")])
@pytest.mark.parametrize("text", ["", "{}", '[{"digest": "x"}, 1]', "[" * 100_000])
def test_damaged_notes(kind: str, directory: str, text: str, store: Store) -> None:
    if kind == "repo-digest" and text.endswith("]"):
        text = '"x"'
    next((store.root / directory).glob("*.json")).write_text(text)
    assert one(check(store), kind).problem == "is damaged"
    assert one(repair(store, check(store)), kind).removed
    assert check(store).findings == ()


def test_a_name_that_leads_nowhere(store: Store) -> None:
    next(store.images.directory.glob("other*.json")).write_text("{")
    finding = one(check(store), "image")
    assert (finding.name, finding.problem) == ("other:1", "is damaged")
    assert one(repair(store, check(store)), "image").removed
    assert check(store).findings == ()


def test_a_damaged_blob_of_the_registry(store: Store) -> None:
    overwrite(next((store.root / "registry/blobs/sha256").iterdir()))
    assert one(check(store), "registry-blob").problem
    assert one(repair(store, check(store)), "registry-blob").removed


def test_leftovers_are_told_and_are_no_findings(store: Store) -> None:
    place = store.layers.directory / ("a" * 64)
    place.mkdir()
    (place / "synced").touch()
    checked = check(store)
    assert checked.findings == ()
    assert [diff_id.hex for diff_id in checked.incomplete] == ["a" * 64]
    repair(store, checked)
    assert not place.exists()


def test_a_layer_in_use_is_kept(store: Store) -> None:
    diff_id = store.images.get("iris:1").config.diff_ids[0]
    overwrite(tree(store) / "etc/a")
    finding = one(repair(store, check(store), lambda: [diff_id]), "layer")
    assert finding.in_use
    assert not finding.removed
    assert store.layers.has(diff_id)


def test_a_repair_looks_again(store: Store) -> None:
    """Between the check and the repair a build has put a new layer in the place of the damaged one."""
    diff_id = store.images.get("iris:1").config.diff_ids[0]
    overwrite(tree(store) / "etc/a")
    checked = check(store)
    store.layers.remove(diff_id, store.root / "tmp")
    make_image(store, "iris:1", [FILES, {"app/main.py": b"print()\n"}], keys=True)
    assert repair(store, checked).findings == ()
    assert store.layers.has(diff_id)


def test_quick_looks_at_lists_sizes_and_modes(store: Store) -> None:
    overwrite(tree(store) / "etc/a")
    assert check(store, quick=True).findings == ()
    (tree(store) / "etc/a").chmod(0o600)
    assert one(check(store, quick=True), "layer").details


def test_builds_go_on_while_a_store_is_checked(store: Store) -> None:
    """Layers that come, and names that change, are no findings."""
    stop = threading.Event()

    def build() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with store.lock("store", shared=True):
                make_image(store, "iris:1", [FILES, {"app/main.py": b"%d" % number}], keys=True)

    thread = threading.Thread(target=build)
    thread.start()
    try:
        for _ in range(5):
            assert check(store).findings == ()
    finally:
        stop.set()
        thread.join()


def test_the_command(store: Store) -> None:
    corten = Corten(store.root)
    whole = corten("store", "check")
    assert whole.stdout == ""
    assert "checked 2 layers, 4 blobs, 1 file, 2 images" in whole.stderr
    overwrite(tree(store) / "etc/a")
    overwrite(tree(store) / "usr/lib/b")
    shown = corten("store", "check", code=1)
    assert shown.stdout.startswith("layer sha256:")
    assert "from: layer 0, image 'iris:1'" in shown.stdout
    assert "error: the store is damaged in 1 place" in shown.stderr
    assert "hint: 'corten store check --repair' removes what is damaged" in shown.stderr
    document = json.loads(corten("store", "check", "--json", code=1).stdout)
    assert [finding["kind"] for finding in document["findings"]] == ["layer"]
    assert document["findings"][0]["images"] == ["iris:1", "other:1"]
    assert document["checked"]["layers"] == 2
    repaired = corten("store", "check", "--repair")
    assert ": removed" in repaired.stdout
    assert "build or pull these images again: iris:1, other:1" in repaired.stderr
    empty = corten.at(store.root.parent / "none")("store", "check")
    assert "is empty: there is nothing to check" in empty.stderr
