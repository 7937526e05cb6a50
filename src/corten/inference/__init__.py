"""Asking a model server: what people write becomes a request, one at a time or a whole file of them.

Here belong requests made from words and rows, and runs over files that can be resumed. Starting a server does not: whoever
calls brings an address.
"""
