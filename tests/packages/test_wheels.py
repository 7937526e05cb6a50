"""Resolving with the real uv over indexes made by the tests: what is chosen, what is kept, and every clear error."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import CortenError, FetchError, HashMismatch, ProjectError, ResolutionError
from corten.events import Event, Note
from corten.oci.platform import Platform
from corten.packages.compatibility import Target
from corten.packages.files import Wheel
from corten.packages.indexes import read_indexes
from corten.packages.requirements import parse_requirement
from corten.packages.uv import Request
from corten.packages.wheels import Wanted, WheelResolver
from corten.store.store import Store
from support.index import publish
from support.web import Web, serving
from support.wheels import make_wheel

BOOKWORM = Target(Platform.parse("linux/amd64"), "3.11.2", 36)


def named(*lines: str) -> dict[str, tuple[str, ...]]:
    return {parse_requirement(line).name: (line,) for line in lines if parse_requirement(line).name}


class Machine:
    """A machine of its own: a home, a store, uv's cache, and an index on `web` over the wheels in `pool`."""

    def __init__(self, web: Web, root: Path) -> None:
        self.web = web
        self.root = root
        self.pool = root / "pool"
        self.pool.mkdir()
        self.store = Store(root / "store")
        self.said: list[str] = []
        (root / "home").mkdir()
        self.environment = {
            "HOME": str(root / "home"),
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "UV_DEFAULT_INDEX": f"{web.url}/simple",
            "UV_HTTP_RETRIES": "0",
        }

    def make(self, name: str, version: str = "1.0", *requires: str, tag: str = "py3-none-any") -> Wheel:
        return make_wheel(self.pool, name, version, requires=requires, tag=tag)

    def publish(self, **options: object) -> None:
        publish(self.web, self.pool, **options)  # type: ignore[arg-type]

    def resolve(
        self,
        *lines: str,
        previous: tuple[Wheel, ...] = (),
        target: Target = BOOKWORM,
        wanted: Wanted | None = None,
        **options: object,
    ) -> dict[str, Wheel]:
        indexes = read_indexes(None, self.environment)
        wanted = wanted or Wanted(
            Request(target, lines=lines),
            named=named(*lines),
        )
        with self.store.temporary_directory() as directory:
            resolver = WheelResolver(self.store, indexes, directory, self.hear)
            return {wheel.name: wheel for wheel in resolver.resolve(wanted, previous, **options)}  # type: ignore[arg-type]

    def hear(self, event: Event) -> None:
        if isinstance(event, Note) and not event.verbose:
            self.said.append(event.message)

    def failure(self, *lines: str, **options: object) -> CortenError:
        with pytest.raises(CortenError) as caught:
            self.resolve(*lines, **options)  # type: ignore[arg-type]
        print(caught.value.message, "| hint:", caught.value.hint)
        return caught.value


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with serving() as web:
        yield Machine(web, tmp_path)


@pytest.mark.parametrize("form", ["html", "json"])
def test_a_closure_is_resolved_with_files_hashes_and_sizes(machine: Machine, form: str) -> None:
    alpha = machine.make("alpha", "2.0", "beta-x>=1", "gamma; sys_platform == 'win32'")
    machine.make("alpha", "1.0")
    beta = machine.make("beta-x", "1.5")
    machine.publish(form=form)
    found = machine.resolve("alpha")
    assert found == {"alpha": alpha, "beta-x": beta}


