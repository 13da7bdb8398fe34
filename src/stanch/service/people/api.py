"""The local interface of a running responder.

Commands only over a Unix socket that the same OS user alone can open; health and metrics over
loopback TCP, read-only. Responses never hold secrets: the policy itself is not served.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stanch.incident.state import Incident
from stanch.model.errors import StanchError, StoreError
from stanch.model.ids import PersonId, WriterId
from stanch.model.links import Link
from stanch.model.timeline import Recorded
from stanch.policy.policy import Policy
from stanch.review.postmortem import postmortem
from stanch.service.doing.paging import links_of
from stanch.service.doing.topology import clusters_known
from stanch.service.house import House, Store
from stanch.service.people.changes import SeenNow, before_incident, changes_route, nobody
from stanch.service.people.rehearsals import HandsOf, no_hands, rehearsal_route
from stanch.service.people.views import full, headline, journal_report, signal_line, window_lines
from stanch.service.requests import BadRequest
from stanch.steps.world import World
from stanch.store.signal_queries import SignalRows

BODY_BYTES_MAX = 64 * 1024
VERIFY_PATH = "/verify"
SIGNALS_MAX = 500


PoolersSeen = Callable[[], Sequence[Mapping[str, Any]]]
"""Where the poolers lead, as far as a running responder was told."""


def commands_app(
    house: House,
    *,
    seen: SeenNow = nobody,
    poolers: PoolersSeen = tuple[Mapping[str, Any]],
    hands: HandsOf = no_hands,
) -> Starlette:
    """What people's commands talk to; `seen` says how far a running responder has looked, `hands`
    are what it can do with each target."""
    operations = house.operations
    operations.asked_plans.read_through(lambda i: _world(hands, i))

    async def execute(request: Request) -> Response:
        answer = await operations.execute(await _body(request))
        return JSONResponse(answer.plain(), status_code=200 if answer.ok else 409)

    async def incidents(request: Request) -> Response:
        open_only = request.query_params.get("all") != "1"
        found = await operations.incidents(open_only=open_only, limit=200)
        return JSONResponse({"incidents": [headline(i, house.clock.now()) for i in found]})

    async def incident(request: Request) -> Response:
        found, timeline = await operations.timeline(request.path_params["wanted"])
        shown = _shown(house, found, timeline)
        return JSONResponse({**shown, "changes": await before_incident(house, found)})

    async def written_up(request: Request) -> Response:
        found, timeline = await operations.timeline(request.path_params["wanted"])
        policy = await _policy_then(house, found.policy_hash)
        text = postmortem(
            timeline,
            people=people_of(house),
            ack_within_s=policy.severity(found.severity_rank).ack_within_s if policy else None,
            until=house.clock.now(),
            links=_links(house, found),
        )
        return JSONResponse({"markdown": text})

    async def verified(request: Request) -> Response:
        return JSONResponse(await verification(house.store, request.query_params))

    routes = [
        *_standing_routes(house, poolers),
        changes_route(house, seen),
        rehearsal_route(house, hands),
        Route("/commands", execute, methods=["POST"]),
        Route("/incidents", incidents),
        Route("/incidents/{wanted}", incident),
        Route("/incidents/{wanted}/postmortem", written_up),
        Route(VERIFY_PATH, verified),
    ]
    handlers: dict[Any, Any] = {
        BadRequest: _answer_error(400),
        StoreError: _answer_error(503),
    }
    return Starlette(routes=routes, exception_handlers=handlers)


def _world(hands: HandsOf, incident: Incident) -> World | None:
    its = hands(incident.target)
    return its.world(incident.diagnosis) if its is not None else None


def _standing_routes(house: House, poolers: PoolersSeen) -> tuple[Route, ...]:
    """What stands beside incidents."""

    async def clusters(request: Request) -> Response:
        known = clusters_known(house.policies, house.standing)
        return JSONResponse({"clusters": known, "poolers": list(poolers())})

    async def silences(request: Request) -> Response:
        now = house.clock.now()
        lines = window_lines(house.standing.windows(now), house.policy, now)
        return JSONResponse({"silences": lines})

    async def signals(request: Request) -> Response:
        firing_only = request.query_params.get("all") != "1"
        rows = SignalRows(house.store)
        found = await rows.listed(firing_only=firing_only, limit=SIGNALS_MAX)
        return JSONResponse({"signals": [signal_line(row) for row in found]})

    return Route("/clusters", clusters), Route("/silences", silences), Route("/signals", signals)


def health_app(
    healthy: Callable[[], dict[str, Any]],
    ready: Callable[[], dict[str, Any]],
    metrics: Callable[[], bytes],
    more: Sequence[Route] = (),
) -> Starlette:
    """`/healthz`: the process does its work. `/readyz`: every target is being watched."""

    async def healthz(request: Request) -> Response:
        return _verdict(healthy())

    async def readyz(request: Request) -> Response:
        return _verdict(ready())

    async def exposition(request: Request) -> Response:
        return PlainTextResponse(metrics(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", exposition),
            *more,
        ]
    )


def _shown(house: House, found: Incident, timeline: Sequence[Recorded]) -> dict[str, Any]:
    at, links = house.clock.now(), _links(house, found)
    return full(found, timeline, people_of(house), at=at, links=links)


def _links(house: House, found: Incident) -> tuple[Link, ...]:
    """As the policy of today has them: a dashboard that has moved is of no use where it was."""
    return links_of(found, house.policy, house.clock.now())


async def _policy_then(house: House, policy_hash: str) -> Policy | None:
    """The policy an incident ran under: people are judged by no other's limits."""
    if house.policies.of(policy_hash) is None:
        text = await house.store.policy_text(policy_hash)
        if text is not None:
            house.policies.learn(policy_hash, text)
    return house.policies.of(policy_hash)


async def verification(store: Store, params: Mapping[str, str]) -> dict[str, Any]:
    """What recomputing every hash of a store says. Raises BadRequest for what is no anchor."""
    return journal_report(await store.verify(_anchors(params.get("anchor", ""))))


def people_of(house: House) -> dict[PersonId, str]:
    return {p.id: p.name for p in house.policy.people}


def _anchors(text: str) -> dict[WriterId, tuple[int, str]]:
    """`writer:n:hash`, several separated by commas."""
    anchors: dict[WriterId, tuple[int, str]] = {}
    for item in filter(None, text.split(",")):
        writer, _, rest = item.partition(":")
        n, _, digest = rest.partition(":")
        if not (writer and n.isdigit() and digest):
            raise BadRequest(f"{item!r} is not an anchor", hint="Write WRITER:N:HASH.")
        anchors[WriterId(writer)] = (int(n), digest)
    return anchors


def _verdict(found: dict[str, Any]) -> Response:
    return JSONResponse(found, status_code=200 if found["ok"] else 503)


async def _body(request: Request) -> dict[str, Any]:
    declared = int(request.headers.get("content-length") or 0)
    if declared > BODY_BYTES_MAX:
        raise BadRequest(f"a request of more than {BODY_BYTES_MAX} bytes is not a command")
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise BadRequest("the request is not JSON") from error
    if not isinstance(body, dict):
        raise BadRequest("the request is not a JSON object")
    return cast("dict[str, Any]", body)


def _answer_error(status: int) -> Callable[[Request, StanchError], Response]:
    def answer(request: Request, error: StanchError) -> Response:
        return JSONResponse(
            {"ok": False, "text": str(error), "hint": error.hint}, status_code=status
        )

    return answer
