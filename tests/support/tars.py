"""Tar archives made by hand, header by header, as no well-meaning program would; and a corpus of hostile ones."""

from __future__ import annotations

END = bytes(1024)


def block(
    name: bytes,
    flag: bytes = b"0",
    data: bytes = b"",
    *,
    link: bytes = b"",
    mode: bytes = b"0000644\0",
    size: bytes | None = None,
    uid: bytes = b"0000000\0",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    pad: bool = True,
    checksum: bytes | None = None,
) -> bytes:
    """One entry: its header with the right checksum, unless another is given, and its data."""
    head = name.ljust(100, b"\0")[:100] + mode + uid + b"0000000\0"
    head += (b"%011o\0" % len(data)) if size is None else size
    head += b"00000000000\0"
    tail = flag + link.ljust(100, b"\0")[:100] + magic + bytes(64) + bytes(16) + prefix.ljust(155, b"\0")
    tail = tail.ljust(356, b"\0")
    total = sum(head) + sum(tail) + 8 * 32
    whole = head + (b"%06o\0 " % total if checksum is None else checksum) + tail + data
    return whole + bytes(-len(whole) % 512) if pad else whole


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    """A PAX header with these records."""
    payload = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while len(b"%d" % length) + len(body) != length:
            length = len(b"%d" % length) + len(body)
        payload += b"%d" % length + body
    return block(b"./PaxHeaders/x", flag, payload)


def long_name(name: bytes, flag: bytes = b"L") -> bytes:
    """GNU's header for a long name (`L`) or link (`K`)."""
    return block(b"././@LongLink", flag, name + b"\0", magic=b"ustar  \0")


SECRET = b"../outside/secret"
LINK = block(b"out", b"2", link=b"../../outside")

REFUSED: dict[str, bytes] = {
    "dots": block(b"../outside/evil", data=b"x"),
    "dots within": block(b"a/b/../../../outside/evil", data=b"x"),
    "dots in a prefix": block(b"evil", data=b"x", prefix=b"../outside"),
    "dots in a PAX path": pax((b"path", b"../outside/evil")) + block(b"fine", data=b"x"),
    "dots in a global PAX path": pax((b"path", b"../outside/evil"), flag=b"g") + block(b"fine", data=b"x"),
    "dots in a GNU long name": long_name(b"../outside/evil") + block(b"fine", data=b"x"),
    "dots in a directory": block(b"../outside/evil/", b"5"),
    "dots in a symbolic link's name": block(b"../outside/evil", b"2", link=b"x"),
    "dots in a whiteout": block(b"../outside/.wh.secret"),
    "a whiteout of dots": block(b"a/.wh..."),
    "a whiteout of nothing": block(b"a/.wh."),
    "a file below a link": LINK + block(b"out/evil", data=b"x"),
    "a directory below a link": LINK + block(b"out/evil/", b"5"),
    "a directory over a link, and a file below": LINK
    + block(b"out/x/", b"5")
    + block(b"out/x/evil", data=b"x"),
    "a link below a link": LINK + block(b"out/evil", b"2", link=b"x"),
    "a hard link below a link": LINK + block(b"f", data=b"x") + block(b"out/evil", b"1", link=b"f"),
    "a whiteout below a link": LINK + block(b"out/.wh.secret"),
    "an opaque directory that is a link": LINK + block(b"out/.wh..wh..opq"),
    "an absolute link, and a file below": block(b"l", b"2", link=b"/") + block(b"l/tmp/evil", data=b"x"),
    "links in a circle": block(b"l", b"2", link=b"l") + block(b"l/x", data=b"x"),
    "a hard link outwards": block(b"h", b"1", link=SECRET),
    "an absolute hard link": block(b"h", b"1", link=b"/etc/passwd"),
    "a hard link through a link": LINK + block(b"h", b"1", link=b"out/secret"),
    "a hard link to a link": block(b"l", b"2", link=SECRET) + block(b"h", b"1", link=b"l"),
    "a hard link to a directory": block(b"d/", b"5") + block(b"h", b"1", link=b"d"),
    "a hard link to the root": block(b"h", b"1", link=b"."),
    "a hard link by a GNU long link": long_name(SECRET, b"K") + block(b"h", b"1", link=b"f"),
    "a hard link by a PAX linkpath": pax((b"linkpath", SECRET)) + block(b"h", b"1", link=b"f"),
    "a file over a directory": block(b"d/", b"5") + block(b"d", data=b"x"),
    "a link over a directory": block(b"d/", b"5") + block(b"d", b"2", link=b"/"),
    "a hard link over a directory": block(b"d/", b"5") + block(b"f") + block(b"d", b"1", link=b"f"),
    "a file below a file": block(b"f", data=b"x") + block(b"f/x", data=b"x"),
    "a name too long": pax((b"path", b"n" * 300)) + block(b"n"),
    "a path too long": pax((b"path", b"/".join([b"n" * 200] * 20))) + block(b"n"),
    "a path too deep": pax((b"path", b"n/" * 300)) + block(b"n"),
    "a link too long": pax((b"linkpath", b"n" * 5000)) + block(b"n", b"2"),
    "a link to nothing": block(b"n", b"2"),
    "a null in a PAX path": pax((b"path", b"a\0b")) + block(b"n"),
    "a GNU sparse file": block(b"s", b"S", data=b"x" * 512, magic=b"ustar  \0"),
    "a PAX sparse file": pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", b"s")) + block(b"s"),
    "an unknown type": block(b"s", b"Z", data=b"x"),
    "a wrong checksum": block(b"f", data=b"x", checksum=b"000001\0 "),
    "no checksum": block(b"f", data=b"x", checksum=bytes(8)),
    "a size that is no number": block(b"f", size=b"0x000000001\0"),
    "a size with underscores": block(b"f", size=b"0_000000001\0"),
    "a negative size": block(b"f", size=b"\xff" * 12),
    "a huge size": block(b"f", size=b"\x80" + b"\xff" * 11),
    "a size beyond the end": block(b"f", size=b"77777777777\0"),
    "an owner that cannot be": block(b"f", uid=b"\x80\0\0\0\xff\xff\xff\xff"),
    "a PAX owner that cannot be": pax((b"uid", b"99999999999")) + block(b"f"),
    "a PAX size that is no number": pax((b"size", b"-1")) + block(b"f"),
    "a huge PAX size": pax((b"size", b"9" * 30)) + block(b"f"),
    "a PAX record too long": block(b"p", b"x", b"99 path=x\n") + block(b"f"),
    "a PAX record of nothing": block(b"p", b"x", b"0 path=x\n") + block(b"f"),
    "a PAX record without a length": block(b"p", b"x", b"path=x\n") + block(b"f"),
    "a PAX header of gigabytes": block(b"p", b"x", size=b"77777777777\0"),
    "a long name of gigabytes": block(b"p", b"L", size=b"77777777777\0"),
    "endless extensions": pax((b"comment", b"x")) * 1000 + block(b"f"),
    "an extension of nothing": pax((b"path", b"x")),
    "something after the end": block(b"f") + bytes(512) + block(b"g") + END,
}
"""What no layer may be, and why."""

