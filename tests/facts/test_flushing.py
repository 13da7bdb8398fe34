"""How far WAL is flushed, on every major version, and what many looks tell."""

from __future__ import annotations

import pytest

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_access import WATCH_ROLE
from stanch.facts.flushing import FLUSHING_SQL, Flushed, FlushLooks, parse_flushing
from stanch.model.errors import ProbeFailed


def looked(*seen: tuple[float, float | None, int]) -> dict[str, float | None]:
    """Moments, positions, and how many wait."""
    looks = FlushLooks()
    for at_s, position, waiting in seen:
        looks.add(Flushed(at_s=at_s, position=position, waiting=waiting))
    return {reading.name: reading.value for reading in looks.told()}


def test_a_server_tells_how_far_its_wal_is_flushed(shared_server: ScratchServer) -> None:
    def asked() -> Flushed:
        [(text,)] = shared_server.query(FLUSHING_SQL, user=WATCH_ROLE)
        return parse_flushing(text, at_s=0.0)

    before = asked()
    shared_server.query("SELECT pg_logical_emit_message(false, 'x', repeat('x', 9000))")
    shared_server.query("CHECKPOINT")
    assert before.position is not None
    assert (asked().position or 0) >= before.position + 9000
    assert before.waiting == 0


def test_a_flush_that_does_not_end_stands_for_as_long_as_somebody_looks() -> None:
    told = looked((0.0, 8192, 3), (0.1, 8192, 3), (0.2, 8192, 4), (1.1, 8192, 4))
    assert told == {"wal_flush_stood_s": 1.1, "wal_flushed_bytes_per_s": 0}


def test_a_flush_that_ends_now_and_then_stood_for_the_longest_time_between() -> None:
    told = looked((0.0, 0, 2), (0.1, 8192, 2), (0.8, 8192, 2), (0.9, 16384, 2), (1.0, 16384, 2))
    assert told["wal_flush_stood_s"] == pytest.approx(0.7)
    assert told["wal_flushed_bytes_per_s"] == 16384


def test_a_position_for_which_nobody_waits_does_not_stand() -> None:
    told = looked((0.0, 8192, 0), (0.5, 8192, 0), (1.0, 8192, 1))
    assert told["wal_flush_stood_s"] == 0.0


def test_a_look_that_was_late_itself_blames_no_disk() -> None:
    told = looked((0.0, 0, 5), (0.1, 900, 5), (1.4, 5e6, 5), (1.5, 6e6, 5))
    assert told["wal_flush_stood_s"] == 0.0


def test_five_flushes_that_ended_are_enough() -> None:
    looks = FlushLooks()
    for n in range(6):
        assert not looks.is_enough
        looks.add(Flushed(at_s=n / 10, position=n * 8192.0, waiting=2))
    assert looks.is_enough


@pytest.mark.parametrize(
    "seen",
    [(), ((0.0, 0.0, 1),), ((0.0, 0.0, 1), (0.2, 0.0, 1)), ((0.0, None, 0), (1.0, None, 0))],
    ids=["never", "once", "too shortly", "a standby"],
)
def test_too_few_looks_tell_nothing(seen: tuple[tuple[float, float | None, int], ...]) -> None:
    assert looked(*seen) == {}


def test_an_answer_of_another_kind_is_refused() -> None:
    with pytest.raises(ProbeFailed):
        parse_flushing('{"flushed": "much", "waiting": 1}', at_s=0.0)
