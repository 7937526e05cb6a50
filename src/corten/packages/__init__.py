"""Where files come from: Python wheels and Debian packages, found, fetched, and checked against their hashes.

What belongs here: index and mirror configuration, `uv` (resolution), the Debian archive, HTTP, the file cache, offline
directories. What does not: what a project asks for (`corten.project`), what was decided (`corten.lock`), and placing
files into layers (`corten.build`).
"""
