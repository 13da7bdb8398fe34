"""Pages of a scratch server's data files, read and written behind its back."""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from stanch.drill.lab.rig import Rig

PAGE = 8192
LINE_POINTERS_AT = 24
LINE_POINTER_BYTES = 4
CHECKSUM_AT, LOWER_AT, SPECIAL_AT = 8, 12, 16

BTREE_LEAF = 1
BTREE_NO_ROWS = 2 | 4 | 8 | 16
"""The flags of a root, a deleted, a meta and a half-dead page: none of these is a plain leaf."""

FNV_PRIME = 16777619
LANES = 32
# The server's own start values (checksum_impl.h), one a lane.
START = (
    *(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2),
    *(0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C),
    *(0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979),
    *(0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E),
    *(0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756),
)


def file_of(rig: Rig, relation: str) -> Path:
    """Where a table or an index lies."""
    found = rig.admin("SELECT pg_relation_filepath(%s::regclass)", (relation,))
    return rig.server.data_directory / str(found[0][0])


def count(file: Path) -> int:
    """How many pages a file has."""
    return file.stat().st_size // PAGE


def read(file: Path, block: int) -> bytearray:
    """One page."""
    with file.open("rb") as pages:
        pages.seek(block * PAGE)
        return bytearray(pages.read(PAGE))


def write(file: Path, block: int, content: bytes | bytearray, *, at: int = 0) -> None:
    """Write over a part of one page; the file stays whose it is."""
    with file.open("r+b") as pages:
        pages.seek(block * PAGE + at)
        pages.write(content)


def cut(file: Path, pages: int) -> None:
    """Leave only so many pages of it."""
    with file.open("r+b") as whole:
        whole.truncate(pages * PAGE)


def garble(rig: Rig, file: Path, block: int) -> None:
    """Random bytes somewhere in one page."""
    length = rig.rng.choice((8, 64, 512, 2048))
    write(file, block, rig.rng.randbytes(length), at=rig.rng.randrange(64, PAGE - length))


def damage_table(rig: Rig, relation: str, harm: Callable[[Path], None]) -> None:
    """Under the running server, or across a restart; what is not cached is met at once."""
    file = file_of(rig, relation)
    if rig.rng.random() < 0.5:
        with _down(rig):
            harm(file)
    else:
        # Nothing of it is left to be written, which would make the page whole again.
        rig.admin("CHECKPOINT")
        harm(file)


def damage_index(rig: Rig, index: str, harm: Callable[[Path], None]) -> None:
    """Across a restart, or just after the index was built anew and before anybody read it."""
    if rig.rng.random() < 0.5:
        file = file_of(rig, index)
        with _down(rig):
            harm(file)
        return
    rig.admin("CHECKPOINT")
    with rig.server.connect(dbname="app") as session, session.transaction():
        rig.run(session, f"REINDEX INDEX {index}")
        found = rig.run(session, f"SELECT pg_relation_filepath('{index}'::regclass)")
        harm(rig.server.data_directory / str(found[0][0]))


def leaves(file: Path) -> list[int]:
    """The blocks of a B-tree's leaf pages, the root left out."""
    return [block for block in range(1, count(file)) if _is_leaf(read(file, block))]


def line_pointers(page: bytearray) -> int:
    """How many rows or keys a page points to."""
    (lower,) = struct.unpack_from("<H", page, LOWER_AT)
    return (lower - LINE_POINTERS_AT) // LINE_POINTER_BYTES


def swap(page: bytearray, one: int, other: int) -> None:
    """Exchange two line pointers, counted from 1."""
    a, b = (LINE_POINTERS_AT + (n - 1) * LINE_POINTER_BYTES for n in (one, other))
    kept = page[a : a + LINE_POINTER_BYTES]
    page[a : a + LINE_POINTER_BYTES] = page[b : b + LINE_POINTER_BYTES]
    page[b : b + LINE_POINTER_BYTES] = kept


def seal(page: bytearray, block: int) -> None:
    """Give a page the checksum that the server expects of it."""
    struct.pack_into("<H", page, CHECKSUM_AT, 0)
    struct.pack_into("<H", page, CHECKSUM_AT, (_mixed(page) ^ block) % 65535 + 1)


@contextmanager
def _down(rig: Rig) -> Generator[None]:
    """The server is stopped for a moment, as for a restart of its machine."""
    rig.server.stop()
    try:
        yield
    finally:
        rig.server.start()


def _mixed(page: bytearray) -> int:
    sums = list(START)
    numbers = (*struct.unpack(f"<{PAGE // 4}I", page), *(0,) * 2 * LANES)
    for n, number in enumerate(numbers):
        lane = n % LANES
        mixed = sums[lane] ^ number
        sums[lane] = (mixed * FNV_PRIME & 0xFFFFFFFF) ^ (mixed >> 17)
    found = 0
    for one in sums:
        found ^= one
    return found


def _is_leaf(page: bytearray) -> bool:
    (special,) = struct.unpack_from("<H", page, SPECIAL_AT)
    if special != PAGE - 16:
        return False
    (flags,) = struct.unpack_from("<H", page, special + 12)
    return bool(flags & BTREE_LEAF) and not flags & BTREE_NO_ROWS
