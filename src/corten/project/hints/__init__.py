"""Hints: what files that a project already has say about how it runs (Procfile, Dockerfile, compose.yaml, …).

One module reads one file format and returns `Hint` values; it decides nothing. `take.py` merges the hints with what the project
wrote in `[tool.corten]`. Nothing is run or imported, and every file is hostile: size, depth and number of values are bounded.
Recognising code is not here (`corten.project.recognize`), nor are dependencies (`corten.project.dependencies`).
"""
