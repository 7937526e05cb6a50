"""Runs a program that Corten does not trust, or that reads what Corten does not trust, so that it can reach nothing else.

`confinement.py` says what a program may have, `process.py` starts it, `enter.py` runs in between, `filters.py` holds the
system-call filters, `kernel.py` the kernel's calls that Python does not have. What runs in a sandbox, and why, is known to
the rooms above.
"""
