"""Everything an action may read or touch on one target, gathered in one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from stanch.model.diagnosis import Diagnosis, Missing
from stanch.model.plans import Lift
from stanch.model.ports.acting import AppLogin, FileKeeper, LockNote, Prober, ServerManager
from stanch.model.ports.containers import ContainerEngine
from stanch.model.ports.hooks import HookCaller
from stanch.model.ports.host import HostReader
from stanch.model.ports.pooler import PoolerControl
from stanch.model.ports.server import ServerActor, ServerReader, ServerVisits
from stanch.policy.policy import TargetPolicy

NO_NOTE = Missing(what="note about the last start", reason="the server was never seen running")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One target with the ports that exist for it. None: this target does not have that one."""

    target: TargetPolicy
    prober: Prober
    at: Callable[[], datetime]
    """The present moment, for what has to be named or compared by it."""
    diagnosis: Diagnosis | None = None
    """The standing one: what it forbids is refused."""
    host: HostReader | None = None
    data_directory: str = ""
    """Found on the host or said by policy; empty where there is no host access."""
    log_directory: str = ""
    """The folder of the server's log files; empty where it is not known."""
    lock_note: LockNote | Missing = NO_NOTE
    reader: ServerReader | None = None
    actor: ServerActor | None = None
    visits: ServerVisits | None = None
    """The acting role in any database, one statement at a time."""
    poolers: Mapping[str, PoolerControl] = field(default_factory=dict[str, PoolerControl])
    """Those that policy lets be changed (`admin_dsn`), by the name of their pool source."""
    hooks: HookCaller | None = None
    planned_at: datetime | None = None
    """When the plan of this step was made: what began before is what the plan is about."""
    step_key: str = ""
    """The same for every attempt of one step of one plan, and for no other."""
    lifted: tuple[Lift, ...] = ()
    """What a person overrides in the plan under way, for the action under way."""
    manager: ServerManager | None = None
    engine: ContainerEngine | None = None
    """Who keeps the server's container, and those of its project."""
    files: FileKeeper | None = None
    app_login: AppLogin | None = None
    cluster: str = ""
    """The system identifier of the cluster that is watched, and for a rescue of the one that
    answers; empty: it was never read."""
    owner_uid: int | None = None
    """The operating-system user whom the server last ran as; None: nobody saw it run."""
    was_cluster: str = ""
    """The same, of the last one before the incident."""
    peers: tuple[str, ...] = ()
    """The other servers of its cluster, as the policy names them."""
    was_primary: bool | None = None
    """What the server was in the last reading before the incident; None: it was not read."""
