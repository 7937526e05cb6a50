"""Corten turns a Python machine-learning project into a container image and runs it.

The rooms below are imported by name (`corten.build`, `corten.runtime`, …); nothing is imported here, because
the time that the `corten` command takes to start is part of the product.
"""

__version__ = "0.1.0"
