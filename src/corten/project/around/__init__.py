"""What a project's code needs around it, found by reading: variables, services, devices, a way out, weights of hubs.

Each module reads one kind of need from `Modules`, pure. `look.py` puts them together. Nothing of the project is imported or run.
Readers of single files that people keep beside the code for this (`.env`) belong here too; what other tools' files say does not
(`corten.project.hints`).
"""
