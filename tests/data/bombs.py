"""Small files that keep a decoder busy, or ask it for more memory than there is."""

from __future__ import annotations

import struct


def many_scans(side: int, scans: int, *, refine: bool = False) -> bytes:
    """A progressive grey JPEG of side × side pixels whose scans after the first change nothing.

    Each says in a few bytes that all blocks are at their end, and a decoder visits every block
    for each; where it refines, every coefficient too.
    """
    blocks = ((side + 7) // 8) ** 2
    runs = -(-blocks // 32767)
    bits = ("0" + "1" * 14) * runs  # the code of EOB14, and the longest run of it
    bits += "1" * (-len(bits) % 8)
    ends = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    scan = _marker(0xDA, bytes([1, 1, 0x00, 1, 63, 0x10 if refine else 0])) + ends
    return b"".join([
        b"\xff\xd8",
        _marker(0xDB, bytes([0]) + bytes([1] * 64)),
        _marker(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0])),
        _marker(0xC4, bytes([0x00, 1] + [0] * 15 + [0])),
        _marker(0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0])),
        _marker(0xDA, bytes([1, 1, 0x00, 0, 0, 0])), bytes((blocks + 7) // 8),
        scan * scans,
        b"\xff\xd9",
    ])  # fmt: skip


def skipping_rows(width: int = 99_999_999) -> bytes:
    """A BMP of one row in 1 kB, whose run-length code asks to skip 255 rows: 25 GB of nothing."""
    head = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, 0, 0, 0, 256, 0)
    palette = bytes(4 * 256)
    start = 14 + len(head) + len(palette)
    code = bytes([0, 2, 0, 255]) * 4 + bytes([0, 1])
    return b"BM" + struct.pack("<IHHI", start + len(code), 0, 0, start) + head + palette + code


def _marker(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body
