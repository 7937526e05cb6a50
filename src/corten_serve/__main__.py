"""`python -m corten_serve [serve | train | COMMAND …]`."""

from __future__ import annotations

import sys

from corten_serve.launch import main

sys.exit(main(sys.argv[1:]))
