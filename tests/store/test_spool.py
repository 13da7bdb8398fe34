"""What cannot be made durable in the store is written down here, full disk or not."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.model.errors import StoreUnavailable
from stanch.store.spool import PARTS_MAX, SIZE_BYTES, SLOT_BYTES, Spool, SpoolThread

SMALL = SLOT_BYTES * 10  # eight slots beside the two marks


def put(kit: Any, spool: Spool, text: str, *, at_s: float = 0, size: int = 0) -> bool:
    body = text.encode() + b"." * size
    return spool.put("note.added.v1", kit.at(at_s), incident_hint="20260301-001", body=body)


def bodies(spool: Spool) -> list[str]:
    return [entry.body.decode().rstrip(".") for entry in spool.pending().entries]


def test_what_was_put_is_there_after_reopening_oldest_first(kit: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert put(kit, spool, "a", at_s=9)
    assert put(kit, spool, "b", at_s=1)
    spool.close()
    again = Spool(tmp_path / "spool")
    contents = again.pending()
    assert [(e.body, e.at, e.kind, e.incident_hint) for e in contents.entries] == [
        (b"a", kit.at(9), "note.added.v1", "20260301-001"),
        (b"b", kit.at(1), "note.added.v1", "20260301-001"),
    ]
    assert contents.lost == 0
    again.close()


def test_draining_returns_everything_once(kit: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    put(kit, spool, "a")
    assert len(spool.drain().entries) == 1
    assert spool.drain().entries == ()
    put(kit, spool, "b")
    spool.close()
    assert bodies(Spool(tmp_path / "spool")) == ["b"]


def test_what_was_put_after_looking_is_not_cleared(kit: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    put(kit, spool, "a")
    seen = spool.pending()
    put(kit, spool, "b")
    spool.clear(seen.through)
    spool.clear(seen.through)
    assert bodies(spool) == ["b"]


def test_the_oldest_give_way_and_are_counted(kit: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", size_bytes=SMALL)
    for number in range(11):
        assert put(kit, spool, str(number))
    assert bodies(spool) == [str(number) for number in range(3, 11)]
    assert spool.pending().lost == 3
    assert spool.drain().lost == 3
    put(kit, spool, "next")
    assert (bodies(spool), spool.pending().lost) == (["next"], 0)


def test_an_event_over_several_slots_comes_back_whole_or_not_at_all(
    kit: Any, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", size_bytes=SMALL)
    assert put(kit, spool, "long", size=3 * SLOT_BYTES)
    assert put(kit, spool, "short")
    assert spool.pending().entries[0].body == b"long" + b"." * 3 * SLOT_BYTES
    for number in range(4):
        put(kit, spool, str(number))
    # Its first slot is gone now, so none of it is shown.
    assert bodies(spool) == ["short", "0", "1", "2", "3"]
    assert spool.pending().lost == 1


@pytest.mark.parametrize("size", [PARTS_MAX * SLOT_BYTES, 10_000_000])
def test_what_is_too_big_is_refused_and_harms_nothing(kit: Any, tmp_path: Path, size: int) -> None:
    spool = Spool(tmp_path / "spool")
    put(kit, spool, "a")
    assert not put(kit, spool, "big", size=size)
    assert bodies(spool) == ["a"]


def test_the_whole_file_exists_in_real_blocks_from_the_start(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").close()
    info = (tmp_path / "spool").stat()
    assert info.st_size == SIZE_BYTES
    assert info.st_blocks * 512 >= SIZE_BYTES
    assert info.st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small volume")
def test_a_full_disk_does_not_stop_it(kit: Any, tmp_path: Path, small_volume: Any) -> None:
    volume = small_volume(tmp_path / "v", 4)
    spool = Spool(volume / "spool")
    fill(volume / "ballast")
    for number in range(600):
        assert put(kit, spool, f"{number}", size=1000)
    spool.close()
    again = Spool(volume / "spool")
    assert bodies(again)[-1] == "599"
    again.clear(again.pending().through)
    assert bodies(again) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may mount a small volume")
def test_it_cannot_be_made_on_a_full_disk_and_says_so(tmp_path: Path, small_volume: Any) -> None:
    volume = small_volume(tmp_path / "v", 1)
    fill(volume / "ballast")
    with pytest.raises(StoreUnavailable) as error:
        Spool(volume / "spool")
    assert "Free space" in error.value.hint


def fill(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(fd, bytes(4096)):
            pass
    os.close(fd)
    assert os.statvfs(path).f_bavail == 0


def test_a_slot_torn_by_a_power_cut_costs_that_entry_only(kit: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for text in ("a", "b", "c"):
        put(kit, spool, text, size=700)
    spool.close()
    raw = bytearray((tmp_path / "spool").read_bytes())
    at = raw.index(b"b...")
    raw[at + 600 : at + 800] = bytes(200)
    (tmp_path / "spool").write_bytes(raw)
    again = Spool(tmp_path / "spool")
    assert bodies(again) == ["a", "c"]
    assert again.pending().lost == 1


@pytest.mark.parametrize("torn", [0, SLOT_BYTES])
def test_a_mark_torn_while_clearing_forgets_nothing_that_was_not_cleared(
    kit: Any, tmp_path: Path, torn: int
) -> None:
    spool = Spool(tmp_path / "spool")
    for text in ("a", "b", "c"):
        put(kit, spool, text)
        spool.clear(spool.pending().through)
    put(kit, spool, "d")
    spool.close()
    raw = bytearray((tmp_path / "spool").read_bytes())
    raw[torn : torn + 12] = b"x" * 12
    (tmp_path / "spool").write_bytes(raw)
    assert bodies(Spool(tmp_path / "spool"))[-1] == "d"


def test_a_file_of_something_else_is_taken_as_empty(kit: Any, tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(os.urandom(SIZE_BYTES))
    spool = Spool(tmp_path / "spool")
    assert spool.pending().entries == ()
    assert put(kit, spool, "a")
    assert bodies(spool) == ["a"]


def test_after_closing_nothing_is_accepted(kit: Any, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.close()
    spool.close()
    assert not put(kit, spool, "a")


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3 * SLOT_BYTES)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=40,
)


def test_a_disk_that_hangs_holds_up_nobody_who_writes_beside_it(tmp_path: Path) -> None:
    class Hanging(Spool):
        def put(self, kind: str, at: datetime, *, incident_hint: str, body: bytes) -> bool:
            assert answers.wait(10)
            try:
                return super().put(kind, at, incident_hint=incident_hint, body=body)
            finally:
                written.set()

    answers, written = threading.Event(), threading.Event()
    spool = Hanging(tmp_path / "spool", size_bytes=SMALL)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert SpoolThread(spool).put("k", at, incident_hint="", body=b"told")
    assert spool.pending().entries == ()
    answers.set()
    assert written.wait(10)
    assert [entry.body for entry in spool.pending().entries] == [b"told"]
    spool.close()


@settings(max_examples=40, deadline=None)
@given(operations=OPERATIONS)
def test_any_order_of_use_shows_an_unbroken_run_of_the_newest(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool"
    spool = Spool(path, size_bytes=SMALL)
    expected: list[bytes] = []
    for number, (what, size) in enumerate(operations):
        if what == "put":
            body = f"{number}:".encode() + b"x" * size
            at = datetime(2026, 3, 1, tzinfo=UTC)
            assert spool.put("k", at, incident_hint="", body=body)
            expected.append(body)
        elif what == "clear":
            spool.clear(spool.pending().through)
            expected = []
        else:
            spool.close()
            spool = Spool(path, size_bytes=SMALL)
        contents = spool.pending()
        shown = [entry.body for entry in contents.entries]
        assert shown == expected[len(expected) - len(shown) :]
        assert contents.lost == len(expected) - len(shown)
        assert shown or not expected
    spool.close()
