"""Formats and bytes of the Open Container Initiative: digests, descriptors, manifests, configs, layouts, tar streams.

What belongs here: values and functions on bytes and trees of files, with the specification section they follow.
What does not: networks, processes, names on this machine (`corten.store`).
"""
