"""`python -m corten` is the `corten` command."""

from corten.cli.main import main

main()
