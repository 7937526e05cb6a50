"""The server process: sockets, health, limits, queues, workers' lives, metrics and the web page. It never parses a body.

The server's side: its own environment, in which Granian is the only package. Nothing of the project's code runs here.
"""
