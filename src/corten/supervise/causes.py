"""Why an application did not start, and what to do: the true cause is nearly always in the last lines that it printed.

Pure. The lines come from the container, so whatever is taken from them is short, and the terminal escapes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from corten.lazy import regex

_MOST_LINES = 50
_MODULE = regex(r"ModuleNotFoundError: No module named '([\w.]{1,80})'")
_NAME = regex(r"ImportError: cannot import name '(\w{1,60})' from '([\w.]{1,80})' \((.{1,300})\)")
_OF_PYTHON = regex(r"/lib/python3\.\d+/(?!site-packages|dist-packages)")
_LIBRARY = regex(r"(?:ImportError|OSError): ([\w.+-]{1,60}\.so[.\d]{0,12}): cannot open shared object file")
_ATTRIBUTE = regex(
    r"AttributeError: (?:partially initialized )?module '([\w.]{1,80})' has no attribute '(\w{1,60})'"
)
_ABSENT = regex(
    r"(?:FileNotFoundError|OSError|IOError): \[Errno 2\] No such file or directory: '([^']{1,200})'"
)
_READ_ONLY = regex(r"\[Errno (?:30\] Read-only file system|13\] Permission denied): '([^']{1,200})'")
_VARIABLE = regex(r"^KeyError: '([A-Z][A-Z0-9_]{2,60})'")
_NO_WAY_OUT = regex(
    r"Temporary failure in name resolution|Name or service not known|nodename nor servname|Network is unreachable|NameResolutionError"
)
_REFUSED = regex(r"(?i)connection ?refused")
_HUB_NAME = regex(
    r"OSError: (?:Can't load (?:the )?[\w -]{1,40} (?:for|of)|We couldn't connect to 'https://huggingface\.co'[^']{0,200}) '([\w./-]{1,120})'"
)
_HUB = regex(
    r"We couldn't connect to 'https://huggingface\.co'|LocalEntryNotFoundError|OfflineModeIsEnabled|"
    r"Max retries exceeded with url: /[\w.-]+/[\w.-]+/resolve/|host='huggingface\.co'"
)
_SPACY = regex(r"\[E050\] Can't find model '([\w.-]{1,80})'")
_NLTK = regex(
    r"(?:nltk\.download\(['\"]|Resource (?:\x1b\[\d+m)?)([\w-]{1,60})(?:['\"]\)|(?:\x1b\[0m)? not found)"
)
_POINTER = regex(r"invalid load key, 'v'|git-lfs\.github\.com|version https://git-lfs")
_OF_MAIN = regex(r"Can't get attribute '(\w{1,60})' on <module '__main__'")
_NUMPY_2 = regex(
    r"compiled using NumPy 1\.x cannot be run in|numpy\.dtype size changed|_ARRAY_API not found|`np\.(?:float_|unicode_|Inf|NaN)` was removed"
)
_NUMPY_ALIAS = regex(r"module 'numpy' has no attribute '(bool|int|float|object|str|complex)'")
_OTHER_SKLEARN = regex(
    r"node array from the pickle has an incompatible dtype|__pyx_unpickle|incompatible dtype"
)
_SETTINGS = regex(r"\d+ validation errors? for (\w{1,60})")
_REQUIRED = regex(r"Field required \[type=missing|^field required \(type=value_error\.missing\)")
_FIELD = regex(r"[A-Za-z_]\w{0,60}")
_REMOVED = regex(r"`(\w{1,60})` has been removed from (scikit-learn)")
_TRACEBACK = "Traceback (most recent call last)"
_EXCEPTION = regex(r"[A-Za-z_][\w.]{0,100}(?:: |$)")
_STYLE = regex(r"\x1b\[[0-9;]{0,20}m")
_LONGEST = 200
_FRAME = regex(r'^File "([^"]{1,300})", line (\d{1,7})')
_RAISED = regex(
    r"^((?:\w{1,60}\.){1,8}[A-Z]\w{0,60}|[A-Z]\w{0,60}(?:Error|Exception|Warning))(?:: (.{0,1000}))?$"
)
_SHOWN = 160
_UNSET = regex(
    r"(?i)\b(?:is|are) (?:required|missing|empty)\b|\bnot (?:be )?(?:set|provided|configured)\b|\bmust be (?:set|provided|specified)\b|"
    r"\bmissing \w*(?:key|token|url|credential)|api[_ -]?key|environment variable"
)
_OF_ITS_TIME = "or take all versions from the project's time: corten lock --as-of DAY"
_MISSING_FOR_FORMS = regex(r'Form data requires "python-multipart"')

_OLD_MODULES = {
    "sklearn.ensemble.forest": ("scikit-learn", "<0.24"),
    "sklearn.linear_model.logistic": ("scikit-learn", "<0.24"),
    "sklearn.linear_model.base": ("scikit-learn", "<0.24"),
    "sklearn.neighbors.classification": ("scikit-learn", "<0.24"),
    "sklearn.preprocessing.data": ("scikit-learn", "<0.24"),
    "sklearn.preprocessing.label": ("scikit-learn", "<0.24"),
    "sklearn.svm.classes": ("scikit-learn", "<0.24"),
    "sklearn.tree.tree": ("scikit-learn", "<0.24"),
    "sklearn.externals": ("scikit-learn", "<0.23"),
    "sklearn": ("scikit-learn", ""),
    "pandas.core.indexes.numeric": ("pandas", "<2"),
    "pandas.core.index": ("pandas", "<2"),
    "numpy._core": ("numpy", ">=2"),
    "tensorflow.keras": ("tensorflow", "<2.16"),
    "keras.engine": ("keras", "<3"),
    "langchain.chat_models": ("langchain", "<1"),
    "langchain.chains": ("langchain", "<1"),
    "langchain.text_splitter": ("langchain", "<1"),
    "langchain.vectorstores": ("langchain", "<1"),
    "langchain.embeddings": ("langchain", "<1"),
    "langchain.llms": ("langchain", "<1"),
    "langchain.prompts": ("langchain", "<1"),
    "openai.error": ("openai", "<1"),
    "werkzeug.contrib": ("werkzeug", "<1"),
    "flask._compat": ("flask", "<2"),
    "moviepy.editor": ("moviepy", "<2"),
}
"""Modules that releases of a package no longer have, or do not have yet: old code and old pickles name them."""
_OLD_NAMES = {
    ("safe_str_cmp", "werkzeug"): "werkzeug<2.1",
    ("url_quote", "werkzeug"): "werkzeug<3",
    ("url_decode", "werkzeug"): "werkzeug<3",
    ("url_encode", "werkzeug"): "werkzeug<3",
    ("secure_filename", "werkzeug"): "werkzeug<1",
    ("escape", "jinja2"): "jinja2<3.1",
    ("Markup", "jinja2"): "jinja2<3.1",
    ("escape", "flask"): "flask<3",
    ("Markup", "flask"): "flask<3",
    ("JSONEncoder", "flask"): "flask<2.3",
    ("_app_ctx_stack", "flask"): "flask<3",
    ("_request_ctx_stack", "flask"): "flask<3",
    ("soft_unicode", "markupsafe"): "markupsafe<2.1",
    ("load_boston", "sklearn"): "scikit-learn<1.2",
    ("plot_confusion_matrix", "sklearn"): "scikit-learn<1.2",
    ("cached_download", "huggingface_hub"): "huggingface-hub<0.26",
    ("HfFolder", "huggingface_hub"): "huggingface-hub<1",
    ("AdamW", "transformers"): "transformers<5",
    ("app", "flet"): "flet<1",
    ("solutions", "mediapipe"): "mediapipe<=0.10.21",
    ("app_async", "flet"): "flet<1",
    ("inputs", "gradio"): "gradio<4",
    ("outputs", "gradio"): "gradio<4",
}
"""Names that a release of a package dropped, with the releases that still have them."""
_STANDARD = {
    "distutils": "3.11",
    "imp": "3.11",
    "asynchat": "3.11",
    "asyncore": "3.11",
    "smtpd": "3.11",
    "cgi": "3.12",
    "audioop": "3.12",
    "pipes": "3.12",
    "telnetlib": "3.12",
    "imghdr": "3.12",
    "inspect": "3.10",
    "collections": "3.9",
    "asyncio": "3.9",
    "fractions": "3.8",
    "gettext": "3.10",
    "random": "3.10",
    "unittest": "3.11",
    "configparser": "3.11",
    "pkgutil": "3.13",
    "ast": "3.13",
}
"""Modules of the standard library that went, or lost names, and the last Python that has all of them (the documentation's "What's New", "Removed")."""


def cause(lines: Sequence[str]) -> str | None:
    """What to do, from the last `lines` that an application printed before it ended. None where they do not tell."""
    last = [line.strip()[:1000] for line in lines[-_MOST_LINES:]]
    settings = _settings(last)
    if settings is not None:
        return settings
    for line in reversed(last):
        for look in _LOOKS:
            found = look(line)
            if found is not None:
                return found
    return None


def exception_in(lines: Sequence[str]) -> str | None:
    """The last exception whose traceback stands in `lines`, as Python prints it: `KeyError: 'x'`. None where there is none."""
    found: str | None = None
    within = False
    for line in lines:
        plain = _STYLE.sub("", line.rstrip())[:1000]
        if _TRACEBACK in plain:
            within = True
        elif within and plain and not plain[0].isspace():
            within = False
            found = plain[:_LONGEST] if _EXCEPTION.match(plain) else found
    return found


def raised(lines: Sequence[str]) -> str | None:
    """The exception that ended an application, with the project's own line, from the last `lines` that it printed: what there is
    to say where `cause` knows nothing. None where there is no traceback."""
    last = [line.strip()[:1000] for line in lines[-_MOST_LINES:]]
    for number in range(len(last) - 1, -1, -1):
        found = _RAISED.match(last[number])
        frames = _frames_above(last, number) if found else []
        if found and frames:
            return _told(found[1], (found[2] or "").strip(), frames)
    return None


def _frames_above(lines: Sequence[str], number: int) -> list[tuple[str, str]]:
    """The frames of the traceback that the line `number` ends: file and line, the innermost last."""
    frames: list[tuple[str, str]] = []
    for line in reversed(lines[:number]):
        if line.startswith("Traceback (most recent call last)"):
            break
        if (found := _FRAME.match(line)) is not None:
            frames.insert(0, (found[1], found[2]))
    return frames


def _told(kind: str, message: str, frames: Sequence[tuple[str, str]]) -> str:
    kind = kind.rpartition(".")[2] if kind.count(".") > 3 else kind
    shown = message if len(message) <= _SHOWN else f"{message[:_SHOWN]}…"
    what = f"{kind}: {shown}" if shown else kind
    path, line = frames[-1]
    own = next(((file, at) for file, at in reversed(frames) if file.startswith("/app/")), None)
    where = f"'{own[0].removeprefix('/app/')}' line {own[1]}" if own else ""
    if kind in ("SyntaxError", "IndentationError", "TabError"):
        return f"'{path.removeprefix('/app/')}' line {line} is not valid Python: {what}"
    package = path.partition("/site-packages/")[2].partition("/")[0].removesuffix(".py")
    if own and _UNSET.search(message):
        return f"{where} led to {what}: a variable that it reads seems not to be set (-e NAME=VALUE, --env-file FILE)"
    if package and own:
        return f"{where} led to {what} in {package}: if the code was written for another {package}, pin that version, {_OF_ITS_TIME}"
    return f"{where or f'{path!r} line {line}'} raised {what}"


def _settings(lines: Sequence[str]) -> str | None:
    """What pydantic's settings lack: each name stands on the line before what is wrong with it."""
    if not any(_SETTINGS.search(line) for line in lines):
        return None
    names = [
        before.upper()
        for before, line in itertools.pairwise(lines)
        if _REQUIRED.search(line) and _FIELD.fullmatch(before)
    ]
    if not names:
        return None
    shown = ", ".join(dict.fromkeys(names[:6])) + (" and more" if len(names) > 6 else "")
    return f"its settings need {shown}: give them with -e NAME=VALUE or --env-file FILE"


def _module(line: str) -> str | None:
    found = _MODULE.search(line)
    if found is None:
        return None
    name = found[1]
    for beginning, (package, versions) in _OLD_MODULES.items():
        if name.startswith(f"{beginning}.") or (name == beginning and versions):
            first = f'add "{package}{versions}" to the dependencies, or' if versions else "pin"
            return f"'{name}' is of another version of {package}: {first} the version that the code or a saved model was made with"
    if name in _STANDARD and name != "distutils":
        return _older_python(name)
    if name.partition(".")[0] in ("pkg_resources", "distutils"):
        return f"'{name}' comes with setuptools: add \"setuptools<81\" to the dependencies"
    from corten.project.distributions import known

    bringing = known(name)
    return (
        f"no installed package has the module '{name}': add {bringing.requirement if bringing else 'the one that has it'} to the dependencies; "
        "for a file of the project, see that it is in the image ('corten build -v' lists what is left out)"
    )


def _imported_name(line: str) -> str | None:
    found = _NAME.search(line)
    if found is None:
        return None
    name, module, place = found.groups()
    package = module.partition(".")[0]
    pin = _OLD_NAMES.get((name, package))
    if pin is not None:
        return f"today's {package} has no '{name}' any more: add \"{pin}\" to the dependencies"
    if "/site-packages/" in place:
        return f"the {package} that was locked has no '{name}': pin the version that the project was written with, {_OF_ITS_TIME}"
    if _OF_PYTHON.search(place) or package in _STANDARD:
        return _older_python(f"{module}.{name}")
    return f"'{module}' is the project's own, and has no '{name}'"


def _older_python(name: str) -> str:
    """What to do where the standard library no longer has `name`, a module or a name in one."""
    version = _STANDARD.get(name.partition(".")[0])
    which = f'python = "{version}"' if version else "`python`, the version that it was written for,"
    return f"this Python has no '{name}' (any more): set {which} in [tool.corten], or take a newer release of what imports it"


def _library(line: str) -> str | None:
    found = _LIBRARY.search(line)
    if found is None:
        return None
    return f"no package of the base has '{found[1]}': name the Debian package that brings it in `system` of [tool.corten]"


def _absent(line: str) -> str | None:
    found = _ABSENT.search(line)
    if found is None:
        return None
    path = found[1].removeprefix("/app/")
    if path.startswith("/"):
        return (
            f"'{path}' is not in the image: bring it in with -v FOLDER:{path.rpartition('/')[0] or '/data'}"
        )
    return (
        f"'{path}' is not in the image: put it into the project's folder, name it in `models` of [tool.corten] where an ignore file "
        "leaves it out, or make it first where a script of the project writes it"
    )


def _read_only(line: str) -> str | None:
    found = _READ_ONLY.search(line)
    if found is None:
        return None
    return f"it may not write '{found[1]}': --read-write lets it, and -v NAME:FOLDER keeps what it writes"


def _variable(line: str) -> str | None:
    found = _VARIABLE.search(line)
    return found and f"it needs the variable {found[1]}: give it with -e {found[1]} or --env-file FILE"


def _outside(line: str) -> str | None:
    if _NO_WAY_OUT.search(line):
        return "it asked another host, and has no network: --network private gives it a way out"
    if _REFUSED.search(line):
        return (
            "it connects to a service that is not there: run that beside it, and give its address with -e (the container's own "
            "127.0.0.1 is not this machine's)"
        )
    return None


def _of_a_hub(line: str) -> str | None:
    found = _HUB_NAME.search(line)
    if found is not None and not found[1].startswith(("/", ".")):
        name = found[1]
        return (
            f"it takes '{name}' from the Hugging Face hub and cannot reach it: models = [\"hf://{name}@main\"] in [tool.corten] brings "
            "it into the image, --network private --model-cache lets the container fetch it"
        )
    if _HUB.search(line):
        return (
            "it asks the Hugging Face hub for a model and cannot reach it: `models` in [tool.corten] brings one into the image "
            '("hf://ORGANISATION/NAME@REVISION"), --network private --model-cache lets the container fetch it'
        )
    if (found := _SPACY.search(line)) is not None:
        return f"the spaCy model '{found[1]}' is a package of its own: add its wheel to the dependencies, '{found[1]} @ https://…'"
    if (found := _NLTK.search(line)) is not None:
        return f"NLTK's '{found[1]}' is not there: --network private --model-cache lets the program fetch and keep it"
    return None


def _saved(line: str) -> str | None:
    if _POINTER.search(line):
        return "a pointer of Git LFS is in the place of a file: 'git lfs pull' brings the file itself"
    found = _OF_MAIN.search(line)
    if found is not None:
        return (
            f"a saved model names '{found[1]}' of the script that saved it: put '{found[1]}' into a module that both import, and save "
            "it again; or run the script itself with `command`"
        )
    if _OTHER_SKLEARN.search(line):
        return "a model was saved with another scikit-learn: pin the version that it was saved with, or save it again"
    return None


def _versions(line: str) -> str | None:
    if _NUMPY_2.search(line):
        return 'a package was made for NumPy 1: add "numpy<2" to the dependencies'
    if _NUMPY_ALIAS.search(line):
        return 'the code was written for an older NumPy: add "numpy<1.24" to the dependencies'
    if (gone := _ATTRIBUTE.search(line)) is not None:
        pin = _OLD_NAMES.get((gone[2], gone[1].partition(".")[0]))
        if pin is not None:
            return f"today's {gone[1]} has no '{gone[2]}' any more: add \"{pin}\" to the dependencies"
        if gone[1].partition(".")[0] in _STANDARD:
            return _older_python(f"{gone[1]}.{gone[2]}")
        from corten.project.distributions import known

        package = known(gone[1])
        if package is not None:
            return (
                f"the {package.requirement} that was locked has no '{gone[1]}.{gone[2]}': pin the version that the project was "
                f"written with, {_OF_ITS_TIME}"
            )
    if (removed := _REMOVED.search(line)) is not None:
        return f"today's {removed[2]} has no '{removed[1]}' any more: pin the version that the project was written with"
    if _MISSING_FOR_FORMS.search(line):
        return "add python-multipart to the dependencies"
    return None


_LOOKS: tuple[Callable[[str], str | None], ...] = (
    _module,
    _imported_name,
    _library,
    _absent,
    _read_only,
    _variable,
    _of_a_hub,
    _saved,
    _versions,
    _outside,
)