def test_versions_hold_until_they_may_move(machine: Machine) -> None:
    old = (machine.make("alpha", "1.0", "beta"), machine.make("beta", "1.0"))
    machine.publish()
    assert tuple(machine.resolve("alpha").values()) == old
    machine.make("alpha", "2.0", "beta"), machine.make("beta", "2.0"), machine.make("gamma", "3.0", "beta>=1")
    machine.publish()

    def versions(**options: object) -> dict[str, str]:
        lines = ("alpha", "gamma")
        return {
            name: wheel.version for name, wheel in machine.resolve(*lines, previous=old, **options).items()
        }

    assert versions() == {"alpha": "1.0", "beta": "1.0", "gamma": "3.0"}
    assert versions(again=["beta"]) == {"alpha": "1.0", "beta": "2.0", "gamma": "3.0"}
    assert versions(upgrade=True) == {"alpha": "2.0", "beta": "2.0", "gamma": "3.0"}
    assert machine.resolve("alpha>=2", previous=old)["alpha"].version == "2.0"


def test_what_is_locked_keeps_its_file_and_is_not_asked_for(machine: Machine) -> None:
    locked = (machine.make("alpha", "1.0", "gamma"), machine.make("gamma", "1.0"))
    machine.publish()
    machine.resolve("alpha")
    machine.make("alpha", "1.0", "gamma", tag="cp311-cp311-manylinux_2_28_x86_64")  # a better file, later
    machine.make("alpha", "2.0"), machine.make("beta", "1.0", "delta"), machine.make("delta", "1.0")
    machine.publish()
    machine.web.seen.clear()
    assert tuple(machine.resolve("alpha", previous=locked).values()) == locked
    assert machine.web.seen == []
    found = machine.resolve("alpha", "beta", previous=locked)
    assert {name: wheel.version for name, wheel in found.items()} == {
        "alpha": "1.0",
        "beta": "1.0",
        "delta": "1.0",
        "gamma": "1.0",
    }
    assert found["alpha"] == locked[0]
    assert {item.path for item in machine.web.seen if item.path.startswith("/simple")} == {
        "/simple/beta/",
        "/simple/delta/",
    }


def test_a_loosened_or_tightened_requirement_asks_again(machine: Machine) -> None:
    locked = (machine.make("alpha", "1.0"),)
    machine.publish()
    machine.resolve("alpha")
    machine.make("alpha", "2.0")
    machine.publish()
    machine.resolve("alpha")  # now uv's cache knows of 2.0, and must not be believed about what is the newest
    machine.make("alpha", "2.1")
    machine.publish()
    assert machine.resolve("alpha>=1", previous=locked)["alpha"].version == "1.0"
    assert machine.resolve("alpha>=2", previous=locked)["alpha"].version == "2.1"


