"""What a running responder has seen change at its targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stanch.model.changes import ChangesSeen

SINCE_S = 7200.0
PATH = "/changes/{target}"


def changes_route(
    seen: Callable[[], Mapping[str, Callable[[], ChangesSeen]]], now: Callable[[], datetime]
) -> Route:
    """`GET /changes/TARGET?since_s=7200`; `seen` is asked anew: targets come and go."""

    async def changes(request: Request) -> Response:
        target = request.path_params["target"]
        look = seen().get(target)
        if look is None:
            said = {"ok": False, "text": f"there is no target {target!r}", "hint": ""}
            return JSONResponse(said, status_code=404)
        since_s = _seconds(request.query_params.get("since_s", ""))
        return JSONResponse(_plain(target, look(), since=now() - timedelta(seconds=since_s)))

    return Route(PATH, changes)


def no_changes_route() -> Route:
    """The same where no responder runs: nobody has looked."""

    async def changes(request: Request) -> Response:
        said = {
            "ok": False,
            "text": "what changed is known only while `stanch run` is up",
            "hint": "Start it; it compares every look with the one before.",
        }
        return JSONResponse(said, status_code=409)

    return Route(PATH, changes)


def _seconds(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 366 * 86_400)
    except ValueError:
        return SINCE_S


def _plain(target: str, seen: ChangesSeen, *, since: datetime) -> dict[str, Any]:
    return {
        "target": target,
        "looked_at": seen.looked_at.isoformat() if seen.looked_at else None,
        "skipped": seen.skipped,
        "changes": [
            {
                "at": change.at.isoformat(),
                "kind": change.kind.value,
                "what": change.what,
                "before": change.before,
                "after": change.after,
                "source": change.source,
            }
            for change in seen.changes
            if change.at >= since
        ],
    }
