"""What changed, as people ask for it: while a responder runs, and out of the store alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from stanch.cli.rendering import incident_lines
from stanch.model.changes import Change, ChangesSeen, ItemKind
from stanch.model.events import IncidentResolved
from stanch.model.ids import WriterId
from stanch.service.house import House, open_house, projection_of
from stanch.service.people.api import commands_app
from stanch.service.record.changed import AT_HAND_MAX, NOTED_MAX, Changed
from stanch.service.record.policies import Policies
from stanch.store.changes import EVERYWHERE, News
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import ORDERS, POLICY, T0, at, opened

ROLE = Change(
    at=T0 - timedelta(hours=3),
    kind=ItemKind.ROLE,
    what="app",
    before="login",
    after="login superuser",
    source="server",
)
TABLE = Change(
    at=T0 - timedelta(minutes=5),
    kind=ItemKind.RELATION,
    what="app.public.<b>\x1b[31m",
    before=None,
    after="table",
    source="inventory",
    since=T0 - timedelta(minutes=10),
)
DEPLOY = Change(
    at=T0 - timedelta(minutes=1),
    kind=ItemKind.DEPLOY,
    what="checkout",
    before=None,
    after="1.4.2",
    source="ci",
    by="ann",
    link="https://ci.example.com/7",
)


class StandingClock:
    def now(self) -> Any:
        return T0


@asynccontextmanager
async def house_with(*changes: Change) -> AsyncIterator[tuple[House, Changed]]:
    policies = Policies("h1", POLICY, "{}", lambda text: POLICY)
    store = InlineStore(
        SqlStore.in_memory(
            projection_of(policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )
    )
    house = await open_house(policies, store, clock=StandingClock())
    changed = Changed(store, house.clock, dict)
    house.book.beside_opening = changed.noted
    await changed.take([News(target="orders", changes=changes)])
    yield house, changed
    await store.close()


async def asked(house: House, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=commands_app(house, **more))
    async with httpx.AsyncClient(transport=transport, base_url="http://stanch") as client:
        return await client.get(path)


def names(answer: httpx.Response) -> list[Any]:
    return [change["what"] for change in answer.json()["changes"]]


async def test_two_hours_back_is_the_usual_question_and_further_back_shows_more() -> None:
    async with house_with(ROLE, TABLE) as (house, _):
        assert names(await asked(house, "/changes/orders")) == [TABLE.what]
        assert names(await asked(house, "/changes/orders?since_s=nonsense")) == [TABLE.what]
        assert names(await asked(house, "/changes/orders?since_s=14400")) == ["app", TABLE.what]
        assert names(await asked(house, "/changes/orders?since_s=60")) == []


async def test_how_far_was_looked_is_said_by_whoever_runs() -> None:
    async with house_with(TABLE) as (house, _):
        alone = (await asked(house, "/changes/orders")).json()
        assert (alone["running"], alone["looked_at"]) == (False, None)
        seen = ChangesSeen(looked_at=T0, skipped="sessions wait")
        said = (await asked(house, "/changes/orders", seen=lambda: {"orders": lambda: seen})).json()
        assert (said["running"], said["skipped"]) == (True, "sessions wait")
        assert said["looked_at"].startswith("2026-03-01T03:00:00")


async def test_a_target_that_nobody_watches_is_an_error_that_names_it() -> None:
    async with house_with() as (house, _):
        answer = await asked(house, "/changes/nowhere")
        assert answer.status_code == 404
        assert "nowhere" in answer.json()["text"]


async def test_an_incident_that_opens_notes_what_changed_before_once_and_bounded() -> None:
    many = [
        Change(
            at=at(-n),
            kind=ItemKind.OBJECT,
            what=f"s{n}",
            before=None,
            after=None,
            source="log",
            how="CREATE SCHEMA s" + "x" * 5000,
        )
        for n in range(1, 51)
    ]
    async with house_with(ROLE, *many) as (house, _):
        incident = await house.book.open([opened()])
        assert incident.changes is not None
        assert [c.what for c in incident.changes.changes[:2]] == ["s1", "s2"]
        assert (len(incident.changes.changes), incident.changes.more) == (NOTED_MAX, 50 - NOTED_MAX)
        shown = (await asked(house, f"/incidents/{incident.id}")).json()
        assert [e["kind"] for e in shown["timeline"]] == ["incident.opened.v1", "changes.noted.v1"]
        assert max(len(str(e["body"])) for e in shown["timeline"]) < 16_000
        assert len(shown["changes"]) == 50


async def test_a_migration_does_not_hide_the_setting_that_was_changed_before_it() -> None:
    table = Change(
        at=at(-1),
        kind=ItemKind.RELATION,
        what="shop.t",
        before=None,
        after=None,
        source="log",
        by="app@shop",
    )
    many = [replace(table, what=f"t{n}", how=f"CREATE TABLE t{n} (id int)") for n in range(60)]
    setting = replace(table, at=at(-60), kind=ItemKind.SETTING, what="work_mem", how="ALTER SYSTEM")
    async with house_with(ROLE, setting, *many) as (house, _):
        incident = await house.book.open([opened()])
        assert incident.changes is not None
        assert incident.changes.changes[-1].what == "work_mem"
        shown = (await asked(house, f"/incidents/{incident.id}")).json()
    lines = "\n".join(incident_lines(shown))
    assert ("work_mem" in lines, "others: stanch changes" in lines) == (True, True)


async def test_the_post_mortem_tells_what_changed_from_the_timeline_alone() -> None:
    async with house_with(TABLE) as (house, changed):
        await changed.take([News(target=EVERYWHERE, changes=[DEPLOY])])
        incident = await house.book.open([opened()])
        written = (await asked(house, f"/incidents/{incident.id}/postmortem")).json()["markdown"]
        assert "## What changed before" in written
        assert "version 1.4.2; by ann https&#58;//ci.example.com/7" in written
        assert "\x1b" not in written
        assert "<b>" not in written
        shown = (await asked(house, f"/incidents/{incident.id}")).json()["changes"]
        assert [change["what"] for change in shown] == ["checkout", TABLE.what]


async def test_an_incident_that_opens_before_a_restart_has_read_its_changes_hears_of_them() -> None:
    async with house_with(TABLE, ROLE) as (house, _):
        house.book.beside_opening = lambda target, moment: ()
        incident = await house.book.open([opened()])
        assert incident.changes is None, "the process began a moment ago"
        sources = {ORDERS: lambda: None}
        for _ in range(2):
            again = Changed(house.store, house.clock, lambda: sources, book=house.book)
            await again._resume()  # pyright: ignore[reportPrivateUsage]
        shown = (await asked(house, f"/incidents/{incident.id}")).json()
        kinds = [e["kind"] for e in shown["timeline"]]
        assert kinds == ["incident.opened.v1", "changes.noted.v1"], "and once"
        noted = (await house.book.get(incident.id)).changes
        assert noted is not None
        assert [c.what for c in noted.changes] == [str(TABLE.what).replace("\x1b", "\\x1b")]


async def test_a_look_after_the_opening_tells_what_may_have_been_done_before_it() -> None:
    async with house_with() as (house, _):
        incident = await house.book.open([opened()])
        changed = Changed(house.store, house.clock, dict, book=house.book)
        late = replace(TABLE, at=at(60), since=at(30))
        await changed.take([News(target="orders", changes=[late])])
        assert (await house.book.get(incident.id)).changes is None, "that was done afterwards"
        seen = replace(TABLE, at=at(90), since=at(-300), what="shop.t")
        await changed.take([News(target="stock", changes=[seen])])
        assert (await house.book.get(incident.id)).changes is None, "another target"
        await changed.take([News(target="orders", changes=[seen])])
        noted = (await house.book.get(incident.id)).changes
        assert noted is not None
        assert [c.what for c in noted.changes] == ["shop.t"]


async def test_an_incident_that_is_over_is_left_as_it_is() -> None:
    async with house_with() as (house, _):
        incident = await house.book.open([opened()])
        over = IncidentResolved(verified=True, reason="over")
        await house.book.decide(incident.id, lambda i, moment: (over,))
        changed = Changed(house.store, house.clock, dict, book=house.book)
        await changed.take([News(target="orders", changes=[TABLE])])
        assert (await house.book.get(incident.id)).changes is None


async def test_an_incident_before_which_nothing_changed_notes_nothing() -> None:
    async with house_with(ROLE) as (house, _):
        incident = await house.book.open([opened()])
        assert incident.changes is None
        assert (await asked(house, f"/incidents/{incident.id}")).json()["changes"] == []


async def test_what_earlier_processes_saw_is_at_hand_again_and_memory_is_bounded() -> None:
    async with house_with(TABLE) as (house, changed):
        crowd = [
            Change(
                at=at(-n / 10),
                kind=ItemKind.DEPLOY,
                what=f"d{n}",
                before=None,
                after="1",
                source="ci",
            )
            for n in range(AT_HAND_MAX + 50)
        ]
        next_one = Changed(house.store, house.clock, lambda: {ORDERS: lambda: None})
        assert next_one.noted(ORDERS, T0) == ()
        await next_one._resume()  # pyright: ignore[reportPrivateUsage]
        assert [c.what for e in next_one.noted(ORDERS, T0) for c in e.changes] == [  # type: ignore[attr-defined]
            "app.public.<b>\\x1b[31m"
        ]
        await changed.take([News(target="orders", changes=crowd)])
        [noted] = changed.noted(ORDERS, T0)
        assert noted.more + NOTED_MAX == AT_HAND_MAX  # type: ignore[attr-defined]


@pytest.mark.parametrize("times", [1, 3])
async def test_what_cannot_be_stored_is_tried_again_and_not_told_twice(times: int) -> None:
    async with house_with() as (house, _):
        news = [News(target="orders", changes=[TABLE])] * times
        changed = Changed(
            house.store, house.clock, lambda: {ORDERS: lambda: news.pop() if news else None}
        )
        for _ in range(times + 1):
            await changed.look()
        assert names(await asked(house, "/changes/orders")) == [TABLE.what]
