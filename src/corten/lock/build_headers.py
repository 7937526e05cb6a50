"""Debian's packages that the sources of well-known Python packages are compiled with: data, so that nobody has to find them out."""

from __future__ import annotations

from collections.abc import Collection

_MYSQL = ("default-libmysqlclient-dev",)
_HEADERS = {
    "flask-mysqldb": _MYSQL,
    "lxml": ("libxml2-dev", "libxslt1-dev"),
    "mysqlclient": _MYSQL,
    "pillow": ("zlib1g-dev", "libjpeg-dev"),
    "psycopg": ("libpq-dev",),
    "psycopg2": ("libpq-dev",),
    "pyaudio": ("portaudio19-dev",),
    "pycairo": ("libcairo2-dev",),
    "pycurl": ("libcurl4-openssl-dev", "libssl-dev"),
    "pygraphviz": ("libgraphviz-dev",),
    "pymssql": ("freetds-dev",),
    "pyodbc": ("unixodbc-dev",),
    "python-ldap": ("libldap-dev", "libsasl2-dev"),
    "xmlsec": ("libxml2-dev", "libxmlsec1-dev"),
}


def known_headers(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What is known to be needed to compile those of `names` (normal names), by their names."""
    return {name: _HEADERS[name] for name in sorted(_HEADERS.keys() & set(names))}
