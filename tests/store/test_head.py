"""The noted head is read back whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanch.store.chain import Head
from stanch.store.head import HeadFile, read_head

HEAD = Head(n=12345, hash=bytes(range(32)))


def noted(path: Path, *heads: Head) -> Path:
    file = HeadFile(path)
    for head in heads:
        file.write(head)
    file.close()
    file.close()
    return path


def test_the_newest_head_is_read_back(tmp_path: Path) -> None:
    path = noted(tmp_path / "head", Head(n=10**17, hash=bytes(32)), HEAD)
    assert read_head(path) == HEAD
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_file_nothing_is_claimed(tmp_path: Path) -> None:
    assert read_head(tmp_path / "head") is None


@pytest.mark.parametrize("at", [0, 3, 20, 75])
def test_a_torn_note_claims_nothing(tmp_path: Path, at: int) -> None:
    path = noted(tmp_path / "head", HEAD)
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)
    assert read_head(path) is None


def test_a_head_that_cannot_be_noted_stops_nobody(tmp_path: Path) -> None:
    file = HeadFile(tmp_path / "missing" / "head")
    file.write(HEAD)
    assert read_head(tmp_path / "missing" / "head") is None
    file.close()
