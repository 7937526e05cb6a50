"""Type hints → what a request may hold: kinds that describe themselves as JSON schema and read parsed values.

Worker's side: standard library only, Python 3.9. Nothing here knows a protocol or a transport.
"""
