"""HTTP connections: TLS, proxies, credentials for the host they belong to, and what went wrong in one sentence.

What belongs here: one exchange with a host. What does not: what is asked for and whether to ask again (`corten.packages.http`,
`corten.registry.exchange`).
"""
