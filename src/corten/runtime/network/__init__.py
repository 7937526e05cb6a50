"""The networks of containers: `none`, `host`, `private` and another container's.

`ports.py` has the ports that are published, `plan.py` decides what a container's network is and how it is made here,
`wire.py` makes it while the container starts, `pasta.py` is the program that gives it a way out, `forwarding.py` the process
that passes on what pasta cannot, `resolvers.py` the name servers. What does not belong here: Corten's own downloads (`corten.network`).
"""
