"""The worker process: the project's code in the project's environment, loaded, called, watched and cancelled.

Worker's side: standard library only, Python 3.9. Protocols are in `protocols`, types in `schema`.
"""
