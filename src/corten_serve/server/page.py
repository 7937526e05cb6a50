"""The page at `/`: what this server is and how to call it, as plain HTML without assets."""

from __future__ import annotations

from html import escape

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }}
code {{ font-family: ui-monospace, monospace }}
dt {{ margin-top: .6rem }}
</style>
<h1>{name}</h1>
<p><code>{predict}</code> is <strong>{state}</strong>.</p>
<dl>
<dt><code>POST /predict</code><dd>a prediction for a JSON object
<dt><a href="/openapi.json"><code>GET /openapi.json</code></a><dd>what it takes and answers
<dt><a href="/readyz"><code>GET /readyz</code></a>, <a href="/livez"><code>GET /livez</code></a><dd>whether it is ready, whether it runs
</dl>
</html>
"""


def page(name: str, predict: str, state: str) -> str:
    """The page for a predictor by its name, its `module:Class` and the state it is in."""
    return _PAGE.format(name=escape(name), predict=escape(predict), state=escape(state))
