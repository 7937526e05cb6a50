"""The Debian archive: which mirrors, verified indexes, the closure of packages, and what is inside a .deb.

What belongs here: everything up to a list of `Deb`s and the bytes in them. What does not: turning packages into the file
tree of a layer (`corten.build.debian_base`). No maintainer script is ever run.

Two ways lead in. `archive` resolves: `sources` → `mirrors` → `release` → `index` → `solver`. `authentication` decides whether the
packages of a lock may be unpacked at all, by indexes in `lists` and by what `signed` remembers. `deb` and `tree` unpack.
"""
