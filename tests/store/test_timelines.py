"""Many waiters share one commit, each with an answer of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from stanch.model.errors import StaleDecision, StoreUnavailable
from stanch.model.ids import IncidentId
from stanch.model.ports.timelines import Timelines
from stanch.model.timeline import Lane
from stanch.store.timelines import WAITING_MAX, InlineStore, StoreThread


@pytest.fixture
async def thread(kit: Any, tmp_path: Path) -> AsyncIterator[StoreThread]:
    thread = StoreThread(kit.store(tmp_path / "s"))
    yield thread
    await thread.close()


@pytest.fixture(params=["inline", "thread"])
async def timelines(
    request: pytest.FixtureRequest, kit: Any, tmp_path: Path
) -> AsyncIterator[Timelines]:
    store = kit.store(tmp_path / "s")
    made = InlineStore(store) if request.param == "inline" else StoreThread(store)
    yield made
    await made.close()


async def open_one(kit: Any, timelines: Timelines, *more: Any) -> IncidentId:
    first = kit.entry("", 0, kit.opened(), *more)
    return (await timelines.open_incident(kit.T0, first))[0].incident_id


class Gate:
    """Holds the writing thread inside an operation until opened."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, tx: Any) -> None:
        self.entered.set()
        assert self.open.wait(10)


async def held(thread: StoreThread) -> tuple[Gate, asyncio.Task[None]]:
    """The writing thread, stopped so that what comes next queues up behind it."""
    gate = Gate()
    task = asyncio.ensure_future(thread._write(gate))  # pyright: ignore[reportPrivateUsage]
    await asyncio.to_thread(gate.entered.wait, 10)
    return gate, task


async def queued(thread: StoreThread, count: int) -> None:
    while thread.waiting < count:
        await asyncio.sleep(0)


async def test_everything_the_house_asks_of_timelines(kit: Any, timelines: Timelines) -> None:
    incident = await open_one(kit, timelines, kit.note("due act 1"))
    [claim] = await timelines.claim(Lane.ACT, at=kit.at(2), lease_s=9, limit=1)
    assert await timelines.next_due(Lane.ACT) is None
    await timelines.append(kit.entry(incident, 2, kit.ack(), lease=claim))
    await timelines.release(claim, retry_at=kit.at(7))
    assert await timelines.next_due(Lane.ACT) == kit.at(7)
    key = await timelines.put_blob(b"x")
    assert (await timelines.blob(key)).content == b"x"
    await timelines.put_policy("h", "text")
    assert await timelines.policy_text("h") == "text"
    assert await timelines.policy_text("other") is None
    assert [r.seq for r in await timelines.read(incident, after_seq=1)] == [2, 3]
    assert await timelines.incident_ids(open_only=True, limit=5) == [incident]
    assert (await timelines.verify()).ok


async def test_a_lease_that_ends_by_itself_frees_what_is_due_without_a_commit(
    kit: Any, tmp_path: Path
) -> None:
    clock = kit.LeaseClock()
    thread = StoreThread(kit.store(tmp_path / "s", lease_clock_us=clock))
    await open_one(kit, thread, kit.note("due act 1"))
    assert await thread.claim(Lane.ACT, at=kit.at(2), lease_s=9, limit=1)
    for _ in range(9):
        assert await thread.next_due(Lane.ACT) is None
        clock.move(1)
    assert await thread.next_due(Lane.ACT) == kit.at(1)
    await thread.close()


async def test_what_is_due_is_known_from_the_commit_and_not_read_again(
    kit: Any, tmp_path: Path
) -> None:
    thread = StoreThread(kit.store(tmp_path / "s", lease_clock_us=kit.LeaseClock()))
    incident = await open_one(kit, thread, kit.note("due act 9"))
    gate, writing = await held(thread)
    # Whoever asks while somebody writes is told what the commit before left.
    assert await thread.next_due(Lane.ACT) == kit.at(9)
    gate.open.set()
    await writing
    await thread.append(kit.entry(incident, 2, kit.note("due act 5")))
    assert await thread.next_due(Lane.ACT) == kit.at(5)
    await thread.append(kit.entry(incident, 3, kit.note("done act")))
    assert await thread.next_due(Lane.ACT) is None
    await thread.close()


