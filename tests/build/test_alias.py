"""Another path that leads to the project's folder is part of the layer of its code, and of that layer's key."""

from __future__ import annotations

from corten.build.plan import VENV, CodeLayer

ABOUT = ("demo", None, ())


def test_the_key_of_a_layer_knows_the_alias_and_is_as_before_without():
    plain = CodeLayer((), ABOUT, "3.11", "compiler", VENV)
    assert plain.key == CodeLayer((), ABOUT, "3.11", "compiler", VENV, None, "").key
    assert plain.key != CodeLayer((), ABOUT, "3.11", "compiler", VENV, None, "/src").key
    assert "alias" not in plain.key
