"""A server in Patroni's care: its own Patroni is asked over the REST API, and only to restart it.

It starts a server that is down by itself, and would start one again that somebody stopped; so it is
asked for neither. A restart goes through the member's own Patroni, which keeps the leader's key
meanwhile: done past it, it would be taken for a failure.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from stanch.adapters.hosts.as_owner import owner_of
from stanch.adapters.hosts.manager import status_of, with_programs
from stanch.adapters.hosts.postmasters import whoever_runs
from stanch.adapters.hosts.start_options import last_program
from stanch.adapters.services.asking import Asker, Question
from stanch.facts.patroni import parse_server
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.patroni import PatroniServer
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus, Postmaster, Verb
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.policy.signs import HttpSource

LOOK_DEADLINE_S = 3.0
ANSWERED = frozenset({200, 400, 401, 403, 409, 503})
"""Whose body says what came of it; 401 and 403: the login of `patroni` may only look."""

DONE = "restarted successfully"
NOT_YET = "still starting"
NOT_THAT_ONE = "conditions are not satisfied"
FAILED = "restart failed"
"""Patroni's own words, the same since version 2.1."""


class PatroniManager:
    """The Patroni of one server. `ServerManager`."""

    kind = "patroni"

    def __init__(self, source: HttpSource, *, data_directory: str) -> None:
        self._source = source
        self._data = data_directory

    def describe(self) -> str:
        return "Patroni, which starts it by itself: `patronictl restart CLUSTER MEMBER`"

    async def status(self) -> ManagerStatus | Missing:
        seen = await self._server()
        if isinstance(seen, Missing):
            return seen
        base = await asyncio.to_thread(status_of, self._data, refusal="", own_unit="")
        account = await asyncio.to_thread(owner_of, self._data)
        base = await with_programs(base, last_program(self._data), account)
        past = base.other_manager if not base.other_manager.startswith("Patroni") else ""
        return replace(
            base,
            other_manager=past,
            restarts_by_itself=True,
            detail=printable(_told(seen)),
            declines=_declined(seen),
        )

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        """Never asks: Patroni starts the server by itself, or was told not to."""
        return ManagerAnswer(ok=False, detail="Patroni starts it by itself")

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """Never asks: Patroni would start it again, or hand the lead to another member."""
        return ManagerAnswer(ok=False, detail="Patroni would start it again")

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        """`POST /restart`, on condition of its role, once it is seen to be that very server."""
        seen = await self._server()
        if isinstance(seen, Missing):
            raise ProbeFailed(seen.reason, on="GET /patroni")
        why = _another(seen, server)
        if why:
            return ManagerAnswer(ok=False, detail=printable(why), another=True)
        question = Question(
            url=f"{self._base}/restart",
            method="POST",
            body=json.dumps({"role": seen.role}).encode(),
            content_type="application/json",
            answered_by=ANSWERED,
        )
        answer = await Asker(self._source, deadline_s=deadline_s).ask_one(question)
        if isinstance(answer, Missing):
            raise ProbeFailed(f"{answer.reason}; Patroni goes on", on="POST /restart")
        return await self._came_of(shortened(answer.decode("utf-8", "replace").strip(), 200))

    async def _came_of(self, said: str) -> ManagerAnswer:
        if NOT_YET in said:
            raise ProbeFailed(printable(said), on="POST /restart")
        down = FAILED in said and await asyncio.to_thread(whoever_runs, self._data) is None
        return ManagerAnswer(
            ok=said == DONE,
            detail=printable(f"Patroni: {said}"),
            another=NOT_THAT_ONE in said,
            left_down=down,
        )

    @property
    def _base(self) -> str:
        return self._source.url.rstrip("/")

    async def _server(self) -> PatroniServer | Missing:
        question = Question(url=f"{self._base}/patroni", answered_by=frozenset({200, 503}))
        answer = await Asker(self._source, deadline_s=LOOK_DEADLINE_S).ask_one(question)
        if isinstance(answer, Missing):
            return Missing(what="Patroni", reason=answer.reason)
        return parse_server(answer)


def _another(seen: PatroniServer, server: Postmaster) -> str:
    """Why what this Patroni runs is not the server that was meant; empty: it is."""
    if seen.system_identifier != server.system_identifier:
        return f"that Patroni runs a server of cluster {seen.system_identifier or 'unknown'}"
    if seen.started_at != server.since:
        return f"that Patroni's server began at {seen.started_at}, not at {server.since}"
    return ""


def _declined(seen: PatroniServer) -> tuple[tuple[Verb, str], ...]:
    start = "Patroni starts it by itself"
    if seen.paused:
        start = (
            "Patroni is in maintenance mode, and starts it once somebody says `patronictl resume`"
        )
    stop = "Patroni would start it again; a person pauses it first (`patronictl pause`)"
    told: list[tuple[Verb, str]] = [("start", start), ("stop", stop)]
    if seen.state != "running":
        told.append(("restart", f"Patroni says that it is {printable(seen.state)}"))
    elif seen.restart_scheduled:
        told.append(("restart", "a restart of it is scheduled already"))
    elif seen.unlocked:
        told.append(("restart", "nobody leads its cluster just now"))
    return tuple(told)


def _told(seen: PatroniServer) -> str:
    member = f"{seen.name} of {seen.scope}" if seen.name else f"a member of {seen.scope}"
    paused = ", in maintenance mode" if seen.paused else ""
    return f"Patroni: {member}, {seen.role}{paused}"