async def test_erased_content_is_gone_from_every_file_at_once(
    timelines: StoreThread | InlineStore, kit: Any, tmp_path: Path
) -> None:
    key = await timelines.put_blob(b"a person's name")
    assert on_disk(tmp_path / "s", b"a person's name")
    assert await timelines.erase_blob(key, at=kit.T0)
    assert not on_disk(tmp_path / "s", b"a person's name")


def on_disk(folder: Path, content: bytes) -> bool:
    return any(content in path.read_bytes() for path in folder.glob("stanch.db*"))


async def test_a_refusal_in_a_shared_commit_is_only_its_own(kit: Any, thread: StoreThread) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    both = [thread.append(kit.entry(incident, 1, kit.ack(), kit.note(str(i)))) for i in range(9)]
    facts = [thread.append(kit.entry(incident, 1, kit.note())) for _ in range(9)]
    waiting = [asyncio.ensure_future(one) for one in both + facts]
    await queued(thread, 18)
    gate.open.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await first
    assert [type(r) for r in results] == [tuple] + [StaleDecision] * 8 + [tuple] * 9
    assert [r.seq for r in await thread.read(incident)] == list(range(1, 13))
    assert (await thread.verify()).ok


async def test_what_waits_together_is_committed_once(
    kit: Any, thread: StoreThread, tmp_path: Path
) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    notes = [thread.append(kit.entry(incident, 1, kit.note())) for _ in range(50)]
    waiting = [asyncio.ensure_future(one) for one in notes]
    await queued(thread, 50)
    before = commits(tmp_path / "s" / "stanch.db")
    gate.open.set()
    await asyncio.gather(first, *waiting)
    # One for the operation that held the thread, one for all that waited behind it.
    assert commits(tmp_path / "s" / "stanch.db") - before <= 2


async def test_a_database_error_in_the_middle_undoes_the_whole_commit_for_everybody(
    kit: Any, thread: StoreThread
) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)

    def broken(tx: Any) -> None:
        raise_disk_error(tx)

    before = asyncio.ensure_future(thread.append(kit.entry(incident, 1, kit.ack())))
    await queued(thread, 1)
    middle = asyncio.ensure_future(thread._write(broken))  # pyright: ignore[reportPrivateUsage]
    await queued(thread, 2)
    after = asyncio.ensure_future(thread.append(kit.entry(incident, 1, kit.note())))
    await queued(thread, 3)
    gate.open.set()
    results = await asyncio.gather(before, middle, after, return_exceptions=True)
    await first
    assert [type(r) for r in results] == [StoreUnavailable] * 3
    assert len(await thread.read(incident)) == 1
    [recorded] = await thread.append(kit.entry(incident, 1, kit.ack()))
    assert (recorded.seq, recorded.n) == (2, 2)
    assert (await thread.verify()).ok


async def test_running_out_of_space_for_one_does_not_fail_the_others(
    kit: Any, thread: StoreThread
) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    big = asyncio.ensure_future(
        thread._write(lambda tx: raise_full(tx))  # pyright: ignore[reportPrivateUsage]
    )
    await queued(thread, 1)
    small = asyncio.ensure_future(thread.append(kit.entry(incident, 1, kit.ack())))
    await queued(thread, 2)
    gate.open.set()
    results = await asyncio.gather(big, small, return_exceptions=True)
    await first
    assert isinstance(results[0], StoreUnavailable)
    assert not isinstance(results[1], BaseException)
    assert results[1][0].seq == 2


async def test_a_mistake_in_one_operation_reaches_only_whoever_asked(
    kit: Any, thread: StoreThread
) -> None:
    incident = await open_one(kit, thread)
    with pytest.raises(ValueError, match="JSON"):
        await thread.append(kit.entry(incident, 1, *[not_json(kit)]))
    assert (await thread.append(kit.entry(incident, 1, kit.ack())))[0].seq == 2


async def test_closing_finishes_what_waits_and_refuses_what_comes_later(
    kit: Any, tmp_path: Path
) -> None:
    thread = StoreThread(kit.store(tmp_path / "s"))
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    waiting = [
        asyncio.ensure_future(thread.append(kit.entry(incident, 1, kit.note()))) for _ in range(300)
    ]
    await queued(thread, 300)
    closing = asyncio.ensure_future(thread.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="closed"):
        await thread.append(kit.entry(incident, 1, kit.note()))
    gate.open.set()
    await asyncio.gather(first, closing, *waiting)
    await thread.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await thread.read(incident)
    assert kit.store(tmp_path / "s").verify().entries == 301


