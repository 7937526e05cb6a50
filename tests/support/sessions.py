"""Clients of UI frameworks: a session of Streamlit, a call of Gradio."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from typing import Any

from corten.runtime import streamlit_session


def streamlit(url: str) -> str:
    """What a first session shows until its script has ended."""
    return asyncio.run(_shown(url))


async def _shown(url: str) -> str:
    where = urllib.parse.urlsplit(url)
    assert where.hostname
    assert where.port
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        assert await streamlit_session.opened(
            reader, writer, streamlit_session.PATHS[0], where.port, "streamlit"
        )
        writer.write(streamlit_session.frame(2, streamlit_session._RERUN))
        shown = b""
        async with asyncio.timeout(60):
            while True:
                _, data, _ = await streamlit_session.received(reader, writer)
                shown += data
                said = streamlit_session.read(data)
                assert not said.raised, said.raised
                if said.ended:
                    return shown.decode(errors="replace")
    finally:
        writer.transport.abort()


def gradio(url: str, path: str, document: Any) -> str:
    """What a call of Gradio's API answers: the events of its stream."""
    request = urllib.request.Request(
        url.rstrip("/") + path, json.dumps(document).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        event = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{url.rstrip('/')}{path}/{event}", timeout=60) as response:
        return str(response.read().decode())
