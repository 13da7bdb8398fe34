"""Paging from memory: everybody, again and again, but not each second; kept for later."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from stanch.incident.projection import IncidentProjection
from stanch.model import events as e
from stanch.model.codec import decode
from stanch.model.ids import WriterId
from stanch.model.links import Link
from stanch.model.messages import Dedup, Delivery, Handover, Message
from stanch.model.ports.channels import HandoverResult
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import Policy
from stanch.service.doing.emergency import Emergency
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from stanch.testing.simulation import SimSpool
from stanch.testing.virtual_time import VirtualClock, run_virtually
from timelines import MAIL, POLICY, diagnosed, linked, opened, symptom


class Channel:
    dedup: ClassVar[Dedup] = Dedup.KEY

    def __init__(self) -> None:
        self.handed: list[tuple[Message, Delivery]] = []
        self.answer = HandoverResult(outcome=Handover.ACCEPTED)

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        self.handed.append((message, delivery))
        return self.answer

    def people(self) -> list[str]:
        return [str(delivery.person) for _, delivery in self.handed]


class Bench:
    def __init__(self, policy: Policy = POLICY) -> None:
        self.clock, self.channel, self.spool = VirtualClock(), Channel(), SimSpool()
        projection = IncidentProjection(lambda policy_hash: policy, lambda: policy)
        sql = SqlStore.in_memory(
            projection, writer_id=WriterId("w"), lease_clock_us=self.clock.now_us
        )
        self.book = Book(InlineStore(sql), self.clock)
        self.emergency = Emergency(
            book=self.book,
            policies=Policies("h1", policy, "{}", lambda text: policy),
            clock=self.clock,
            ports=lambda: {MAIL: self.channel},
            spool=self.spool,
        )


def test_new_trouble_pages_the_whole_ladder_at_once_and_says_why() -> None:
    async def main() -> Bench:
        bench = Bench()
        await bench.emergency.symptom(symptom())
        return bench

    bench, _ = run_virtually(main())
    assert sorted(bench.channel.people()) == ["ann", "bo"]
    short = bench.channel.handed[0][0].short
    assert len(short) <= 160
    assert "orders" in short
    assert "cannot write its journal" in short
    assert all(message.possible_repeat for message, _ in bench.channel.handed)


def test_pages_from_memory_have_the_links_of_their_target() -> None:
    async def main() -> Bench:
        bench = Bench(linked(POLICY, Link(name="dashboard", url="https://g.example.com/{target}")))
        await bench.emergency.symptom(symptom())
        await bench.book.open([opened()])
        await asyncio.sleep(1)
        await bench.emergency.overdue()
        return bench

    bench, _ = run_virtually(main())
    link = Link(name="dashboard", url="https://g.example.com/orders")
    assert [message.links for message, _ in bench.channel.handed] == [(link,)] * 4
    assert all("dashboard: https://g.example.com/orders" in m.body for m, _ in bench.channel.handed)


def test_the_same_trouble_is_paged_again_after_the_time_to_acknowledge_and_not_before() -> None:
    async def main() -> Bench:
        bench = Bench()
        for _ in range(601):
            await bench.emergency.symptom(symptom())
            await asyncio.sleep(1)
        return bench

    bench, _ = run_virtually(main())
    assert len(bench.channel.handed) == 2 * 3


def test_other_trouble_is_paged_for_itself() -> None:
    async def main() -> Bench:
        bench = Bench()
        await bench.emergency.symptom(symptom())
        await bench.emergency.symptom(symptom(SymptomKind.DISK_FULL, "/srv"))
        return bench

    bench, _ = run_virtually(main())
    assert len(bench.channel.handed) == 4


def test_what_was_sent_is_kept_with_what_came_of_each() -> None:
    async def main() -> Bench:
        bench = Bench()
        bench.channel.answer = HandoverResult(outcome=Handover.FAILED, detail="550 no such user")
        await bench.emergency.symptom(symptom())
        return bench

    bench, _ = run_virtually(main())
    [entry] = bench.spool.entries
    told = decode(e.PagedUnrecorded, entry.body)
    assert set(told.persons) == {"ann", "bo"}
    assert all("failed" in outcome and "550" in outcome for outcome in told.outcomes)


def test_a_channel_that_is_gone_keeps_nobody_else_from_being_paged() -> None:
    async def main() -> Bench:
        bench = Bench()
        bench.emergency = Emergency(
            book=bench.book,
            policies=Policies("h1", POLICY, "{}", lambda text: POLICY),
            clock=bench.clock,
            ports=dict,
            spool=bench.spool,
        )
        await bench.emergency.symptom(symptom())
        return bench

    bench, _ = run_virtually(main())
    told = decode(e.PagedUnrecorded, bench.spool.entries[0].body)
    assert all("no such channel" in outcome for outcome in told.outcomes)


def test_a_page_that_is_due_of_a_known_incident_is_sent_from_memory_with_its_cause() -> None:
    async def main() -> Bench:
        bench = Bench()
        incident = await bench.book.open([opened()])
        await bench.book.record(incident.id, diagnosed("killed"))
        await asyncio.sleep(1)
        await bench.emergency.overdue()
        return bench

    bench, _ = run_virtually(main())
    assert sorted(bench.channel.people()) == ["ann", "bo"]
    assert bench.spool.entries[0].incident_hint == bench.book.known()[0].id


def test_an_incident_that_somebody_has_taken_is_not_paged_from_memory() -> None:
    async def main() -> Bench:
        bench = Bench()
        incident = await bench.book.open([opened()])
        await bench.book.decide(
            incident.id,
            lambda i, at: (e.IncidentAcknowledged(by="ann", via="t"),),  # type: ignore[arg-type]
        )
        await asyncio.sleep(1_000)
        await bench.emergency.overdue()
        return bench

    bench, _ = run_virtually(main())
    assert bench.channel.handed == []
