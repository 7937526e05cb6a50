"""What is said of an application that did not start is what its last lines say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.supervise.causes import cause, exception_in, raised

AFTER = [
    "[2026-01-01 00:00:00 +0000] [6] [INFO] Worker exiting (pid: 6)",
    "[2026-01-01 00:00:00 +0000] [1] [ERROR] Reason: Worker failed to boot.",
]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ModuleNotFoundError: No module named 'cv2'", "add opencv-python"),
        ("ModuleNotFoundError: No module named 'our_own_words'", "add the one that has it"),
        ("ModuleNotFoundError: No module named 'sklearn'", "add scikit-learn"),
        ("ModuleNotFoundError: No module named 'sklearn.ensemble.forest'", 'add "scikit-learn<0.24"'),
        ("ModuleNotFoundError: No module named 'sklearn.not_yet'", "pin the version"),
        ("ModuleNotFoundError: No module named 'numpy._core.numeric'", 'add "numpy>=2"'),
        ("ModuleNotFoundError: No module named 'pkg_resources'", 'add "setuptools<81"'),
        (
            "ImportError: cannot import name 'url_quote' from 'werkzeug.urls' (/opt/venv/lib/python3.11/site-packages/werkzeug/urls.py)",
            'add "werkzeug<3"',
        ),
        (
            "ImportError: cannot import name 'x' from 'pack.part' (/opt/venv/lib/python3.11/site-packages/pack/part.py)",
            "the pack that was locked has no 'x'",
        ),
        ("ImportError: cannot import name 'x' from 'app.part' (/app/app/part.py)", "the project's own"),
        (
            "ImportError: cannot import name 'formatargspec' from 'inspect' (/usr/lib/python3.11/inspect.py)",
            "this Python has no 'inspect.formatargspec' (any more): set python = \"3.10\"",
        ),
        (
            "ImportError: cannot import name 'x' from 'json' (/usr/local/lib/python3.12/json/__init__.py)",
            "set `python`, the version that it was written for,",
        ),
        ("AttributeError: module 'inspect' has no attribute 'getargspec'", 'set python = "3.10"'),
        ("AttributeError: module 'collections' has no attribute 'Mapping'", 'set python = "3.9"'),
        ("ModuleNotFoundError: No module named 'imp'", 'set python = "3.11"'),
        ("ModuleNotFoundError: No module named 'distutils'", 'add "setuptools<81"'),
        (
            "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
            "no package of the base has 'libGL.so.1'",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: 'models/house.pkl'",
            "'models/house.pkl' is not in the image",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/app/m.pkl'", "'m.pkl' is not in the image"),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/data/in/x.csv'", "-v FOLDER:/data/in"),
        ("OSError: [Errno 30] Read-only file system: '/app/uploads'", "it may not write '/app/uploads'"),
        ("PermissionError: [Errno 13] Permission denied: '/srv/x'", "it may not write '/srv/x'"),
        ("KeyError: 'OPENAI_API_KEY'", "-e OPENAI_API_KEY"),
        (
            "OSError: Can't load tokenizer for 'microsoft/small-uncased'. If you were trying to load it from 'https://huggingface.co/models', make",
            'models = ["hf://microsoft/small-uncased@main"]',
        ),
        ("OSError: Can't load the configuration of 'org/x'. If you", 'models = ["hf://org/x@main"]'),
        (
            "OSError: We couldn't connect to 'https://huggingface.co' to load this file, couldn't find it in the cached files and",
            "asks the Hugging Face hub",
        ),
        ("OSError: [E050] Can't find model 'en_core_web_sm'. It doesn't seem to be a Python package", "add its wheel"),
        ("  >>> nltk.download('punkt')", "NLTK's 'punkt'"),
        ("_pickle.UnpicklingError: invalid load key, 'v'.", "git lfs pull"),
        ("AttributeError: Can't get attribute 'Cleaner' on <module '__main__' from '/x'>", "names 'Cleaner'"),
        (
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96",
            'add "numpy<2"',
        ),
        ("AttributeError: module 'numpy' has no attribute 'bool'.", 'add "numpy<1.24"'),
        ("AttributeError: module 'flet' has no attribute 'app'", 'add "flet<1"'),
        ('RuntimeError: Form data requires "python-multipart" to be installed.', "python-multipart"),
        ("`load_boston` has been removed from scikit-learn since version 1.2.", "no 'load_boston' any more"),
        ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "--network private"),
        ("redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.", "not there"),
    ],
)  # fmt: skip
def test_the_cause_is_told_with_what_to_do(line: str, said: str) -> None:
    found = cause(["Traceback (most recent call last):", '  File "/app/app.py", line 1', line, *AFTER])
    assert found is not None
    assert said in found


@pytest.mark.parametrize(
    "line",
    [
        "  Field required [type=missing, input_value={}, input_type=dict]",
        "  field required (type=value_error.missing)",
    ],
)
def test_settings_that_lack_variables_are_told_with_their_names(line: str) -> None:
    lines = [
        "pydantic_core.ValidationError: 2 validation errors for Settings",
        "MODEL_FLOW",
        line,
        "openai_key",
        line,
        "    For more",
    ]
    assert "need MODEL_FLOW, OPENAI_KEY:" in (cause(lines) or "")


def test_the_last_error_counts() -> None:
    lines = ["KeyError: 'FIRST_ONE'", "During handling of the above exception", "KeyError: 'SECOND_ONE'"]
    assert "SECOND_ONE" in (cause(lines) or "")


@pytest.mark.parametrize("lines", [[], ["ready"], ["KeyError: 'lower'"], ["ValueError: shapes do not fit"]])
def test_nothing_is_guessed(lines: list[str]) -> None:
    assert cause(lines) is None


PACKAGES = "/opt/venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [
                "Traceback (most recent call last):",
                '  File "/app/app.py", line 221, in create_interface',
                "    demo_chatbot = gr.Chatbot(",
                f'  File "{PACKAGES}/gradio/components/chatbot.py", line 401, in _check_format',
                "    raise Error(",
                'gradio.exceptions.Error: "Data incompatible with messages format."',
            ],
            "'app.py' line 221 led to gradio.exceptions.Error: \"Data incompatible with messages format.\" in gradio: if the code "
            "was written for another gradio, pin that version, or take all versions from the project's time: corten lock --as-of DAY",
        ),
        (
            [
                "Traceback (most recent call last):",
                f'  File "{PACKAGES}/uvicorn/importer.py", line 19, in import_from_string',
                "    module = importlib.import_module(module_str)",
                '  File "/app/src/api/files.py", line 730',
                "    >>>>>>> 41ea1315c (Add roles)",
                "             ^",
                "SyntaxError: invalid decimal literal",
                *AFTER,
            ],
            "'src/api/files.py' line 730 is not valid Python: SyntaxError: invalid decimal literal",
        ),
        (
            ["Traceback (most recent call last):", '  File "/app/a.py", line 2, in <module>', "ValueError"],
            "'a.py' line 2 raised ValueError",
        ),
        (
            [
                "Traceback (most recent call last):",
                '  File "/app/app/database.py", line 12, in <module>',
                f'  File "{PACKAGES}/supabase/_sync/client.py", line 38, in _validate_str_arg',
                "supabase._sync.client.SupabaseException: supabase_url is required",
            ],
            "'app/database.py' line 12 led to supabase._sync.client.SupabaseException: supabase_url is required: a variable that it "
            "reads seems not to be set (-e NAME=VALUE, --env-file FILE)",
        ),
        (["ValueError: of no traceback"], None),
    ],
)
def test_an_exception_that_nothing_explains_is_named_with_its_place(
    lines: list[str], said: str | None
) -> None:
    assert cause(lines) is None
    assert raised(lines) == said


def test_an_attribute_that_a_package_no_longer_has_is_named() -> None:
    lines = ["AttributeError: module 'mediapipe' has no attribute 'solutions'"]
    assert 'add "mediapipe<=0.10.21"' in (cause(lines) or "")
    lines = ["AttributeError: module 'plotly' has no attribute 'lost'"]
    assert "the plotly that was locked has no 'plotly.lost'" in (cause(lines) or "")
    assert cause(["AttributeError: module 'own_part' has no attribute 'x'"]) is None


@given(st.lists(st.text(max_size=300), max_size=80))
def test_no_output_is_a_failure(lines: list[str]) -> None:
    found = cause(lines)
    assert found is None or len(found) < 1000


def test_the_last_exception_with_a_traceback_is_found() -> None:
    lines = [
        "Traceback (most recent call last):",
        '  File "/app/a.py", line 1, in <module>',
        "ValueError: first",
        "2026-01-01 ERROR \x1b[31mTraceback (most recent call last):\x1b[0m",
        '  File "/app/b.py", line 2, in home',
        "    prices['milk']",
        "    ~~~~~~^^^^^^^^",
        "\x1b[1mKeyError: 'milk'\x1b[0m",
        "INFO: GET / 500",
        "NameError: nobody raised this",
    ]
    assert exception_in(lines) == "KeyError: 'milk'"
    assert exception_in(lines[:3]) == "ValueError: first"
    assert exception_in(lines[-2:]) is None
    assert exception_in(["Traceback (most recent call last):", "  File x"]) is None


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_lines_are_too_odd_for_an_exception(lines: list[str]) -> None:
    found = exception_in(lines)
    assert found is None or len(found) <= 200
    told = raised(lines)
    assert told is None or len(told) < 1000