ACCEPTED: dict[str, bytes] = {
    "an absolute name": block(b"/etc/inside", data=b"x"),
    "a name with dots of its own": block(b"./a/./b//c", data=b"x") + block(b"...", data=b"x"),
    "a device": block(b"dev/sda", b"4", mode=b"0000666\0") + block(b"dev/null", b"3") + block(b"pipe", b"6"),
    "set-user-ID": block(b"su", data=b"x", mode=b"0006755\0") + block(b"d/", b"5", mode=b"0006755\0"),
    "a capability": pax((b"SCHILY.xattr.security.capability", b"\1\0\0\2")) + block(b"cap", data=b"x"),
    "an overlay's mark": pax((b"SCHILY.xattr.trusted.overlay.redirect", b"/etc")) + block(b"d/", b"5"),
    "links outwards": block(b"a", b"2", link=b"/etc/passwd")
    + block(b"b", b"2", link=b"../../outside/secret"),
    "a file over a link outwards": block(b"f", b"2", link=SECRET) + block(b"f", data=b"mine"),
    "a directory over a link outwards": LINK + block(b"out/", b"5") + block(b"out/inside", data=b"x"),
    "a directory over a file": block(b"d", data=b"lost" * 300)
    + block(b"d/", b"5")
    + block(b"d/f", data=b"x"),
    "a file again and again": b"".join(block(b"f", data=b"%d" % n * 600) for n in range(9)),
    "a file linked, replaced and linked back": block(b"a", data=b"one" * 300)
    + block(b"b", b"1", link=b"a")
    + block(b"a", data=b"two" * 300)
    + block(b"b", data=b"three" * 300)
    + block(b"a", b"1", link=b"b")
    + block(b"a", data=b"four" * 300),
    "a link to itself": block(b"a", data=b"one" * 300) + block(b"a", b"1", link=b"a"),
    "a replaced whiteout": block(b".wh.a") + block(b"a", data=b"x"),
    "a whiteout after its file": block(b"a", data=b"x") + block(b".wh.a") + block(b".wh.a", data=b"odd"),
    "a directory in place of a hidden one": block(b".wh.d") + block(b"d/", b"5") + block(b"d/f", data=b"x"),
    "a hidden directory that is made": block(b".wh.d") + block(b"d/f", data=b"x"),
    "a file in the root's place": block(b"./", data=b"x") + block(b"/", b"5") + block(b".", b"2", link=b"/"),
    "directories nobody may enter": block(b"d/", b"5", mode=b"0000000\0") + block(b"d/f", data=b"x"),
    "a hard link with a size": block(b"a", data=b"x") + block(b"b", b"1", link=b"a", size=b"00000000100\0"),
    "V7": block(b"old/", b"\0", magic=bytes(8)) + block(b"old/f", b"\0", b"x", magic=bytes(8)),
    "a contiguous file": block(b"f", b"7", b"x"),
    "a size in base 256": block(b"f", data=b"x", size=b"\x80" + bytes(10) + b"\x01"),
    "a PAX size": pax((b"size", b"700")) + block(b"f", data=b"y" * 700, size=b"00000000001\0"),
    "a global header alone": pax((b"comment", b"x"), flag=b"g"),
    "global owners": pax((b"uid", b"7"), flag=b"g") + block(b"f", data=b"x"),
    "nothing at all": b"",
    "odd padding": block(b"f", data=b"x", pad=False) + b"junk" * 127 + b"jun",
    "bytes that are no text": block(b"\xff\xfe", data=b"x") + block(b"l", b"2", link=b"\xff"),
}
"""What is odd, and may be; the end is still to be added."""
