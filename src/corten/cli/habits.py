"""What hands that know docker or podman type, and what does it here."""

from __future__ import annotations

VERBS = {
    "start": "restart",
    "create": "run --detach",
    "top": "stats",
    "port": "ps",
    "ls": "ps",
    "list": "ps",
    "container": "ps",
    "containers": "ps",
    "image": "images",
    "info": "doctor",
    "system": "prune",
    "network": "run --network",
    "check": "store check",
    "fsck": "store check",
    "serve": "up",
    "compose": "up",
    "pause": "kill --signal STOP",
    "unpause": "kill --signal CONT",
    "delete": "rm",
    "remove": "rm",
    "import": "load",
    "freeze": "lock",
}
"""Verbs that are called otherwise here, or that a flag of another one does."""

FLAGS = {
    "--net": "write --network",
    "-m": "write --memory",
    "-c": "write --cpus, with a number of processors",
    "--privileged": "name what it needs: --cap-add, --device, --security-opt",
    "--read-only": "leave it out: the root is read-only unless --read-write",
    "--runtime": "write --engine",
    "-P": "write -p HOST:CONTAINER for each port; 0 is any free one",
    "--publish-all": "write -p HOST:CONTAINER for each port; 0 is any free one",
    "--cpuset": "write --cpuset-cpus",
    "--stop-timeout": "it is an option of the other end: corten stop --time SECONDS",
    "--userns": "leave it out: a plain user's containers have a user namespace of their own",
    "--format": "write --json, where the verb has it",
    "--no-trunc": "write --json, where the verb has it",
    "--build": "leave it out: a project is built when it has changed",
}
"""Flags that are called otherwise here, with what to do."""
