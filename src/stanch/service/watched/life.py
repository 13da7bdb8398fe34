"""What is noted of a server while it lives: where it is at home, which process, which cluster.

Kept on disk as well, because what is decided on it may outlive this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from stanch.adapters.channels.threads import in_own_thread
from stanch.facts.cluster import CLUSTER_IDENTITY_SQL, parse_cluster_identity
from stanch.incident.page_after import NOT_LOOKED, page_after
from stanch.incident.state import Incident
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.host import OomKills
from stanch.model.ports.host import HostReader
from stanch.model.ports.server import ServerReader
from stanch.model.restarts import PageAfter
from stanch.model.vitals import Vitals
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.home import Home, HomeFinder
from stanch.service.watched.identity import Identity
from stanch.service.watched.moment import Moment
from stanch.service.watched.noting import (
    NEVER_SEEN,
    Kept,
    address_of,
    as_kept,
    cluster_at,
    last_recovery_s,
    longer_of,
    note_path,
    noted,
    owner_of,
    read_note,
    role_at,
    with_cluster,
    with_role,
    write_note,
)

IDENTITY_S = 1.0
NOTE_S = 3.0
"""So long the watch waits for what is noted; a dead mount would have it wait for ever."""

log = structlog.get_logger("watched")

FindHome = Callable[..., Awaitable[Home]]
WriteNote = Callable[[Path, Kept], None]
NOT_LOCATED = Missing(what="host", reason="nobody has looked yet")


class Life:
    """The notes on one server; `note_down` takes every reading of its vitals."""

    def __init__(
        self,
        target: TargetPolicy,
        sentinel: ServerReader,
        *,
        state: Path,
        find: FindHome | None = None,
        write: WriteNote = write_note,
        note_s: float = NOTE_S,
    ) -> None:
        self._target = target
        self._sentinel = sentinel
        self._find = HomeFinder().find if find is None else find
        self._write = write
        self._note_s = note_s
        self._begun: Vitals | None = None
        """Of a server's start that is to be noted."""
        self._unkept = False
        self._noting: asyncio.Future[None] | None = None
        self._note_path = note_path(state, target)
        kept = read_note(self._note_path)
        self._kept = kept if kept is not None and kept.address == address_of(target) else None
        known = self._kept
        self.witness = known.witness if known is not None else NEVER_SEEN
        """The server's process, as its lock file named it while it ran."""
        self._roles = known.roles if known is not None else ()
        self._clusters = known.clusters if known is not None else ()
        before = self._clusters[-1][1] if self._clusters else ""
        self.identity = Identity(expected=target.system_identifier or before)
        self._recovery_s = known.recovery_s if known is not None else None
        self.owner_uid = known.owner_uid if known is not None else None
        self.home: Home | None = None
        self._finding_home = asyncio.Lock()
        self.here = Moment()
        """The server was seen to be at home on this machine."""
        self._began: datetime | None = None
        self.oom_before: OomKills | None = None
        self.vitals_before: Vitals | None = None

    # --- while it lives ---

    async def note_down(self, at: datetime, vitals: Vitals) -> None:
        """Durable before the sample is told, unless the disk takes longer than a moment: what is
        decided on it may outlive this process.

        Who answers is asked first: what another cluster says of itself must not take the place of
        what is known of ours, of its data directory least of all.
        """
        anew = vitals.postmaster_start != self._began
        if anew:
            self.identity = replace(self.identity, answering=await self._cluster())
            self._began = vitals.postmaster_start
        if not self.identity.is_ours:
            return
        roles = with_role(self._roles, at, primary=not vitals.in_recovery)
        self._unkept = self._unkept or roles is not self._roles or anew
        self._roles = roles
        self.vitals_before = vitals
        if anew:
            self._begun = vitals
            answering = self.identity.answering
            self._clusters = with_cluster(self._clusters, at, answering)
            self.identity = Identity(expected=answering, answering=answering)
        await self._see_to_the_note()

    async def _see_to_the_note(self) -> None:
        """One at a time; one that takes long goes on beside the watch."""
        if self._noting is None and self._unkept:
            self._noting = asyncio.ensure_future(self._note())
            await asyncio.wait({self._noting}, timeout=self._note_s)
            if not self._noting.done():
                log.warning("files do not answer, the watch goes on", target=self._target.name)
        noting = self._noting
        if noting is None or not noting.done():
            return
        self._noting = None
        if noting.exception() is not None:
            self._began = None
        noting.result()

    async def _note(self) -> None:
        begun, self._begun, self._unkept = self._begun, None, False
        if begun is not None:
            await self._note_life(begun)
        await self._keep()

    async def _note_life(self, vitals: Vitals) -> None:
        """Once per start of the server: where it lives, and which process it is."""
        home = await self._look_again(vitals.settings.data_directory or "")
        host = home.located.host
        if not isinstance(host, Missing):
            oom = await host.oom_kills()
            self.oom_before = oom if isinstance(oom, OomKills) else None
            self.witness = await noted(host)
            self.owner_uid = await owner_of(host, self.witness)
            self._recovery_s = longer_of(self._recovery_s, await last_recovery_s(host))

    async def _cluster(self) -> str:
        """The system identifier of who answers; empty where it cannot be read."""
        try:
            answer = await self._sentinel.fetch_json(CLUSTER_IDENTITY_SQL, timeout_s=IDENTITY_S)
            return parse_cluster_identity(answer)
        except ProbeFailed:
            return ""

    async def _keep(self) -> None:
        home = await self.at_home()
        kept = Kept(
            witness=self.witness,
            address=address_of(self._target),
            data_directory=home.data_directory,
            bin_directory=home.bin_directory,
            log=home.log,
            roles=self._roles,
            clusters=self._clusters,
            recovery_s=self._recovery_s,
            owner_uid=self.owner_uid,
        )
        await in_own_thread(lambda: self._write(self._note_path, kept), name="stanch-note")

    # --- where it is at home ---

    async def at_home(self) -> Home:
        """Where the server lives, as far as that can be found out from here."""
        async with self._finding_home:
            if self.home is None or self.home.late:
                self._settle(await self._find(as_kept(self._target, self._kept)))
        assert self.home is not None
        return self.home

    async def _look_again(self, data_directory: str) -> Home:
        """A start may have brought other programs, another log, another data directory."""
        async with self._finding_home:
            fresh = await self._find(self._target, data_directory=data_directory)
            if self.home is None or not fresh.shows_less_than(self.home):
                self._settle(fresh)
        assert self.home is not None
        return self.home

    def host(self) -> HostReader | Missing:
        """The server's own machine, where that is this one."""
        return NOT_LOCATED if self.home is None else self.home.located.host

    @property
    def may_be_here(self) -> bool:
        """False once it was looked for on this machine and not found."""
        home = self.home
        return home is None or home.late or not isinstance(home.located.host, Missing)

    def _settle(self, home: Home) -> None:
        self.home = home
        if not isinstance(home.located.host, Missing):
            self.here.come()

    def folder(self) -> str:
        """The data directory as the server's own machine calls it."""
        home, vitals = self.home, self.vitals_before
        told = (vitals.settings.data_directory or "") if vitals is not None else ""
        return self._target.data_directory or (home.data_directory if home else "") or told

    # --- what was so before ---

    def was_primary(self, incident: Incident) -> bool | None:
        """What it was when the incident opened; what it came back as says nothing about that."""
        return None if incident.opened_at is None else role_at(self._roles, incident.opened_at)

    def was_cluster(self, incident: Incident) -> str:
        """The cluster that answered when it opened, unless the policy names it; empty: unknown."""
        if self._target.system_identifier or incident.opened_at is None:
            return self._target.system_identifier
        return cluster_at(self._clusters, incident.opened_at)

    def page_after(self) -> PageAfter:
        """How long a person is left asleep, because whoever owns the server may restart it."""
        restarts = self.home.restarts if self.home is not None else NOT_LOOKED
        return page_after(self._target.page_after_s, restarts, recovery_s=self._recovery_s)
