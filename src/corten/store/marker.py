"""By what a store's directory is known. A module of its own: whoever scans a project asks for it, and needs no store."""

MARKER = ".corten-store"
"""A file in every store's directory, by which the directory is known for what it is."""
