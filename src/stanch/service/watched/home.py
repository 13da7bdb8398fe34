"""Where a target's server lives on this machine, if it does, and who manages it there."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path

from stanch.adapters.channels.threads import in_own_thread
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.restarts import read_restarts
from stanch.adapters.hosts.traces import LocalTraces
from stanch.diagnose.outside import Place
from stanch.incident.page_after import NOT_LOOKED
from stanch.model.diagnosis import Missing
from stanch.model.host import Found
from stanch.model.ports.acting import ServerManager
from stanch.model.restarts import Restarts
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.diagnosing import Located
from stanch.service.watched.managers import manager_of
from stanch.service.watched.whereabouts import discovered, host_readings

FIND_S = 5.0
STILL_S = 0.2
"""So long is waited for a look that was late before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where the server lives, as far as this machine knows."""

    located: Located
    manager: ServerManager | None
    data_directory: str
    bin_directory: str
    log: str
    restarts: Restarts | Missing = NOT_LOOKED
    """What its manager does once it is dead."""
    late: bool = False
    """It was not found in time; it may be here all the same."""

    @property
    def log_directory(self) -> str:
        return _folder_of(self.log)

    def shows_less_than(self, before: Home) -> bool:
        """The same place seen at a worse moment: a server that is down names less of itself."""
        same = self.data_directory in ("", before.data_directory)
        lost = (before.manager and not self.manager) or (before.log and not self.log)
        return same and (self.late or bool(lost))


class HomeFinder:
    """Looks for the home of one target.

    A dead mount under it must not keep anybody from watching the server: what has no answer in time
    is an empty home that says so. The look goes on, and none is begun beside it; whoever asks again
    has its answer once it is there.
    """

    def __init__(self, *, within_s: float = FIND_S) -> None:
        self._within_s = within_s
        self._looking: asyncio.Future[Home] | None = None

    async def find(self, target: TargetPolicy, *, data_directory: str = "") -> Home:
        """The target's server on this machine, running or not; an empty home where it is not."""
        wait_s = STILL_S
        if self._looking is None:
            self._looking = asyncio.ensure_future(_find(target, data_directory))
            wait_s = self._within_s
        looking = self._looking
        await asyncio.wait({looking}, timeout=wait_s)
        if not looking.done():
            reason = f"its files did not answer within {self._within_s:g} s; perhaps a dead mount"
            return replace(_nowhere(reason), late=True)
        self._looking = None
        return looking.result()


def _nowhere(reason: str) -> Home:
    nowhere = Missing(what="host", reason=reason)
    located = Located(place=Missing(what="place", reason=reason), host=nowhere, traces=nowhere)
    return Home(
        located=located,
        manager=None,
        data_directory="",
        bin_directory="",
        log="",
        restarts=nowhere,
    )


async def _find(target: TargetPolicy, data_directory: str) -> Home:
    readings = await host_readings(target, address="", data_directory=data_directory)
    folder = readings.files
    if not folder:
        why = readings.files_why or f"the server is not on this machine ({readings.source})"
        return _nowhere(why)
    server = await in_own_thread(lambda: discovered(target, folder), name="stanch-find")
    programs = target.bin_directory or _value(server.bin_dir)
    log_path = target.log or _value(server.log_path)
    manager = manager_of(target, server, data_directory=folder)
    place = Place(
        data_directory=folder,
        log=log_path,
        bin_directory=programs,
        manager=server.manager.value,
        concluded_from=server.manager_source,
    )
    host = LocalHost(data_directory=folder, bin_dir=programs or None, log_path=log_path or None)
    return Home(
        located=Located(place=place, host=host, traces=LocalTraces(folder)),
        manager=None if isinstance(manager, Missing) else manager,
        data_directory=folder,
        bin_directory=programs,
        log=log_path,
        restarts=await in_own_thread(lambda: read_restarts(server), name="stanch-find"),
    )


def _value(found: Found | Missing) -> str:
    return found.value if isinstance(found, Found) else ""


def _folder_of(log_path: str) -> str:
    if not log_path:
        return ""
    return log_path if os.path.isdir(log_path) else str(Path(log_path).parent)
