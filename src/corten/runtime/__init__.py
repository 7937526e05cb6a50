"""An image and options become a running container.

What belongs here: the OCI runtime specification as a pure function, the overlay, user namespaces, cgroups, networks, and
the one module that starts engines (`engine.py`). What does not: building images, keeping several containers running.
"""
