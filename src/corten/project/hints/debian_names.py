"""Names of Debian packages as people write them → those of the base's release. Data, with one pure function that reads it.

The names come from Debian and Ubuntu releases of ten years. `RENAMED` has what a package is called now; `LIBRARY` what a program
needs at run time of a `-dev` package; the rest what an image of Corten's needs no package for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from corten.values import dataclass

RELEASES = ("bookworm", "trixie")

RENAMED: dict[str, str | tuple[str, str]] = {
    # now: one name for both releases, or (bookworm, trixie); "" where a release has none
    "libgl1-mesa-glx": "libgl1",
    "libgl1-mesa-dri": "libgl1-mesa-dri",
    "libegl1-mesa": "libegl1",
    "libgles2-mesa": "libgles2",
    "libglapi-mesa": ("libglapi-mesa", ""),
    "libglib2.0": ("libglib2.0-0", "libglib2.0-0t64"),
    "libglib2.0-0": ("libglib2.0-0", "libglib2.0-0t64"),
    "libglib2.0-0t64": ("libglib2.0-0", "libglib2.0-0t64"),
    "libglu1": "libglu1-mesa",
    "libasound2": ("libasound2", "libasound2t64"),
    "libasound2t64": ("libasound2", "libasound2t64"),
    "libgtk-3-0": ("libgtk-3-0", "libgtk-3-0t64"),
    "libgtk-3-0t64": ("libgtk-3-0", "libgtk-3-0t64"),
    "libgtk2.0-0": ("libgtk2.0-0", "libgtk2.0-0t64"),
    "libatk1.0-0": ("libatk1.0-0", "libatk1.0-0t64"),
    "libatk1.0-0t64": ("libatk1.0-0", "libatk1.0-0t64"),
    "libatk-bridge2.0-0": ("libatk-bridge2.0-0", "libatk-bridge2.0-0t64"),
    "libatk-bridge2.0-0t64": ("libatk-bridge2.0-0", "libatk-bridge2.0-0t64"),
    "libatspi2.0-0": ("libatspi2.0-0", "libatspi2.0-0t64"),
    "libatspi2.0-0t64": ("libatspi2.0-0", "libatspi2.0-0t64"),
    "libcups2": ("libcups2", "libcups2t64"),
    "libcups2t64": ("libcups2", "libcups2t64"),
    "libpng12-0": ("libpng16-16", "libpng16-16t64"),
    "libpng16-16": ("libpng16-16", "libpng16-16t64"),
    "libpng16-16t64": ("libpng16-16", "libpng16-16t64"),
    "libjpeg8": "libjpeg62-turbo",
    "libjpeg-turbo8": "libjpeg62-turbo",
    "libjpeg62": "libjpeg62-turbo",
    "libtiff5": "libtiff6",
    "libtiff4": "libtiff6",
    "libwebp6": "libwebp7",
    "libwebp5": "libwebp7",
    "libopenexr25": "libopenexr-3-1-30",
    "libopenexr24": "libopenexr-3-1-30",
    "libjasper1": "",
    "libssl1.0.0": ("libssl3", "libssl3t64"),
    "libssl1.1": ("libssl3", "libssl3t64"),
    "libssl3": ("libssl3", "libssl3t64"),
    "libssl3t64": ("libssl3", "libssl3t64"),
    "libffi6": "libffi8",
    "libffi7": "libffi8",
    "libicu60": ("libicu72", "libicu76"),
    "libicu63": ("libicu72", "libicu76"),
    "libicu66": ("libicu72", "libicu76"),
    "libicu67": ("libicu72", "libicu76"),
    "libicu70": ("libicu72", "libicu76"),
    "libicu72": ("libicu72", "libicu76"),
    "libicu74": ("libicu72", "libicu76"),
    "libavcodec57": ("libavcodec59", "libavcodec61"),
    "libavcodec58": ("libavcodec59", "libavcodec61"),
    "libavcodec59": ("libavcodec59", "libavcodec61"),
    "libavcodec60": ("libavcodec59", "libavcodec61"),
    "libavcodec-extra": "libavcodec-extra",
    "libavformat57": ("libavformat59", "libavformat61"),
    "libavformat58": ("libavformat59", "libavformat61"),
    "libavformat59": ("libavformat59", "libavformat61"),
    "libswscale4": ("libswscale6", "libswscale8"),
    "libswscale5": ("libswscale6", "libswscale8"),
    "libswscale6": ("libswscale6", "libswscale8"),
    "libavutil56": ("libavutil57", "libavutil59"),
    "libtesseract4": "libtesseract5",
    "libleptonica5": ("liblept5", "libleptonica6"),
    "liblept5": ("liblept5", "libleptonica6"),
    "libhdf5-100": ("libhdf5-103-1", "libhdf5-310"),
    "libhdf5-103": ("libhdf5-103-1", "libhdf5-310"),
    "libhdf5-serial": ("libhdf5-103-1", "libhdf5-310"),
    "libatlas3-base": ("libatlas3-base", "libopenblas0"),
    "libatlas-base": ("libatlas3-base", "libopenblas0"),
    "libopenblas-base": "libopenblas0",
    "libncurses5": ("libncurses5", "libncurses6"),
    "libtinfo5": ("libtinfo5", "libtinfo6"),
    "libmysqlclient20": "libmariadb3",
    "libmysqlclient21": "libmariadb3",
    "mysql-client": "default-mysql-client",
    "libldap-2.4-2": ("libldap-2.5-0", "libldap2"),
    "libldap-2.5-0": ("libldap-2.5-0", "libldap2"),
    "libappindicator1": ("libayatana-appindicator1", ""),
    "libappindicator3-1": "libayatana-appindicator3-1",
    "libgconf-2-4": ("libgconf-2-4", ""),
    "libindicator7": "",
    "libsndfile": "libsndfile1",
    "libxslt1.1": "libxslt1.1",
    "libproj19": ("libproj25", "libproj25"),
    "libproj22": ("libproj25", "libproj25"),
    "libgdal28": ("libgdal32", "libgdal36"),
    "libgdal30": ("libgdal32", "libgdal36"),
    "libgdal32": ("libgdal32", "libgdal36"),
    "libgeos-3.8.0": ("libgeos3.11.1", "libgeos3.13.1"),
    "libgeos-3.9.0": ("libgeos3.11.1", "libgeos3.13.1"),
    "libmagickwand-6.q16-6": ("libmagickwand-6.q16-6", "libmagickwand-7.q16-10"),
    "libpython3.9": "",
    "libgstreamer1.0-0": "libgstreamer1.0-0",
    "libqt5gui5": ("libqt5gui5", "libqt5gui5t64"),
    "libqt5core5a": ("libqt5core5a", "libqt5core5t64"),
    "libqt5widgets5": ("libqt5widgets5", "libqt5widgets5t64"),
    "libqtgui4": ("libqt5gui5", "libqt5gui5t64"),
    "libqt4-test": "",
    "openjdk-7-jre": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-8-jdk": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-8-jre": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-8-jre-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-8-jdk-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-11-jdk": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-11-jdk-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-11-jre": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-11-jre-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-17-jdk": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-17-jdk-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-17-jre": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-17-jre-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-21-jdk": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "openjdk-21-jre-headless": ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
    "default-jdk": "default-jre-headless",
    "default-jdk-headless": "default-jre-headless",
    "default-jre": "default-jre-headless",
    "chromium-browser": "chromium",
    "chromium-chromedriver": "chromium-driver",
    "chromedriver": "chromium-driver",
    "firefox": "firefox-esr",
    "google-chrome-stable": "chromium",
    "ttf-dejavu": "fonts-dejavu-core",
    "ttf-dejavu-core": "fonts-dejavu-core",
    "ttf-freefont": "fonts-freefont-ttf",
    "ttf-liberation": "fonts-liberation",
    "ttf-wqy-zenhei": "fonts-wqy-zenhei",
    "ttf-mscorefonts-installer": "fonts-liberation",
    "fonts-ipafont": "fonts-ipafont",
    "libav-tools": "ffmpeg",
    "tesseract": "tesseract-ocr",
    "poppler": "poppler-utils",
    "pdftk": "pdftk-java",
    "exiftool": "libimage-exiftool-perl",
    "wkhtmltopdf": ("wkhtmltopdf", ""),
    "postgresql-client-common": "postgresql-client-common",
    "libstdc++6": "",
    "libgomp1": "",
    "libc6": "",
    "ca-certificates": "",
    "tzdata": "",
    "netbase": "",
    "bash": "",
    "dash": "",
    "coreutils": "",
    "zlib1g": "",
    "libexpat1": "",
}
"""What a package is called in the releases of a base; "" where the base has it already, or nothing has."""

LIBRARY: dict[str, str | tuple[str, str]] = {
    "libpq-dev": "libpq5",
    "default-libmysqlclient-dev": "libmariadb3",
    "libmysqlclient-dev": "libmariadb3",
    "libmariadb-dev": "libmariadb3",
    "libmariadb-dev-compat": "libmariadb3",
    "libmariadbclient-dev": "libmariadb3",
    "libsndfile1-dev": "libsndfile1",
    "libsndfile-dev": "libsndfile1",
    "portaudio19-dev": "libportaudio2",
    "libportaudio-dev": "libportaudio2",
    "libasound-dev": ("libasound2", "libasound2t64"),
    "libasound2-dev": ("libasound2", "libasound2t64"),
    "libgl1-mesa-dev": "libgl1",
    "libgl-dev": "libgl1",
    "libegl1-mesa-dev": "libegl1",
    "libgles2-mesa-dev": "libgles2",
    "libosmesa6-dev": ("libosmesa6", ""),
    "libglib2.0-dev": ("libglib2.0-0", "libglib2.0-0t64"),
    "libsm-dev": "libsm6",
    "libxext-dev": "libxext6",
    "libxrender-dev": "libxrender1",
    "libx11-dev": "libx11-6",
    "libxml2-dev": "libxml2",
    "libxslt1-dev": "libxslt1.1",
    "libxslt-dev": "libxslt1.1",
    "libjpeg-dev": "libjpeg62-turbo",
    "libjpeg62-turbo-dev": "libjpeg62-turbo",
    "libpng-dev": ("libpng16-16", "libpng16-16t64"),
    "libtiff-dev": "libtiff6",
    "libtiff5-dev": "libtiff6",
    "libwebp-dev": "libwebp7",
    "libopenblas-dev": "libopenblas0",
    "liblapack-dev": "liblapack3",
    "libblas-dev": "libblas3",
    "libatlas-base-dev": ("libatlas3-base", "libopenblas0"),
    "libhdf5-dev": ("libhdf5-103-1", "libhdf5-310"),
    "libhdf5-serial-dev": ("libhdf5-103-1", "libhdf5-310"),
    "libgtk-3-dev": ("libgtk-3-0", "libgtk-3-0t64"),
    "libgtk2.0-dev": ("libgtk2.0-0", "libgtk2.0-0t64"),
    "libmagic-dev": ("libmagic1", "libmagic1t64"),
    "libtesseract-dev": "libtesseract5",
    "libleptonica-dev": ("liblept5", "libleptonica6"),
    "libpoppler-cpp-dev": ("libpoppler-cpp0v5", "libpoppler-cpp2"),
    "libgeos-dev": ("libgeos-c1v5", "libgeos-c1t64"),
    "libspatialindex-dev": ("libspatialindex6", "libspatialindex8"),
    "libgdal-dev": ("libgdal32", "libgdal36"),
    "libproj-dev": "libproj25",
    "libfreetype6-dev": "libfreetype6",
    "libcairo2-dev": "libcairo2",
    "libpango1.0-dev": "libpango-1.0-0",
    "libgirepository1.0-dev": "libgirepository-1.0-1",
    "libzbar-dev": ("libzbar0", "libzbar0t64"),
    "libsqlite3-dev": "libsqlite3-0",
    "unixodbc-dev": "unixodbc",
    "libmagickwand-dev": ("libmagickwand-6.q16-6", "libmagickwand-7.q16-10"),
    "libopencv-dev": "libgl1",
    "libgomp-dev": "",
    "libtbb-dev": "libtbb12",
    "libsasl2-dev": "libsasl2-2",
    "libldap2-dev": ("libldap-2.5-0", "libldap2"),
    "libzmq3-dev": "libzmq5",
    "libleveldb-dev": "libleveldb1d",
    "librdkafka-dev": "librdkafka1",
    "libsox-dev": "libsox3",
    "libboost-all-dev": "",
    "libv4l-dev": ("libv4l-0", "libv4l-0t64"),
    "libenchant-2-dev": "libenchant-2-2",
    "libgraphviz-dev": "graphviz",
    "libusb-1.0-0-dev": "libusb-1.0-0",
    "libavcodec-dev": ("libavcodec59", "libavcodec61"),
    "libavformat-dev": ("libavformat59", "libavformat61"),
    "libswscale-dev": ("libswscale6", "libswscale8"),
    "libavdevice-dev": ("libavdevice59", "libavdevice61"),
    "libavfilter-dev": ("libavfilter8", "libavfilter10"),
    "libavutil-dev": ("libavutil57", "libavutil59"),
    "libespeak-dev": "libespeak1",
    "libespeak-ng-dev": "libespeak-ng1",
}
"""The library of a `-dev` package, which a program needs when it runs. Other `-dev` packages are for building alone."""

_BUILD = {
    *(
        "build-essential",
        "gcc",
        "g++",
        "make",
        "cmake",
        "ninja-build",
        "pkg-config",
        "pkgconf",
        "autoconf",
        "automake",
        "libtool",
    ),
    *(
        "bison",
        "flex",
        "clang",
        "llvm",
        "gfortran",
        "rustc",
        "cargo",
        "swig",
        "patch",
        "nasm",
        "yasm",
        "checkinstall",
        "ccache",
    ),
    *("meson", "cython", "cython3", "libtool-bin", "debhelper", "devscripts"),
}
_BUILD_BEGINNINGS = ("gcc-", "g++-", "clang-", "llvm-", "linux-headers", "dh-", "swig")
"""Compilers and their like: wheels are not built in an image."""
_PYTHON = ("python", "libpython", "pypy", "virtualenv", "pipenv", "pipx")
"""How names of Debian's Python and of its packages begin: the image has a Python, and packages come from an index."""
_TOOLS = {
    *(
        "git",
        "git-lfs",
        "curl",
        "wget",
        "vim",
        "nano",
        "less",
        "htop",
        "unzip",
        "zip",
        "bzip2",
        "xz-utils",
        "sudo",
        "gnupg",
        "gnupg2",
    ),
    *(
        "gpg",
        "gpg-agent",
        "dirmngr",
        "lsb-release",
        "apt-transport-https",
        "apt-utils",
        "software-properties-common",
        "dialog",
    ),
    *(
        "locales",
        "locales-all",
        "procps",
        "net-tools",
        "iputils-ping",
        "dnsutils",
        "telnet",
        "netcat",
        "openssh-client",
        "ssh",
    ),
    *(
        "openssh-server",
        "screen",
        "tmux",
        "tree",
        "man-db",
        "debconf-utils",
        "supervisor",
        "nginx",
        "nodejs",
        "npm",
        "yarn",
        "cron",
    ),
    *(
        "rsync",
        "file",
        "jq",
        "tini",
        "dumb-init",
        "gosu",
        "aptitude",
        "ca-certificates-java",
        "strace",
        "gdb",
        "lsof",
        "psmisc",
    ),
    *(
        "expect",
        "awscli",
        "gettext",
        "gettext-base",
        "wait-for-it",
        "mlocate",
        "bash-completion",
        "zsh",
        "fish",
        "moreutils",
    ),
}
_TOOLS_BEGINNINGS = ("vim-", "netcat-", "apache2", "docker", "ubuntu-", "update-notifier")
"""Programs that a Dockerfile installs to build or to look around."""


