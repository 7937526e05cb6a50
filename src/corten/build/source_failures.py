"""Why a source could not be built, in one sentence, with what to do: from what its build printed. Pure."""

from __future__ import annotations

import re

from corten.lazy import regex
from corten.sandbox.confinement import Limits
from corten.sandbox.process import Finished

_ESCAPES = regex(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f]")
_MOST_BYTES, _MOST_LINES, _MOST_OF_A_LINE = 256 << 10, 4000, 1000
"""What is looked at of what a build printed: its end, and of each line the beginning. A build may print for as long as it runs, and
some expressions take the square of a line's length."""
_MOST_OF_A_NAME = 100
_MODULE = regex(r"ModuleNotFoundError: No module named '([\w.]+)'")
_HEADER = regex(r"fatal error: ([\w./+-]+\.h(?:pp)?): No such file")
_LIBRARY = regex(
    r"cannot find -l([\w+.-]+)|headers or library files could not be found for ([\w+.-]{1,60}?),?\s"
)
_PROGRAM = regex(
    r"(?:error: command '([\w.+/-]+)' failed: No such file|FileNotFoundError: .*'([\w.+-]+)'|(?<![\w.+-])([\w.+-]+): (?:command )?not found"
    r"|Unknown compiler\(s\): \[\['([\w.+-]+)'|Error: ([\w.+-]{1,60}) executable not found)"
)
_COMPILER = regex(
    r"command '[^']*(?:gcc|g\+\+|cc|c\+\+|make)' failed: No such file|Unknown compiler\(s\)|No CMAKE_C(?:XX)?_COMPILER could be found"
    r"|No such file or directory: '(?:/usr/bin/)?(?:gcc|g\+\+|cc|c\+\+|make)'"
)
_ASKED = regex(
    r"pkg-config (?:--[\w-]+ )+([\w.+-]{1,60})' returned|Package '?([\w.+-]{1,60}?)'?,? (?:was not found in|required by .{1,60} not found)|"
    r"No package '([\w.+-]{1,60})' found|Dependency \"?([\w.+-]{1,60})\"? not found"
)
_RUST = regex(
    r"[Cc]an't find Rust compiler|the Rust package manager|'(?:cargo|rustc)'|\b(?:cargo|rustc)\b.*(?:not found|not installed)"
)
_NETWORK = regex(
    r"Temporary failure in name resolution|Name or service not known|Network is unreachable|No matching distribution found|"
    r"Failed to establish a new connection|Could not resolve host|Connection refused"
)
_HEADERS = {
    "ffi.h": "libffi-dev",
    "openssl/opensslv.h": "libssl-dev",
    "openssl/ssl.h": "libssl-dev",
    "openssl/aes.h": "libssl-dev",
    "libpq-fe.h": "libpq-dev",
    "mysql.h": "default-libmysqlclient-dev",
    "libxml/xpath.h": "libxslt1-dev",
    "libxml/xmlversion.h": "libxml2-dev",
    "jpeglib.h": "libjpeg-dev",
    "zlib.h": "zlib1g-dev",
    "bzlib.h": "libbz2-dev",
    "lzma.h": "liblzma-dev",
    "sqlite3.h": "libsqlite3-dev",
    "sqlcipher/sqlite3.h": "libsqlcipher-dev",
    "sndfile.h": "libsndfile1-dev",
    "portaudio.h": "portaudio19-dev",
    "alsa/asoundlib.h": "libasound2-dev",
    "yaml.h": "libyaml-dev",
    "hdf5.h": "libhdf5-dev",
    "cairo.h": "libcairo2-dev",
    "snappy-c.h": "libsnappy-dev",
    "snappy.h": "libsnappy-dev",
    "lz4.h": "liblz4-dev",
    "zmq.h": "libzmq3-dev",
    "graphviz/cgraph.h": "libgraphviz-dev",
    "gmp.h": "libgmp-dev",
    "mpfr.h": "libmpfr-dev",
    "fftw3.h": "libfftw3-dev",
    "cblas.h": "libopenblas-dev",
    "mpi.h": "libopenmpi-dev",
    "krb5.h": "libkrb5-dev",
    "ldap.h": "libldap-dev",
    "sasl/sasl.h": "libsasl2-dev",
    "curl/curl.h": "libcurl4-openssl-dev",
    "boost/python.hpp": "libboost-python-dev",
    "Eigen/Core": "libeigen3-dev",
    "geos_c.h": "libgeos-dev",
    "proj.h": "libproj-dev",
    "gdal.h": "libgdal-dev",
    "libavformat/avformat.h": "libavformat-dev",
    "leveldb/db.h": "libleveldb-dev",
    "re2/re2.h": "libre2-dev",
    "unicode/utypes.h": "libicu-dev",
    "ncurses.h": "libncurses-dev",
    "readline/readline.h": "libreadline-dev",
}
_PROGRAMS = {
    "gfortran": "gfortran",
    "cmake": "cmake",
    "ninja": "ninja-build",
    "make": "make",
    "pkg-config": "pkg-config",
    "swig": "swig",
    "pg_config": "libpq-dev",
    "mysql_config": "default-libmysqlclient-dev",
    "gdal-config": "libgdal-dev",
    "llvm-config": "llvm-dev",
    "git": "git",
    "flex": "flex",
    "bison": "bison",
    "protoc": "protobuf-compiler",
    "patchelf": "patchelf",
    "autoconf": "autoconf",
    "perl": "perl",
}
_MODULES = {
    "mysqlclient": "default-libmysqlclient-dev",
    "mariadb": "default-libmysqlclient-dev",
    "libmariadb": "default-libmysqlclient-dev",
    "perconaserverclient": "default-libmysqlclient-dev",
    "libpq": "libpq-dev",
    "libffi": "libffi-dev",
    "openssl": "libssl-dev",
    "cairo": "libcairo2-dev",
    "xmlsec1": "libxmlsec1-dev",
    "libxml-2.0": "libxml2-dev",
    "libxslt": "libxslt1-dev",
    "dbus-1": "libdbus-1-dev",
    "glib-2.0": "libglib2.0-dev",
    "gobject-introspection-1.0": "libgirepository1.0-dev",
    "girepository-2.0": "libgirepository1.0-dev",
    "freetype2": "libfreetype-dev",
    "libpng": "libpng-dev",
    "hdf5": "libhdf5-dev",
    "libavformat": "libavformat-dev",
    "libavdevice": "libavdevice-dev",
    "libsystemd": "libsystemd-dev",
    "libusb-1.0": "libusb-1.0-0-dev",
    "libsecp256k1": "libsecp256k1-dev",
    "openblas": "libopenblas-dev",
}
"""What pkg-config is asked for."""
_DISTRIBUTIONS = {
    "Cython": "cython",
    "distutils": "setuptools",
    "skbuild": "scikit-build",
    "pkg_resources": "setuptools<81",
    "yaml": "pyyaml",
    "git": "gitpython",
}
_LIBRARIES = {
    "ssl": "libssl-dev",
    "crypto": "libssl-dev",
    "z": "zlib1g-dev",
    "zlib": "zlib1g-dev",
    "jpeg": "libjpeg-dev",
    "ffi": "libffi-dev",
    "pq": "libpq-dev",
}


