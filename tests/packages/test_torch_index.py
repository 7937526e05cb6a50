"""PyTorch's own index is passed over where it cannot be reached, and only then."""

from __future__ import annotations

import pytest

from corten.errors import FetchError
from corten.oci.platform import Platform
from corten.packages.compatibility import Target
from corten.packages.explain import explain
from corten.packages.indexes import Index, Indexes
from corten.packages.torch_index import without_it
from corten.packages.uv import Request
from corten.packages.wheels import Wanted
from corten.values import replace

TORCH = Index("https://download.pytorch.org/whl/cpu", name="torch-cpu")
OTHER = Index("https://index.example/simple", name="other")
TARGET = Target(Platform.parse("amd64"), "3.11.2", 36)
PRINTED = """error: Request failed after 3 retries
  Caused by: Failed to fetch: `https://download.pytorch.org/whl/cpu/torch/`
  Caused by: error sending request for url (https://download.pytorch.org/whl/cpu/torch/)
  Caused by: client error (Connect)
  Caused by: dns error: failed to lookup address information: Name or service not known
"""


def error() -> FetchError:
    found = explain(PRINTED, TARGET, lambda _: ())
    assert isinstance(found, FetchError)
    return found


def test_what_is_left_names_no_build_of_pytorch_and_no_index_of_it() -> None:
    request = Request(
        TARGET,
        lines=("torch==2.1.0+cpu", "flask==2.0+local", "torchvision==0.16.0+cu118 ; python_version > '3'"),
        sources={"torch": ({"index": "torch-cpu"},), "flask": ({"index": "other"},)},
    )
    indexes = Indexes(
        extra=(TORCH, OTHER), find_links=("https://download.pytorch.org/whl/torch_stable.html", "wheels")
    )
    found = without_it(indexes, Wanted(request, named={"torch": ("torch==2.1.0+cpu",)}), error())
    assert found is not None
    left, wanted = found
    assert left.extra == (OTHER,)
    assert left.find_links == ("wheels",)
    assert wanted.request.lines == (
        *("torch==2.1.0", "flask==2.0+local", "torchvision==0.16.0 ; python_version > '3'"),
    )
    assert wanted.request.sources == {"flask": ({"index": "other"},)}
    assert wanted.named == {"torch": ("torch==2.1.0",)}
    assert without_it(left, wanted, error()) is None  # it ends


def test_an_index_that_is_the_only_one_makes_way_for_the_default() -> None:
    found = without_it(Indexes(default=TORCH), Wanted(Request(TARGET, lines=("torch",))), error())
    assert found is not None
    assert found[0].default is None


@pytest.mark.parametrize(
    "message",
    [
        "the index at 'index.example' is not known to this machine's name resolution",
        "the index at 'download.pytorch.org' refused access",
        "the index at 'download.pytorch.org' has a certificate that is not trusted",
        "the index at 'download.pytorch.org.evil.example' is down: the connection failed",
    ],
)
def test_nothing_else_makes_it_go(message: str) -> None:
    wanted = Wanted(Request(TARGET, lines=("torch",)))
    assert without_it(Indexes(extra=(TORCH, OTHER)), wanted, FetchError(message)) is None


def test_pinned_hashes_keep_it() -> None:
    wanted = replace(Wanted(Request(TARGET, lines=("torch",))), hashed=True)
    assert without_it(Indexes(extra=(TORCH,)), wanted, error()) is None
