"""From what is due to people being told: before and after each hand-over something is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from stanch.incident.due import due
from stanch.incident.projection import IncidentProjection
from stanch.incident.state import Incident
from stanch.incident.work import Due, Job
from stanch.model import events as e
from stanch.model.ids import MessageId, PersonId, WriterId
from stanch.model.links import Link
from stanch.model.messages import Dedup, Delivery, Handover, Message, MessageKind
from stanch.model.ports.channels import HandoverResult
from stanch.model.timeline import Claim, Lane
from stanch.notify.deliveries import page_deliveries
from stanch.policy.policy import Contact, Person, Policy
from stanch.service.doing.paging import HAND_OVER_DEADLINE_S, Paging, addressed, without_address
from stanch.service.record.book import Book
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from stanch.testing.virtual_time import VirtualClock, run_virtually
from timelines import ANN, BO, MAIL, POLICY, at, diagnosed, linked, opened, page

TAKEN = HandoverResult(outcome=Handover.ACCEPTED, detail="250 taken")


class Channel:
    """Keeps what it is handed, and answers as told."""

    dedup: ClassVar[Dedup] = Dedup.KEY

    def __init__(self, answer: HandoverResult = TAKEN) -> None:
        self.answer = answer
        self.handed: list[tuple[Message, Delivery]] = []
        self.during: Callable[[], None] = lambda: None
        self.takes_s = 0.05

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        self.handed.append((message, delivery))
        self.during()
        await asyncio.sleep(self.takes_s)
        return self.answer


class Bench:
    """Paging over a real store in memory."""

    def __init__(self, channel: Channel, policy: Policy = POLICY) -> None:
        clock = VirtualClock()
        projection = IncidentProjection(lambda policy_hash: policy, lambda: policy)
        self.sql = SqlStore.in_memory(
            projection, writer_id=WriterId("w"), lease_clock_us=clock.now_us
        )
        self.store = InlineStore(self.sql)
        self.clock, self.policy, self.channel = clock, policy, channel
        self.book = Book(self.store, clock)
        self.paging = Paging(
            book=self.book,
            timelines=self.store,
            clock=clock,
            ports={MAIL: channel},
            heads=self.store.heads,
        )

    async def opened(self, **changes: object) -> Incident:
        return await self.book.open([opened(**changes)])

    async def due(self, incident: Incident, job: Job) -> list[Due]:
        known = await self.book.get(incident.id)
        return [d for d in due(self.policy, known, self.clock.now()) if d.job is job]

    async def claim(self, lane: Lane) -> Claim:
        [claim] = await self.store.claim(lane, at=at(10**6), lease_s=60, limit=1)
        return claim

    async def page(self, incident: Incident) -> Incident:
        [first] = await self.due(incident, Job.PAGE)
        claim = await self.claim(Lane.CLOCK)
        await self.paging.page(claim, incident, first, self.policy)
        await self.store.release(claim)
        return await self.book.get(incident.id)

    async def deliver(self, incident: Incident) -> None:
        known = await self.book.get(incident.id)
        ready = await self.due(incident, Job.DELIVER)
        await self.paging.deliver(known, ready, self.policy)

    async def kinds(self, incident: Incident) -> list[str]:
        return [r.event.kind for r in await self.store.read(incident.id)]


def test_a_page_is_written_down_handed_over_and_its_outcome_written_down() -> None:
    channel = Channel()

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        seen: list[str] = []
        rows = bench.sql
        channel.during = lambda: seen.append(str(rows.head.n))
        await bench.deliver(incident)
        kinds = await bench.kinds(incident)
        assert kinds[1:] == [
            e.MessageRaised.kind,
            e.DeliveryAttempted.kind,
            e.DeliveryEnded.kind,
        ]
        assert seen == ["3"], "the attempt was durable before anything was handed over"

    run_virtually(main())
    [(message, delivery)] = channel.handed
    assert message.kind is MessageKind.PAGE
    assert not message.possible_repeat
    assert (delivery.person, delivery.address) == (ANN, "ann@example.com")


def test_a_page_has_the_links_of_its_target_from_before_it_began_until_now() -> None:
    channel = Channel()
    url = "https://g.example.com/{target}?from={since_ms}&to={until_ms}"
    policy = linked(POLICY, Link(name="dashboard", url=url))

    async def main() -> None:
        bench = Bench(channel, policy)
        incident = await bench.page(await bench.opened())
        await bench.deliver(incident)

    run_virtually(main())
    [(message, _)] = channel.handed
    [link] = message.links
    began_ms = int((at(0) - timedelta(minutes=15)).timestamp() * 1000)
    assert link.url.startswith(f"https://g.example.com/orders?from={began_ms}&to=")
    assert int(link.url.rpartition("=")[2]) > began_ms
    assert "LINKS\ndashboard: https://g.example.com/orders?from=" in message.body


def test_a_page_carries_an_anchor_that_the_record_is_verified_by() -> None:
    channel = Channel()

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        await bench.deliver(incident)
        body = channel.handed[0][0].body
        [anchor] = [line for line in body.splitlines() if line.startswith("w:")]
        writer, n, digest = anchor.split(":")
        anchors = {WriterId(writer): (int(n), digest)}
        assert (await bench.store.verify(anchors)).ok
        gone = {WriterId(writer): (int(n), "0" * 64)}
        assert not (await bench.store.verify(gone)).ok

    run_virtually(main())


def test_an_address_is_never_written_down_but_looked_up_at_hand_over() -> None:
    channel = Channel()

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        await bench.deliver(incident)
        for recorded in await bench.store.read(incident.id):
            assert b"ann@example.com" not in e.to_body(recorded.event)

    run_virtually(main())
    assert channel.handed[0][1].address == "ann@example.com"


def test_a_page_without_an_outcome_is_handed_over_again_and_says_possible_repeat() -> None:
    channel = Channel()

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        message = next(iter(incident.messages.values())).raised
        begun = e.DeliveryAttempted(id=message.deliveries[0].id, message_id=message.id, attempt=1)
        await bench.book.record(incident.id, begun)
        await bench.deliver(incident)

    run_virtually(main())
    [(message, _)] = channel.handed
    assert message.possible_repeat


def test_a_failed_page_is_due_again_and_a_taken_one_is_not() -> None:
    channel = Channel(HandoverResult(outcome=Handover.FAILED, detail="451 later"))

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        await bench.deliver(incident)
        assert len(await bench.due(incident, Job.DELIVER)) == 1
        channel.answer = TAKEN
        await bench.deliver(incident)
        assert await bench.due(incident, Job.DELIVER) == []

    run_virtually(main())
    assert len({message.id for message, _ in channel.handed}) == 1, "the same Message-ID"


def test_a_channel_that_says_nothing_is_in_doubt_and_not_failed() -> None:
    channel = Channel()
    channel.takes_s = 10 * HAND_OVER_DEADLINE_S

    async def main() -> float:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        await bench.deliver(incident)
        ended = (await bench.store.read(incident.id))[-1].event
        assert isinstance(ended, e.DeliveryEnded)
        assert ended.outcome is Handover.IN_DOUBT
        return asyncio.get_running_loop().time()

    took_s, _ = run_virtually(main())
    assert took_s < 2 * HAND_OVER_DEADLINE_S


def test_a_channel_that_left_the_policy_is_given_up_visibly() -> None:
    channel = Channel()

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.page(await bench.opened())
        bench.paging.ports = {}
        await bench.deliver(incident)
        ended = (await bench.store.read(incident.id))[-1].event
        assert isinstance(ended, e.DeliveryEnded)
        assert (ended.outcome, ended.retryable) == (Handover.FAILED, False)
        assert "mail" in ended.detail

    run_virtually(main())
    assert channel.handed == []


def test_what_was_acknowledged_in_the_meantime_is_not_paged_any_more() -> None:
    async def main() -> None:
        bench = Bench(Channel())
        seen = await bench.opened()
        [first] = await bench.due(seen, Job.PAGE)
        claim = await bench.claim(Lane.CLOCK)
        await bench.book.decide(seen.id, lambda i, now: (e.IncidentAcknowledged(by=BO, via=""),))
        await bench.paging.page(claim, seen, first, bench.policy)
        assert e.MessageRaised.kind not in await bench.kinds(seen)

    run_virtually(main())


def test_whoever_acknowledges_is_not_told_so_and_the_others_who_were_paged_are() -> None:
    channel = Channel()

    async def main() -> None:
        bench = Bench(channel)
        incident = await bench.opened()
        await bench.book.decide(incident.id, lambda i, now: (page(persons=(ANN, BO)),))
        await bench.book.decide(
            incident.id, lambda i, now: (e.IncidentAcknowledged(by=BO, via="test"),)
        )
        [owed] = [d for d in await bench.due(incident, Job.UPDATE) if d.reason == "acknowledged"]
        known = await bench.book.get(incident.id)
        await bench.paging.update(await bench.claim(Lane.CLOCK), known, owed, bench.policy)
        raised = (await bench.store.read(incident.id))[-1].event
        assert isinstance(raised, e.MessageRaised)
        assert [d.person for d in raised.deliveries] == [ANN]

    run_virtually(main())


def test_the_page_names_the_first_cause() -> None:
    async def main() -> None:
        bench = Bench(Channel())
        incident = await bench.opened()
        incident = await bench.book.record(incident.id, diagnosed("killed"))
        await bench.page(incident)
        raised = (await bench.store.read(incident.id))[-1].event
        assert isinstance(raised, e.MessageRaised)
        assert "killed" in raised.short
        assert len(raised.short) <= 160

    run_virtually(main())


def people(**addresses: str) -> Policy:
    """Everybody with their addresses, one letter each."""
    persons = tuple(
        Person(
            id=PersonId(name),
            name=name,
            contacts=tuple(Contact(channel=MAIL, address=f"{a}@example.com") for a in letters),
        )
        for name, letters in addresses.items()
    )
    return replace(POLICY, people=persons)


def raised_under(policy: Policy) -> e.MessageRaised:
    message = MessageId("20260301-001.1")
    deliveries = page_deliveries(policy, (BO, ANN), message_id=message)
    bare = tuple(without_address(d) for d in deliveries)
    return replace(page(persons=(BO, ANN)), id=message, deliveries=bare)


def looked_up(raised: e.MessageRaised, policy: Policy) -> list[str]:
    return [addressed(d, raised, policy).address[:1] for d in raised.deliveries]


def test_each_of_several_addresses_is_looked_up_at_its_own_place() -> None:
    policy = people(bo="x", ann="yz")
    assert looked_up(raised_under(policy), policy) == ["x", "y", "z"]


def test_who_shares_an_address_is_reached_at_the_other_one_too() -> None:
    policy = people(bo="x", ann="xy")
    assert looked_up(raised_under(policy), policy) == ["x", "y"]


def test_a_page_raised_before_an_address_changed_goes_to_the_new_one() -> None:
    raised = raised_under(people(bo="x", ann="y"))
    assert looked_up(raised, people(bo="x", ann="z")) == ["x", "z"]


def test_who_has_left_the_policy_has_no_address_any_more() -> None:
    raised = raised_under(people(bo="x", ann="y"))
    assert looked_up(raised, people(bo="x")) == ["x", ""]
