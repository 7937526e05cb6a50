"""`[tool.corten]` in pyproject.toml → Project: validated values, and what is not written found by looking.

What belongs here: reading, validating and detecting; which files are code, which are weights, which stay out. What does
not: networks, packages, images.
"""