def is_python(name: str) -> bool:
    """Whether `name` is Debian's Python, or a package of it."""
    return name.startswith(_PYTHON)


def is_for_building(name: str) -> bool:
    """Whether `name` is a compiler or its like, or files that only a compiler reads."""
    return name in _BUILD or name.startswith(_BUILD_BEGINNINGS) or name.endswith(("-dev", "-headers"))


def is_tool(name: str) -> bool:
    """Whether `name` is a program for building an image or looking around in it."""
    return name in _TOOLS or name.startswith(_TOOLS_BEGINNINGS)


@dataclass(frozen=True, slots=True)
class Named:
    """`packages` of the release for what was written, and `dropped`: (name, why) for what is not needed."""

    packages: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    dropped: tuple[tuple[str, str], ...]


def spelled(word: str) -> str | None:
    """A package's name without its version, architecture and suite; None for what is no name."""
    name = (
        re.split(r"[=/:]", word.strip().lower(), maxsplit=1)[0].rstrip("-+")
        if not word.startswith(("/", "./"))
        else ""
    )
    if word.rstrip().endswith("++"):
        name += "++"
    return name if re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) else None


def for_release(names: Sequence[str], release: str, kept: Sequence[str] = ()) -> Named:
    """The packages that `names` come to in `release`. `kept` are tools that the project starts by name."""
    packages: dict[str, None] = {}
    renamed: list[tuple[str, str]] = []
    dropped: list[tuple[str, str]] = []
    for name in dict.fromkeys(names):
        if release == "bookworm" and name.endswith("t64") and name not in RENAMED:
            renamed.append((name, name.removesuffix("t64")))
            packages[name.removesuffix("t64")] = None
        elif name in kept:
            packages[name] = None
        elif name in RENAMED or name in LIBRARY:
            known = RENAMED.get(name, LIBRARY.get(name, ""))
            now = (
                known
                if isinstance(known, str)
                else known[RELEASES.index(release) if release in RELEASES else 0]
            )
            if not now:
                dropped.append((name, "the base has it" if _in_base(name) else "no package of the base"))
                continue
            packages[now] = None
            if now != name:
                renamed.append((name, now))
        elif is_python(name):
            dropped.append((name, "the image has a Python"))
        elif is_for_building(name):
            dropped.append((name, "for building"))
        elif is_tool(name):
            dropped.append((name, "a tool"))
        else:
            packages[name] = None
    return Named(tuple(packages), tuple(renamed), tuple(dropped))


def _in_base(name: str) -> bool:
    return name in {
        *(
            "libstdc++6",
            "libgomp1",
            "libc6",
            "ca-certificates",
            "tzdata",
            "netbase",
            "bash",
            "dash",
            "coreutils",
        ),
        *("zlib1g", "libexpat1", "libgomp-dev"),
    }
