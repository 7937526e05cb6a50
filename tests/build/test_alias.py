"""Another path that leads to the project's folder is part of the layer of its code, and of that layer's key."""

from __future__ import annotations

from corten.build.plan import VENV, CodeLayer
from corten.oci.config import ImageConfig
from corten.oci.platform import Platform
from corten.runtime.decide import rooms_of
from corten.runtime.options import RunOptions

ABOUT = ("demo", None, ())


def test_the_key_of_a_layer_knows_the_alias_and_is_as_before_without():
    plain = CodeLayer((), ABOUT, "3.11", "compiler", VENV)
    assert plain.key == CodeLayer((), ABOUT, "3.11", "compiler", VENV, None, "").key
    assert plain.key != CodeLayer((), ABOUT, "3.11", "compiler", VENV, None, "/src").key
    assert "alias" not in plain.key


def test_a_predictor_for_cog_may_write_beside_its_code_and_another_may_not():
    from corten.values import replace

    config = ImageConfig(
        Platform.parse("linux/amd64"), (), env=("A=b", "CORTEN_COG=1"), labels={"dev.corten.entry": "predict"}
    )
    assert rooms_of(config, RunOptions()) == ("/app",)
    assert rooms_of(config, RunOptions(read_only=True)) == ()
    assert rooms_of(replace(config, env=("A=b",)), RunOptions()) == ()
