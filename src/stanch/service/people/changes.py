"""What changed at a target, as people ask for it; out of the store, whoever runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stanch.incident.state import Incident
from stanch.model.changes import Change, ChangesSeen, sort_of_one, told, varied
from stanch.model.codec import to_iso
from stanch.service.house import House
from stanch.service.record.changed import BEFORE_S
from stanch.store.changes import changes_of, looked_at
from stanch.watch.slow.round import LANE

PATH = "/changes/{target}"
SHOWN_MAX = 500
READ_MAX = 200
OF_INCIDENT_MAX = 50

SeenNow = Callable[[], Mapping[str, Callable[[], ChangesSeen]]]
"""By target, how far a running responder has looked."""


def nobody() -> Mapping[str, Callable[[], ChangesSeen]]:
    """Where no responder runs."""
    return {}


def changes_route(house: House, seen: SeenNow = nobody) -> Route:
    """`GET /changes/TARGET?since_s=7200`; `seen` is asked anew: targets come and go."""

    async def changes(request: Request) -> Response:
        target = request.path_params["target"]
        since_s = _seconds(request.query_params.get("since_s", ""))
        since = house.clock.now() - timedelta(seconds=since_s)
        found = await house.store.ask(
            lambda c: changes_of(c, target, since=since, until=None, limit=SHOWN_MAX)
        )
        at_work = seen().get(target)
        stored = await house.store.ask(lambda c: looked_at(c, target, lane=LANE))
        if house.policy.target(target) is None and stored is None and at_work is None:
            said = {"ok": False, "text": f"there is no target {target!r}", "hint": ""}
            return JSONResponse(said, status_code=404)
        now = ChangesSeen(looked_at=None, skipped="") if at_work is None else at_work()
        last = now.looked_at or stored
        return JSONResponse(
            {
                "target": target,
                "running": at_work is not None,
                "looked_at": to_iso(last) if last else None,
                "skipped": now.skipped,
                "changes": [change_line(change) for change in found],
            }
        )

    return Route(PATH, changes)


async def before_incident(house: House, incident: Incident) -> list[dict[str, Any]]:
    """What changed in the two hours before it opened, newest first.

    Rows know more than the timeline: a look may show later what was done before. Where they are
    gone the timeline still tells.
    """
    opened_at = incident.opened_at
    if opened_at is None:
        return []
    since = opened_at - timedelta(seconds=BEFORE_S)
    rows: Sequence[Change] = await house.store.ask(
        lambda c: changes_of(c, incident.target, since=since, until=opened_at, limit=READ_MAX)
    )
    if rows or incident.changes is None:
        few = varied(list(reversed(rows)), OF_INCIDENT_MAX, sort_of_one)
        return [change_line(change) for change in few]
    return [
        {
            "at": to_iso(noted.at),
            "kind": noted.kind,
            "what": noted.what,
            "told": noted.told,
            "link": noted.link,
        }
        for noted in incident.changes.changes
    ]


def change_line(change: Change) -> dict[str, Any]:
    """One change as plain values."""
    return {
        "at": to_iso(change.at),
        "since": to_iso(change.since) if change.since else None,
        "kind": change.kind.value,
        "what": change.what,
        "before": change.before,
        "after": change.after,
        "by": change.by,
        "how": change.how,
        "link": change.link,
        "failed": change.failed,
        "times": change.times,
        "source": change.source,
        "told": told(change),
    }


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 366 * 86_400)
    except ValueError:
        return BEFORE_S
