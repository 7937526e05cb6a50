"""The embedded registry: a distribution-spec 1.1 server for one machine, over content-addressed files.

What belongs here: the server's side of the protocol, what it keeps on disk, who may use it, and its garbage collection. What does
not: the client (`corten.registry`), the images of this machine (`corten.store`); the server reads and writes its own root alone.

From the outside in: `server` (sockets), `wire` (HTTP/1.1), `application` (who may, and which answer), `routes` (addresses), `answers/`
(what each endpoint says), `contents`, `repository` and `uploads` (the disk), `collection` (clean-up).
"""
