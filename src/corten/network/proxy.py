"""Which proxy leads to an address."""

from __future__ import annotations

from collections.abc import Mapping

from corten.errors import FetchError
from corten.network.addresses import host_of


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy for `url`, as curl and Python read the environment (lower case wins; no upper-case HTTP_PROXY in CGI).
    Raises FetchError for a kind of proxy that is not supported."""
    import urllib.request

    parts = urllib.parse.urlsplit(url)
    lowered = {
        key.lower(): value for key, value in environment.items() if key.lower().endswith("_proxy") and value
    }
    lowered |= {key: value for key, value in environment.items() if key.endswith("_proxy") and value}
    if "REQUEST_METHOD" in environment and "http_proxy" not in environment:
        lowered.pop("http_proxy", None)
    proxy = lowered.get(f"{parts.scheme}_proxy") or lowered.get("all_proxy")
    if proxy is None:
        return None
    excluded = {"no": lowered.get("no_proxy", "")}
    if urllib.request.proxy_bypass_environment(host_of(url), excluded):  # type: ignore[attr-defined]
        return None
    if not proxy.startswith(("http://", "https://")):
        if "://" in proxy:
            raise FetchError(
                f"a {proxy.partition(':')[0]} proxy is not supported", hint="use an http:// proxy"
            )
        proxy = f"http://{proxy}"
    return proxy
