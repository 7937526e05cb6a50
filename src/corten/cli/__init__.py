"""The `corten` command: one short function per verb that parses, calls the library, and renders what it returns.

What belongs here: argument parsing, rendering of errors, events and results, exit codes. What does not: decisions.
Heavy imports happen inside the verb that needs them, because start-up time is part of the product.
"""
