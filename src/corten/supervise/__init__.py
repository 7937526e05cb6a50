"""A service is kept running: one process holds its listening socket, and starts and replaces the containers behind it.

Here belong the decisions (`decide.py`, pure), the process that acts on them (`supervisor.py`), what is known of services on
the disk (`services.py`), speaking to them (`control.py`), and running them at boot (`systemd.py`). How a container is started
is `runtime/`'s, building images `build/`'s, and what people see `cli/`'s.
"""
