"""Containers where a machine allows no namespaces, or no overlay: bubblewrap and PRoot in an OCI engine's place.

`refusals.py` says what each of them protects from and refuses what it cannot do, `arguments.py` writes their command lines
(pure), `scratch.py` makes what a container may write to, `confine.py` takes rights away, `shim.py` has the processes,
`begin.py` puts them together, `probing.py` finds out which one works. What does not belong here: anything that an OCI engine
does better.

bubblewrap shows hard links to the layers, read-only by its mount. PRoot only rewrites the paths of system calls and
cannot protect a file: it gets copies (`store/merged.py`), and is no protection from a program that means harm.
"""
