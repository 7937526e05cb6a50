"""The Debian archive: which mirrors, verified indexes, the closure of packages, and what is inside a .deb.

What belongs here: everything up to a list of `Deb`s and the bytes in them. What does not: turning packages into the file
tree of a layer (`corten.build.debian_base`). No maintainer script is ever run.

`archive` is the way in; the rest is what it stands on: `sources` → `release` → `index` → `solver`, and `deb` with `unpack`.
"""