def test_a_version_holds_where_an_extra_index_has_it_for_others_only(
    machine: Machine, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "extra", "alpha", "1.9.1", tag="cp310-cp310-manylinux_2_28_x86_64")
    publish(machine.web, tmp_path / "extra", root="/extra")
    machine.environment["PIP_EXTRA_INDEX_URL"] = f"{machine.web.url}/extra"
    machine.make("alpha", "1.9.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    locked = machine.make("alpha", "1.9.1", tag="cp311-cp311-manylinux_2_28_x86_64")
    beta = machine.make("beta", "1.0")
    machine.make("beta", "0.9")
    machine.publish()
    assert machine.resolve("alpha", "beta") == {"alpha": locked, "beta": beta}
    assert machine.resolve("alpha", "beta", previous=(locked, beta)) == {"alpha": locked, "beta": beta}
    found = machine.resolve("alpha", "beta<1", previous=(locked, beta))
    assert {wheel.version for wheel in found.values()} == {"1.9.1", "0.9"}


def test_the_wheel_fits_the_platform(machine: Machine) -> None:
    for tag in (
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp311-cp311-manylinux_2_28_aarch64",
        "cp313-cp313-manylinux_2_38_x86_64",
    ):
        machine.make("alpha", tag=tag)
    machine.publish()
    assert machine.resolve("alpha")["alpha"].file.endswith("2_28_x86_64.whl")
    arm = Target(Platform.parse("arm64"), "3.11.2", 36)
    assert machine.resolve("alpha", target=arm)["alpha"].file.endswith("aarch64.whl")
    trixie = Target(Platform.parse("amd64"), "3.13.5", 41)
    assert machine.resolve("alpha", target=trixie)["alpha"].file.endswith("2_38_x86_64.whl")
    error = machine.failure("alpha", target=Target(Platform.parse("amd64"), "3.13.5", 36))
    assert "'alpha' 1.0 has no wheel for linux/amd64 with Python 3.13 and glibc 2.36" in error.message
    assert "linux/amd64 with glibc 2.38" in error.message


def test_a_wheel_for_another_platform_only(machine: Machine) -> None:
    machine.make("alpha", tag="cp311-cp311-win_amd64")
    machine.make("alpha", tag="cp311-cp311-macosx_11_0_arm64")
    machine.publish()
    error = machine.failure("alpha")
    assert isinstance(error, ResolutionError)
    assert "'alpha' 1.0 has no wheel for linux/amd64" in error.message
    assert "Windows" in error.message
    assert "macOS" in error.message
    assert "platform_machine" in str(error.hint)


@pytest.mark.parametrize("sdist", [(), ("alpha-1.0.tar.gz",)])
def test_a_wheel_for_another_python_only(machine: Machine, sdist: tuple[str, ...]) -> None:
    machine.make("alpha", tag="cp39-cp39-manylinux_2_28_x86_64")
    machine.make("alpha", tag="cp310-cp310-manylinux_2_28_x86_64")
    machine.publish(others=sdist)
    error = machine.failure("alpha==1.0")
    assert error.message == "'alpha' 1.0 has no wheel for Python 3.11; its wheels are for Python 3.9, 3.10"


def test_a_package_that_is_source_only(machine: Machine) -> None:
    machine.publish(others=["alpha-1.0.tar.gz"])
    machine.make("beta", "1.0")
    machine.publish(others=["alpha-1.0.tar.gz", "beta-2.0.tar.gz"])
    error = machine.failure("alpha")
    assert error.message == "'alpha' has no wheel, and no source that can be built here"
    assert "pip wheel" in str(error.hint)
    error = machine.failure("beta==2.0")
    assert error.message.startswith("'beta' 2.0 has no wheel, and no source")
    assert "the newest is 1.0" in str(error.hint)
    assert machine.resolve("beta")["beta"].version == "1.0"


def test_a_package_that_does_not_exist(machine: Machine) -> None:
    machine.make("alpha", "1.0", "nowhere-to-be-seen")
    machine.publish()
    for line in ("nowhere-to-be-seen", "alpha"):
        error = machine.failure(line)
        assert isinstance(error, ResolutionError)
        assert error.message == "no index has a package 'nowhere-to-be-seen'"
        assert error.hint


def test_a_conflict_is_explained_in_full(machine: Machine) -> None:
    machine.make("alpha", "1.0", "gamma<2"), machine.make("beta", "1.0", "gamma>=2")
    machine.make("gamma", "1.0"), machine.make("gamma", "2.0")
    machine.publish()
    error = machine.failure("alpha", "beta")
    assert isinstance(error, ResolutionError)
    assert error.message.startswith("the project's dependencies cannot all be satisfied:\n  Because")
    assert "alpha" in error.message
    assert "gamma" in error.message
    assert not set("│├╰─▶×") & set(error.message)
    assert "error:" not in error.message
    assert "cause:" not in error.message


def test_what_failed_with_an_old_answer_is_asked_again(machine: Machine) -> None:
    machine.environment.pop("UV_DEFAULT_INDEX")
    machine.environment["PIP_INDEX_URL"] = f"{machine.web.url}/simple"
    machine.make("alpha", "1.0")
    machine.publish()
    machine.resolve("alpha")
    machine.make("alpha", "2.0")
    machine.publish()
    assert machine.resolve("alpha==2.0")["alpha"].version == "2.0"


def test_an_index_that_is_down_or_not_an_index(machine: Machine) -> None:
    machine.environment["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    error = machine.failure("alpha")
    assert isinstance(error, FetchError)
    assert error.message == "the index at '127.0.0.1:9' is down: the connection failed"
    machine.environment["UV_DEFAULT_INDEX"] = "http://no-such-host.invalid/simple"
    assert "'no-such-host.invalid' is not known" in machine.failure("alpha").message
    machine.environment["UV_DEFAULT_INDEX"] = f"{machine.web.url}/simple"
    machine.web.misbehave["/simple/alpha/"] = lambda handler, _: handler.reply(503, b"") is None
    error = machine.failure("alpha")
    assert isinstance(error, FetchError)
    assert f"the index at '{machine.web.host}' answered with an error" in error.message
    page = b"<!doctype html><html><body><h1>Please log in</h1></body></html>"
    machine.web.misbehave["/simple/alpha/"] = lambda handler, _: (
        handler.reply(200, page, {"Content-Type": "text/html"}) is None
    )
    error = machine.failure("alpha")
    assert error.message == "the indexes list no file of 'alpha'"
    assert "login page" in str(error.hint)


def test_an_index_that_never_answers(machine: Machine) -> None:
    machine.environment["UV_HTTP_TIMEOUT"] = "1"
    over = threading.Event()
    machine.web.misbehave["/simple/alpha/"] = lambda handler, _: over.wait(100) is None
    started = time.monotonic()
    error = machine.failure("alpha")
    passed = time.monotonic() - started
    over.set()
    assert isinstance(error, FetchError)
    assert error.message == f"the index at '{machine.web.host}' does not answer in time"
    assert passed < 50


def test_hashes_in_the_requirements_hold(machine: Machine) -> None:
    alpha, beta = machine.make("alpha", "1.0", "beta"), machine.make("beta", "1.0")
    better = machine.make("alpha", "1.0", "beta", tag="cp311-cp311-manylinux_2_28_x86_64")
    machine.publish()

    def pinned(**allowed: str) -> Wanted:
        hashes = {name: (sha256,) for name, sha256 in allowed.items()}
        return Wanted(Request(BOOKWORM, lines=("alpha==1.0",)), allowed=hashes, hashed=True)

    assert machine.resolve() == {}
    assert machine.resolve(wanted=pinned(alpha=better.sha256, beta=beta.sha256))["alpha"] == better
    # The better file may have come after the hashes were written: then the one that they allow is taken.
    assert machine.resolve(wanted=pinned(alpha=alpha.sha256, beta=beta.sha256))["alpha"] == alpha
    with pytest.raises(HashMismatch, match=r"no wheel of 'alpha' 1\.0"):
        machine.resolve(wanted=pinned(alpha="0" * 64, beta=beta.sha256))
    with pytest.raises(ProjectError, match="'beta' has no hash in the requirements") as caught:
        machine.resolve(wanted=pinned(alpha=alpha.sha256))
    assert "beta==1.0" in str(caught.value.hint)


def test_a_folder_of_wheels_counts_as_an_index(machine: Machine, tmp_path: Path) -> None:
    machine.make("torch", "2.0")
    machine.publish()
    local = make_wheel(tmp_path / "my wheels", "torch", "2.0+cpu")
    machine.environment["UV_FIND_LINKS"] = ""
    machine.environment["PIP_FIND_LINKS"] = str(tmp_path / "links")
    (tmp_path / "links").symlink_to(tmp_path / "my wheels")
    assert machine.resolve("torch")["torch"] == local
    assert machine.resolve("torch==2.0")["torch"] == local
    machine.make("torch", "2.1")
    machine.publish()
    assert machine.resolve("torch")["torch"].version == "2.1"


def test_no_gpu_takes_cpu_builds_from_the_folder_or_fails(machine: Machine, tmp_path: Path) -> None:
    (
        machine.make("torch", "2.1", "nvidia-cublas"),
        machine.make("nvidia-cublas"),
        machine.make("alpha", "1.0", "torch"),
    )
    machine.make("beta", "1.0", "nvidia-cublas")
    machine.publish()

    def wanted(*lines: str, gpu: str = "none") -> Wanted:
        return Wanted(Request(BOOKWORM, lines=lines), gpu=gpu)

    assert set(machine.resolve(wanted=wanted("alpha", gpu="auto"))) == {"alpha", "torch", "nvidia-cublas"}
    cpu = make_wheel(tmp_path / "wheels", "torch", "2.0+cpu")
    machine.environment["PIP_FIND_LINKS"] = str(tmp_path / "wheels")
    locked = tuple(machine.resolve(wanted=wanted("alpha", gpu="auto")).values())
    assert machine.resolve(wanted=wanted("alpha"), previous=locked)["torch"] == cpu
    assert set(machine.resolve(wanted=wanted("alpha"))) == {"alpha", "torch"}
    error = machine.failure(wanted=wanted("beta"))
    assert error.message == "`gpu` is none, but the project needs 'nvidia-cublas'"
    assert "not a value of `gpu`" in machine.failure(wanted=wanted("alpha", gpu="yes")).message


def test_extra_indexes_of_pip_are_compared_as_pip_does(machine: Machine) -> None:
    machine.make("alpha", "1.0")
    publish(machine.web, machine.pool, root="/extra")
    machine.make("alpha", "2.0")
    machine.publish()
    machine.environment["PIP_EXTRA_INDEX_URL"] = f"{machine.web.url}/extra"
    assert machine.resolve("alpha")["alpha"].version == "2.0"
    del machine.environment["PIP_EXTRA_INDEX_URL"]
    machine.environment["UV_INDEX"] = f"mine={machine.web.url}/extra"  # uv: the first index that has it
    assert machine.resolve("alpha")["alpha"].version == "1.0"


def test_nothing_of_the_environment_reaches_uv_behind_our_back(machine: Machine, tmp_path: Path) -> None:
    wheel = machine.make("alpha", "1.0")
    machine.publish()
    machine.environment |= {
        "UV_OFFLINE": "0",
        "UV_PYTHON_PLATFORM": "windows",
        "UV_NO_BINARY": "1",
        "UV_PRERELEASE": "allow",
    }
    machine.make("alpha", "2.0rc1")
    machine.publish()
    assert (
        machine.resolve("alpha")["alpha"].version == "2.0rc1"
    )  # this one shapes versions, and uv's users set it
    del machine.environment["UV_PRERELEASE"]
    assert machine.resolve("alpha")["alpha"] == wheel


def test_wheels_by_address(machine: Machine) -> None:
    wheel = machine.make("alpha", "1.0", "beta")
    beta = machine.make("beta", "1.0")
    machine.publish()
    url = f"{machine.web.url}/files/{wheel.file}"
    assert machine.resolve(f"alpha @ {url}") == {"alpha": wheel, "beta": beta}
    assert machine.resolve(f"alpha @ {url}", previous=(beta,)) == {"alpha": wheel, "beta": beta}
    assert machine.resolve(url)["alpha"] == wheel
    assert machine.resolve((machine.pool / wheel.file).as_uri())["alpha"] == wheel
    machine.web.lengths = False  # no size from the server: the file is fetched to know it
    assert machine.resolve(f"alpha @ {url}") == {"alpha": wheel, "beta": beta}


def test_pins_that_have_no_wheel_are_answered_with_the_nearest_that_have(machine: Machine) -> None:
    for version, tag in (
        ("1.0", "cp38-cp38-manylinux2014_x86_64"),
        ("1.4", "cp311-cp311-manylinux2014_x86_64"),
        ("2.0", "cp311-cp311-manylinux2014_x86_64"),
    ):
        machine.make("alpha", version, tag=tag)
        machine.make("beta", version, "alpha", tag=tag)
    machine.make("gamma", "1.0")
    machine.publish()
    lines = ("alpha==1.0", "beta==1.0", "gamma==1.0")
    wanted = Wanted(
        Request(BOOKWORM, lines=lines), named=named(*lines), places={"alpha": "requirements.txt:1"}
    )
    error = machine.failure(wanted=wanted)
    assert error.message == "'alpha' 1.0 has no wheel for Python 3.11; its wheels are for Python 3.8"
    assert str(error.hint).startswith(
        "these versions can be had together: alpha==1.4 in the place of alpha==1.0 (requirements.txt:1); beta==1.4 in the place of beta==1.0. Otherwise choose"
    )


def test_pins_that_contradict_each_other_are_answered_with_the_nearest_that_fit(machine: Machine) -> None:
    machine.make("flask", "1.0", "werkzeug<1")
    machine.make("flask", "2.0", "werkzeug>=2")
    for version in ("0.16", "2.0"):
        machine.make("werkzeug", version)
    machine.publish()
    error = machine.failure("flask==1.0", "werkzeug==2.0")
    assert "cannot all be satisfied" in error.message
    assert error.hint == "these versions can be had together: flask==2.0 in the place of flask==1.0"


def test_a_machine_without_a_gpu_gets_builds_for_cpus_where_an_index_has_them(
    machine: Machine, tmp_path: Path
) -> None:
    machine.make("torch", "2.1", "nvidia-cublas-cu12")
    machine.make("torch", "2.0", "nvidia-cublas-cu12")
    machine.make("nvidia-cublas-cu12")
    machine.make("xgboost", "2.0", "nvidia-cublas-cu12")
    machine.make("xgboost-cpu", "2.0")
    machine.make("alpha", "1.0", "xgboost")
    machine.publish()
    for version in ("2.0+cpu", "2.1+cpu", "2.2+cpu"):
        make_wheel(tmp_path / "cpu", "torch", version)
    publish(machine.web, tmp_path / "cpu", root="/cpu")

    def names(*lines: str) -> dict[str, str]:
        wanted = Wanted(Request(BOOKWORM, lines=lines), gpu="prefer-cpu")
        machine.said.clear()
        return {name: wheel.version for name, wheel in machine.resolve(wanted=wanted).items()}

    machine.environment["PIP_EXTRA_INDEX_URL"] = f"{machine.web.url}/cpu"
    assert names("torch<2.1.1", "xgboost") == {"torch": "2.1+cpu", "xgboost-cpu": "2.0"}
    assert machine.said == ["builds for CPUs are taken, as this machine has no GPU: xgboost-cpu"]
    assert names("torch==2.0", "nvidia-cublas-cu12==1.0") == {"torch": "2.0+cpu"}
    assert names("alpha") == {"alpha": "1.0", "xgboost": "2.0", "nvidia-cublas-cu12": "1.0"}
    assert machine.said == [
        "packages of CUDA come along, nvidia-cublas-cu12: builds for CPUs cannot be had (`gpu` is none, but the project needs 'nvidia-cublas-cu12')"
    ]


def test_a_package_whose_version_has_no_sibling_for_cpus_stays_alone(
    machine: Machine, tmp_path: Path
) -> None:
    machine.make("torch", "2.0", "nvidia-cublas-cu12")
    machine.make("nvidia-cublas-cu12")
    machine.make("xgboost", "1.7")
    machine.make("xgboost-cpu", "3.0")
    make_wheel(tmp_path / "cpu", "torch", "2.0+cpu")
    machine.publish()
    machine.environment["PIP_FIND_LINKS"] = str(tmp_path / "cpu")
    for lines in (("torch==2.0", "xgboost==1.7"), ("xgboost==1.7",)):
        found = machine.resolve(wanted=Wanted(Request(BOOKWORM, lines=lines), gpu="prefer-cpu"))
        expected = {"torch": "2.0+cpu", "xgboost": "1.7"} if len(lines) == 2 else {"xgboost": "1.7"}
        assert {name: wheel.version for name, wheel in found.items()} == expected