async def test_what_got_no_answer_is_done_once_everything_before_is_settled(
    kit: Any, tmp_path: Path
) -> None:
    thread = StoreThread(kit.store(tmp_path / "s"), answer_s=0.2)
    gate, done = Gate(), list[str]()

    def late(tx: Any) -> None:
        gate(tx)
        done.append("late")

    with pytest.raises(StoreUnavailable, match="no answer"):
        # Its turn has begun when nobody waits for it any more: it cannot be taken back.
        await thread._write(late)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StoreUnavailable, match="no answer"):
        await thread.settled()
    assert not done
    gate.open.set()
    await within_any_time(thread.settled)
    assert done == ["late"]
    await thread.close()


async def test_more_than_may_wait_is_refused_at_once(kit: Any, thread: StoreThread) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    entry = kit.entry(incident, 1, kit.note())
    waiting = [asyncio.ensure_future(thread.append(entry)) for _ in range(WAITING_MAX)]
    await queued(thread, WAITING_MAX)
    with pytest.raises(StoreUnavailable, match="wait already"):
        await thread.append(entry)
    gate.open.set()
    await asyncio.gather(first, *waiting)
    assert (await thread.append(entry))[0].seq == WAITING_MAX + 2


async def test_what_is_cancelled_before_its_turn_does_not_happen(
    kit: Any, thread: StoreThread
) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    gone = asyncio.ensure_future(thread.append(kit.entry(incident, 1, kit.note("gone"))))
    stays = asyncio.ensure_future(thread.append(kit.entry(incident, 1, kit.note("stays"))))
    await queued(thread, 2)
    gone.cancel()
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, stays)
    assert len(await thread.read(incident)) == 2


async def test_who_waits_for_a_disk_that_hangs_is_told_that_it_fails(
    kit: Any, tmp_path: Path
) -> None:
    thread = StoreThread(kit.store(tmp_path / "s"), answer_s=0.2)
    gate, hanging = await held(thread)
    with pytest.raises(StoreUnavailable, match="no answer"):
        await open_one(kit, thread)
    with pytest.raises(StoreUnavailable, match="no answer"):
        await hanging
    gate.open.set()
    await thread.close()
    # What nobody waits for any longer does not happen behind everybody's back.
    again = StoreThread(kit.store(tmp_path / "s"))
    assert await open_one(kit, again) == "20260301-001"
    assert await again.incident_ids(open_only=True, limit=9) == ["20260301-001"]
    await again.close()


async def test_reading_does_not_wait_for_writing(kit: Any, thread: StoreThread) -> None:
    incident = await open_one(kit, thread)
    gate, first = await held(thread)
    assert len(await thread.read(incident)) == 1
    gate.open.set()
    await first


async def test_two_at_once_never_claim_the_same(kit: Any, thread: StoreThread) -> None:
    for _ in range(20):
        await open_one(kit, thread, kit.note("due act 1"))
    asked = (thread.claim(Lane.ACT, at=kit.at(2), lease_s=60, limit=3) for _ in range(20))
    claims = [claim for some in await asyncio.gather(*asked) for claim in some]
    assert len(claims) == len({claim.incident_id for claim in claims}) == 20


async def within_any_time(ask: Callable[[], Awaitable[None]]) -> None:
    """Ask until there is an answer: a busy machine's disk may take longer than the store waits."""
    while True:
        with suppress(StoreUnavailable):
            return await ask()


def commits(db: Path) -> int:
    """How many commit frames the write-ahead log holds: those that name the database's size."""
    raw = db.with_name("stanch.db-wal").read_bytes()
    page = int.from_bytes(raw[8:12], "big")
    frames = range(32, len(raw), 24 + page)
    salt = raw[16:24]
    return sum(raw[at + 4 : at + 8] != bytes(4) and raw[at + 8 : at + 16] == salt for at in frames)


def raise_disk_error(tx: Any) -> None:
    _raise(tx, sqlite3.SQLITE_IOERR, "disk I/O error")


def raise_full(tx: Any) -> None:
    _raise(tx, sqlite3.SQLITE_FULL, "database or disk is full")


def _raise(tx: Any, code: int, text: str) -> None:
    """The very exception the driver raises."""
    driver = sqlite3.OperationalError(text)
    driver.sqlite_errorcode = code
    raise OperationalError("SELECT 1", {}, driver)


def not_json(kit: Any) -> Any:
    return replace(kit.opened(), page_after_s=float("nan"))
