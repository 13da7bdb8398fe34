"""Rehearsing a runbook over the local interface: reads the target and its machine, and tells."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stanch.incident.state import Incident
from stanch.model.ids import TargetName
from stanch.service.asked_plans import runbook_named
from stanch.service.doing.acting import Hands
from stanch.service.doing.rehearsing import rehearse
from stanch.service.house import House
from stanch.service.requests import BadRequest

PATH = "/rehearsals/{runbook}"
INCIDENTS_MAX = 200

HandsOf = Callable[[TargetName], Hands | None]


def no_hands(_target: TargetName) -> Hands | None:
    """Where no responder runs."""
    return None


def rehearsal_route(house: House, hands: HandsOf) -> Route:
    """`GET /rehearsals/RUNBOOK?on=TARGET`, or `on` an open incident by its id or number."""

    async def answer(request: Request) -> Response:
        runbook = runbook_named(house.policies, request.path_params["runbook"])
        incident, name = await _meant(house, request.query_params.get("on", ""))
        target = house.policy.target(name)
        if target is None:
            raise BadRequest(f"{name} is not in the policy", hint="Nothing acts on it.")
        its = hands(name)
        if its is None:
            raise BadRequest(f"nobody watches {name}", hint="Start `stanch run` and ask again.")
        at = house.clock.now()
        return JSONResponse(await rehearse(runbook, target, its, incident=incident, at=at))

    return Route(PATH, answer)


async def _meant(house: House, on: str) -> tuple[Incident | None, TargetName]:
    """An open incident, or a target with the open one it has, if any. Raises BadRequest."""
    if house.policy.target(on) is None:
        incident = await house.operations.find(on)
        if incident.status.ended:
            raise BadRequest(f"{incident.id} is already {incident.status.value}")
        return incident, incident.target
    found = await house.operations.incidents(open_only=True, limit=INCIDENTS_MAX)
    return next((one for one in found if one.target == on), None), TargetName(on)
