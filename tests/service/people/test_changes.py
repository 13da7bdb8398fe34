"""What changed, as people ask for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
from starlette.applications import Starlette

from stanch.model.changes import Change, ChangesSeen, ItemKind
from stanch.service.people.changes import changes_route, no_changes_route
from timelines import T0

OLD = Change(
    at=T0 - timedelta(hours=3),
    kind=ItemKind.ROLE,
    what="app",
    before="login",
    after="login superuser",
    source="server",
)
NEW = Change(
    at=T0 - timedelta(minutes=5),
    kind=ItemKind.RELATION,
    what="app.public.<b>\x1b[31m",
    before=None,
    after="table",
    source="inventory",
)


async def asked(path: str, *, running: bool = True) -> httpx.Response:
    seen = ChangesSeen(changes=(OLD, NEW), looked_at=T0, skipped="")
    route = changes_route(lambda: {"orders": lambda: seen}, lambda: T0)
    app = Starlette(routes=[route if running else no_changes_route()])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://stanch") as client:
        return await client.get(path)


def names(answer: httpx.Response) -> list[Any]:
    return [change["what"] for change in answer.json()["changes"]]


async def test_two_hours_back_is_the_usual_question() -> None:
    assert names(await asked("/changes/orders")) == [NEW.what]
    assert names(await asked("/changes/orders?since_s=nonsense")) == [NEW.what]


async def test_further_back_shows_more_and_less_shows_less() -> None:
    assert names(await asked("/changes/orders?since_s=14400")) == ["app", NEW.what]
    assert names(await asked("/changes/orders?since_s=60")) == []


async def test_a_target_that_nobody_watches_is_an_error_that_names_it() -> None:
    answer = await asked("/changes/nowhere")
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["text"]


async def test_without_a_running_responder_nobody_has_looked() -> None:
    answer = await asked("/changes/orders", running=False)
    assert answer.status_code == 409
    assert "stanch run" in answer.json()["text"]
