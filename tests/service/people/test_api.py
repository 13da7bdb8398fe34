"""What the local interface answers about incidents."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import httpx

from stanch.cli.rendering import incident_lines
from stanch.model import events as e
from stanch.model.ids import WriterId
from stanch.model.links import Link
from stanch.service.house import open_house, projection_of
from stanch.service.people.api import commands_app
from stanch.service.record.policies import Policies
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import ANN, POLICY, T0, linked, opened, page


class SetClock:
    """A clock that stands until it is moved."""

    at = T0

    def now(self) -> datetime:
        return self.at


async def test_an_old_incident_is_judged_by_the_policy_it_ran_under() -> None:
    strict = replace(POLICY, severities=[replace(s, ack_within_s=42) for s in POLICY.severities])
    policies = Policies("new", POLICY, "{}", lambda text: strict)
    store = InlineStore(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    clock = SetClock()
    house = await open_house(policies, store, clock=clock)
    await store.put_policy("then", "what was in force then")
    incident = await house.book.open([opened(policy_hash="then"), page()])
    clock.at += timedelta(seconds=100)
    taken = e.IncidentAcknowledged(by=ANN, via="command line")
    await house.book.decide(incident.id, lambda i, at: (taken,))
    transport = httpx.ASGITransport(app=commands_app(house))
    async with httpx.AsyncClient(transport=transport, base_url="http://stanch") as client:
        written = (await client.get("/incidents/1/postmortem")).json()["markdown"]
    await store.close()
    assert "Acknowledged only after 1 min 40 s, limit 42 s." in written


async def test_an_incident_is_shown_and_written_up_with_the_links_of_today() -> None:
    url = "https://g.example.com/{target}?until={until}"
    policies = Policies(
        "new", linked(POLICY, Link(name="dashboard", url=url)), "{}", lambda _: POLICY
    )
    store = InlineStore(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    house = await open_house(policies, store, clock=SetClock())
    await store.put_policy("then", "without links")
    await house.book.open([opened(policy_hash="then")])
    transport = httpx.ASGITransport(app=commands_app(house))
    async with httpx.AsyncClient(transport=transport, base_url="http://stanch") as client:
        shown = (await client.get("/incidents/1")).json()
        written = (await client.get("/incidents/1/postmortem")).json()["markdown"]
    await store.close()
    at = T0.strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
    whole = f"https://g.example.com/orders?until={at}"
    assert shown["links"] == [{"name": "dashboard", "url": whole}]
    assert f"  dashboard: {whole}" in list(incident_lines(shown))
    assert written.endswith(f"## Links\n\n- dashboard: <{whole}>\n")
