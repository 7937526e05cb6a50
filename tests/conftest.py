"""What every test shares."""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Started in the background, a shell's child ignores Ctrl-C, and so would every command that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no finding: what a property says must hold, however long it takes.
settings.register_profile("corten", deadline=None)
settings.load_profile("corten")

collect_ignore = ["corpus"]
"""Projects for tests: what looks like a test in them is not one of ours."""

ALONE = (
    "e2e/test_anywhere.py::test_the_demo",
    "e2e/test_isolation.py::test_the_attempts_are_real",
    "e2e/test_killed_life.py",
    "security/test_bounds.py::test_processes_are_bounded",
)
"""Tests that count what the whole machine has, or take nearly all that it can give: `make test` runs them after the others, one
by one."""

LONG = (
    "e2e/test_examples.py::test_embeddings",
    "e2e/test_examples.py::test_a_training_loop",
    "e2e/test_examples.py::test_a_pipeline_is_served_without_code",
    "e2e/test_base_image.py::test_a_base_from_a_registry_is_pinned[zstd]",
    "e2e/test_hub_models.py::test_the_hubs_library",
    "e2e/test_configured.py::test_two_stores",
    "e2e/test_configured.py::test_caches",
    "e2e/test_configured.py::test_packages_work",
    "e2e/test_cache_from.py::test_wheels_that_contradict_each_other_and_are_not_here",
    "e2e/test_documentation.py::test_shown_commands_run[docs/offline.md]",
    "e2e/test_documentation.py::test_shown_commands_run[docs/running.md]",
    "e2e/test_documentation.py::test_shown_commands_run[docs/serving.md]",
    "e2e/test_documentation.py::test_shown_commands_run[docs/registr",
    "e2e/test_documentation.py::test_shown_commands_run[docs/development.md]",
    "e2e/test_faults_served.py",
    "e2e/test_registry_round_trips.py::test_a_flat_docker_image",
    "e2e/test_registry_round_trips.py::test_copying_keeps_everything_of_an_index",
    "e2e/test_reproducible.py::test_another_folder_user_umask_locale_zone_seed_store_and_no_network",
    "e2e/test_anywhere.py::test_the_demo",
    "e2e/test_archive_round_trips.py",
    "e2e/test_kill.py",
    "e2e/test_sdists.py::test_a_header",
    "e2e/test_sdists.py::test_code_that_is_generated",
    "e2e/test_sdists.py::test_every_common_build_backend",
    "e2e/test_sdists.py::test_ten_sources",
    "e2e/test_killed_life.py",
    "e2e/test_life_edges.py::test_fifty_at_once_in_the_foreground",
    "e2e/test_reproducible.py::test_arm64_is_built_here_and_runs_under_emulation",
    "e2e/test_reproducible.py::test_the_command_that_shares_layers_shares_them[S]",
    "security/test_host_files.py::test_an_image_does_not_depend_on_this_machines_files[trixie]",
    "security/test_host_files.py::test_no_image_depends",
    "serve/test_faults_load.py",
    "serve/test_memory.py::test_five_thousand",
    "serve/test_protocol_contract.py::test_no_request_that_the_document_describes_is_a_failure",
)
"""Tests that take longest: `make test-long` and `make test-all` run them, `make test` does not, continuous integration runs all."""


LONG_KINDS = re.compile(
    r"e2e/test_(?:life|life_edges|life_faults|sharing|format_error|up|volumes)\.py::.*\[none\b"
    r"|e2e/test_anywhere\.py::test_a_(?:life|terminal)_without_an_oci_engine\[none\b"
    r"|e2e/test_crun\.py::(?!test_nothing_that_is_tried).*\[none\b"
    r"|e2e/test_(?:life|life_edges|sharing)\.py::.*\[subuids\b"
    r"|registry/test_transfer_faults\.py::test_a_pu(?:sh|ll)_.*\b(?:503|429)\b"
)
"""The same of tests for each kind of user or fault: `make test` runs them for root and for a user with subordinate IDs, and of a
registry's errors for 500."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The part of the tests that run alone is in a few files: the others need not be imported for it."""
    if collection_path.suffix != ".py" or not config.getoption("markexpr").startswith("alone"):
        return None
    name = collection_path.relative_to(Path(__file__).parent).as_posix()
    return None if any(entry.startswith(name) for entry in ALONE) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        name = f"{item.path.relative_to(here).as_posix()}::{item.name}"
        if name.startswith(ALONE):
            item.add_marker("alone")
        if name.startswith(LONG) or LONG_KINDS.match(name):
            item.add_marker("long")


@pytest.fixture(scope="session")
def open_directory() -> Iterator[Path]:
    """A folder that every user of this machine can reach; pytest keeps its own private."""
    directory = Path(tempfile.mkdtemp(prefix="corten-tests-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