def explained(name: str, done: Finished, limits: Limits) -> tuple[str, str | None]:
    """What went wrong with the source of `name`, and what to do about it; None where nothing is known."""
    said = _end_of(done.errors)
    if done.late:
        return f"it did not end within {int(limits.seconds or 0) // 60} minutes", None
    if done.overlong:
        return "it printed too much", None
    found = _MODULE.search(said)
    if found:
        module = found[1].partition(".")[0][:_MOST_OF_A_NAME]
        return (
            f"it imports '{module}' during the build and does not declare it as a build requirement",
            f"declare it for the package: [tool.uv.extra-build-dependencies] in pyproject.toml, with a line such as {name} = "
            f'["{_DISTRIBUTIONS.get(module, module.replace("_", "-").lower())}"]; or choose a version that has a wheel',
        )
    if _RUST.search(said):
        return (
            "it is written in Rust, its build fetches libraries, and the sandbox has no network",
            None,
        )
    for pattern, table in (
        (_HEADER, _HEADERS),
        (_PROGRAM, _PROGRAMS),
        (_LIBRARY, _LIBRARIES),
        (_ASKED, _MODULES),
    ):
        match = pattern.search(said)
        if match is not None:
            lacking = next(filter(None, match.groups()))
            # A header in a folder is another one than that of the same name without it.
            package = table.get(lacking if pattern is _HEADER else lacking.rsplit("/", 1)[-1])
            return _lacking(lacking[:_MOST_OF_A_NAME], package, pattern is _HEADER)
    if _NETWORK.search(said):
        return "its build uses the network, and the sandbox has none", None
    if "MemoryError" in said or "Cannot allocate memory" in said:
        return f"it needs more than {(limits.memory or 0) >> 30} GB of memory", None
    if "No space left on device" in said:
        return "it needs more disk space than the sandbox has", None
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error\b|Error\b", line)]
    last = (errors or lines or [f"it ended with code {done.code}"])[-1]
    return last[:300], None


def lacks_compiler(done: Finished) -> bool:
    """Whether a build failed because there was no compiler for C or C++."""
    return _COMPILER.search(_end_of(done.errors)) is not None


def _end_of(printed: bytes) -> str:
    """The end of what a build printed, without escapes, with a bounded number of bounded lines."""
    said = _ESCAPES.sub("", printed[-_MOST_BYTES:].decode(errors="replace"))
    return "\n".join(line[:_MOST_OF_A_LINE] for line in said.splitlines()[-_MOST_LINES:])


def _lacking(name: str, package: str | None, is_header: bool) -> tuple[str, str]:
    what = f"the header '{name}' is missing" if is_header else f"'{name}' is missing"
    if package:
        return what, f'add it in [tool.corten]: build-system-packages = ["{package}"]'
    return what, 'name the Debian package that has it in [tool.corten]: build-system-packages = ["…"]'
