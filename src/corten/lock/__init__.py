"""Project → Lock → `corten.lock`: what exactly goes into an image, by name, version, file and sha256.

What belongs here: the lock's values, its file format, staleness, and the steps that turn inputs into a lock. What does
not: speaking to indexes and mirrors (`corten.packages`).
"""
