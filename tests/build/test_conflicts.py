"""Which wheels must be looked at to know that none of them writes over another."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corten.build.conflicts import Verdict, examine, remember, remembered, suspects
from corten.build.known import key_name
from corten.build.plan import VENV, WheelLayer
from corten.oci.digest import Digest
from corten.packages.files import Wheel
from corten.store.store import Store

SITE = "opt/venv/lib/python3.11/site-packages"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "home")


def wheel(name: str, content: str = "") -> WheelLayer:
    digest = Digest.of(f"{name}{content}".encode()).hex
    return WheelLayer(Wheel(name, "1", f"{name}-1-py3-none-any.whl", 1, digest), VENV, "3.11", "cpython")


def add(store: Store, layer: WheelLayer, files: dict[str, str]) -> tuple[WheelLayer, Digest]:
    with store.temporary_directory() as directory:
        for path, text in files.items():
            place = directory / "fs" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return layer, store.layers.commit(directory, layer.key).diff_id


def test_a_verdict_survives_its_text(store: Store) -> None:
    wheels = [
        add(store, wheel("a"), {f"{SITE}/shared.py": "a", f"{SITE}/same.py": ""}),
        add(store, wheel("b"), {f"{SITE}/shared.py": "b", f"{SITE}/same.py": ""}),
    ]
    layers = [layer for layer, _ in wheels]
    verdict = examine(store, wheels)
    assert [(item.loser, item.winner, item.path) for item in verdict.conflicts] == [
        ("a", "b", f"/{SITE}/shared.py")
    ]
    text = verdict.encode()
    assert text is not None
    assert Verdict.decode(text) == verdict
    assert verdict.is_about(layers)
    assert not verdict.is_about(layers[:1])
    assert remembered(store, layers) is None
    remember(store, layers, verdict)
    assert remembered(store, layers) == verdict
    assert remembered(store, [wheel("a", "newer"), layers[1]]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"conflicts":[["a"]],"roots":{}}',
        '{"conflicts":[],"roots":[1]}',
        '{"conflicts":3}',
        '{"conflicts":[],"roots":{"a":3}}',
        '{"conflicts":[["a","b","\\u001b[2J",0]],"roots":{}}',
        "[" * 100_000,
        " " * 300_000,
    ],
)
def test_a_hostile_verdict_is_none(text: str) -> None:
    assert Verdict.decode(text) is None


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ({f"{SITE}/one/x.py": ""}, {f"{SITE}/two/x.py": ""}, set()),
        ({f"{SITE}/space/one.py": ""}, {f"{SITE}/space/two.py": ""}, {"old", "new"}),
        ({f"{SITE}/__pycache__/a.pyc": ""}, {f"{SITE}/__pycache__/b.pyc": ""}, set()),
        ({"opt/venv/bin/one": ""}, {"opt/venv/bin/two": ""}, set()),
        ({"opt/venv/bin/tool": ""}, {"opt/venv/bin/tool": ""}, {"old", "new"}),
        ({"opt/venv/share/man/man1/a.1": ""}, {"opt/venv/share/man/man1/b.1": ""}, set()),
        ({"opt/venv/share/a/b/c/d": ""}, {"opt/venv/share/a/b/c": ""}, {"old", "new"}),
        ({"opt/venv/share/x/y": ""}, {"opt/venv/share/x": ""}, {"old", "new"}),
    ],
)
def test_wheels_without_a_common_root_have_no_common_path(
    store: Store, old: dict[str, str], new: dict[str, str], wanted: set[str]
) -> None:
    """Those that were judged together before are left out, unless they were found to be at odds."""
    layers = [wheel("old"), wheel("older"), wheel("new")]
    seen = examine(store, [add(store, layers[0], old), add(store, layers[1], old)])
    here = examine(store, [add(store, layers[2], new)])
    found = suspects(layers, seen, here.roots)
    assert found - {"older"} == wanted
    assert ("older" in found) == bool(wanted)


def test_what_is_unknown_is_suspect(store: Store) -> None:
    layers = [wheel("a"), wheel("b")]
    here = examine(store, [add(store, layers[0], {f"{SITE}/a.py": ""})])
    assert suspects(layers, None, here.roots) == {"b"}
    odd = examine(
        store, [add(store, wheel("c"), {f"{SITE}/x": "1"}), add(store, wheel("d"), {f"{SITE}/x": "2"})]
    )
    assert suspects([wheel("c"), *layers], odd, here.roots) == {"b", "c"}
    assert key_name(layers[0].key) in here.roots


_PLACES = [f"{SITE}/{name}" for name in ("a/x.py", "a/y.py", "b.py", "b/z.py", "ns/p/q.py")] + [
    "opt/venv/bin/tool",
    "opt/venv/etc/deep/in/four/five.cfg",
    "opt/venv/etc/deep/in",
    "opt/venv/share/x",
]


@given(
    trees=st.lists(
        st.dictionaries(st.sampled_from(_PLACES), st.sampled_from("12"), min_size=1), min_size=2, max_size=4
    )
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_looking_at_those_that_share_a_place_finds_what_looking_at_all_finds(
    trees: list[dict[str, str]], tmp_path: Path
) -> None:
    """And a second look, at what is kept of the first, answers the same."""
    trees = [
        {path: text for path, text in tree.items() if not any(f"{path}/" in other for other in tree)}
        for tree in trees
    ]
    store = Store.open(tmp_path / "home")
    names = "abcd"[: len(trees)]
    content = repr(trees)
    wheels = [add(store, wheel(name, content), tree) for name, tree in zip(names, trees, strict=True)]
    expected = set()
    for (one, left), (two, right) in itertools.combinations(zip(names, trees, strict=True), 2):
        last = [name for name, tree in zip(names, trees, strict=True)]
        for path in _with_folders(left).keys() & _with_folders(right).keys():
            winner = max(name for name in last if path in _with_folders(trees[names.index(name)]))
            if two == winner and _with_folders(left)[path] != _with_folders(right)[path]:
                expected.add((one, two))
    for _ in range(2):
        verdict = examine(store, wheels)
        assert {(item.loser, item.winner) for item in verdict.conflicts} == expected
        assert verdict.is_about([layer for layer, _ in wheels])


def _with_folders(tree: dict[str, str]) -> dict[str, str]:
    """Every path of a tree with its content, and every folder on the way to one."""
    folders = {str(parent): "folder" for path in tree for parent in Path(path).parents}
    return {**folders, **tree}
