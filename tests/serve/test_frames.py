from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten_serve.frames import LIMIT, FrameError, Item, Reader, encode

items = st.lists(
    st.builds(
        Item,
        st.integers(0, 2**64 - 1),
        st.integers(0, 255),
        st.integers(0, 65535),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=40),
        st.binary(max_size=200),
        st.integers(0, 2**32 - 1),
    ),
    max_size=5,
)


@given(st.lists(items, max_size=4), st.lists(st.integers(1, 60), min_size=1))
def test_items_arrive_whole_and_in_order_however_the_stream_is_cut(frames, cuts):
    stream = b"".join(map(encode, frames))
    reader, received, position, step = Reader(), [], 0, 0
    while position < len(stream):
        size = cuts[step % len(cuts)]
        received += reader.feed(stream[position : position + size])
        position, step = position + size, step + 1
    assert received == [item for frame in frames for item in frame]


@given(st.binary(max_size=300))
def test_bytes_that_are_no_frames_are_refused_or_awaited(data):
    with suppress(FrameError):
        Reader().feed(struct.pack("<I", len(data)) + data)


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read():
    with pytest.raises(FrameError):
        Reader().feed(struct.pack("<I", LIMIT + 1))
