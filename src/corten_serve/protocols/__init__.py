"""The bytes of every protocol → a predictor's arguments, and its results → bytes; and the documents that describe them.

Worker's side: standard library only, Python 3.9. One module for each protocol; none of them reads a socket or calls a predictor.
"""
