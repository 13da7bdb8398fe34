"""A recording as it is kept with an incident: the bytes of the file, packed."""

from __future__ import annotations

import zlib
from pathlib import Path

from stanch.model.errors import StoreUnsuitable
from stanch.store.failures import from_os
from stanch.store.recorder.layout import FILE_BYTES
from stanch.store.recorder.reading import Recording, parse_recording

NAME = "flight recorder"
AT_OPENING = f"{NAME} at opening"
AFTER_ENDING = f"{NAME} after ending"
"""Names of the evidence in the timeline; the key of its blob stands beside it."""


def packed(path: Path) -> bytes:
    """The file as it is now, which somebody may be writing. Raises: StoreError.

    Cost: 20 ms of a processor for a full one, without holding up other threads.
    """
    try:
        with path.open("rb") as file:
            return zlib.compress(file.read(FILE_BYTES), 6)
    except OSError as error:
        raise from_os(error, on=str(path), doing="read the recording") from error


def unpacked(content: bytes, *, on: str) -> bytes:
    """The bytes of the file. Raises StoreUnsuitable where these are not a packed recording."""
    try:
        return zlib.decompressobj().decompress(content, FILE_BYTES)
    except zlib.error as error:
        raise StoreUnsuitable("is no packed recording", on=on) from error


def read_frozen(content: bytes, *, on: str) -> Recording:
    """What was kept, to be shown. Raises StoreUnsuitable."""
    return parse_recording(unpacked(content, on=on), on=on)
