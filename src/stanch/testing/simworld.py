"""A server that exists only on virtual time: what breaks it, what mends it, and what is true of it.

Nothing here knows Stanch. A server has a state, faults change it, and the few acts that there are
change it as they would change a real one. Every act is counted, and what no responder may ever do
is noted down as a violation, whatever the responder believed when it did it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stanch.model.ports.acting import KeptFile
from stanch.model.reach import ReachState
from stanch.testing.simworld_parts import (
    BLOCKING,
    FULL_BYTES,
    IDLE_FOR_S,
    LEAKING,
    MARK_LOW_PCT,
    MAX_CONNECTIONS,
    RECOVERY_S,
    RESERVED,
    ROOMY_BYTES,
    START_S,
    TOTAL_BYTES,
    Effect,
    SimSession,
    Stranger,
    ballast_file,
    lock_text,
)
from stanch.testing.virtual_time import EPOCH, VirtualClock


@dataclass(slots=True)
class SimServer:
    """One PostgreSQL server with its machine."""

    name: str
    """Also the name of its target."""
    clock: VirtualClock = field(default_factory=VirtualClock)
    postmaster: int | None = 900
    started_at: datetime = EPOCH - timedelta(days=1)
    recovering: bool = False
    ended_cleanly: bool = False
    reachable: bool = True
    reserves_slots: bool = True
    """Stanch's roles may use the reserved connections, so it gets in when nobody else does."""
    free_bytes: int = ROOMY_BYTES
    lock_inode: int | None = None
    lock_content: bytes = b""
    strangers: dict[int, Stranger] = field(default_factory=dict[int, Stranger])
    sessions: dict[int, SimSession] = field(default_factory=dict[int, SimSession])
    files: dict[str, KeptFile] = field(default_factory=dict[str, KeptFile])
    set_aside: list[str] = field(default_factory=list[str])
    log: list[str] = field(default_factory=list[str])
    effects: list[Effect] = field(default_factory=list[Effect])
    violations: list[str] = field(default_factory=list[str])
    served: list[tuple[datetime, bool]] = field(default_factory=list[tuple[datetime, bool]])
    faults: Counter[str] = field(default_factory=Counter[str])
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever every session ends at once."""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it takes connections."""
    _next_pid: int = 1000
    _next_inode: int = 70

    def __post_init__(self) -> None:
        self.ready.set()
        self._write_lock()
        self._keep_ballast()
        self._open_sessions(4, "worker", idle_s=1.0)
        self.note()

    # --- what is true ---------------------------------------------------------------------------

    @property
    def data_directory(self) -> str:
        return f"/srv/{self.name}/data"

    @property
    def ballast(self) -> str:
        return f"/srv/{self.name}/ballast-1"

    @property
    def system_identifier(self) -> str:
        return str(7_000_000_000 + sum(self.name.encode()))

    @property
    def usable(self) -> int:
        return MAX_CONNECTIONS - RESERVED

    @property
    def reach(self) -> ReachState:
        """What a fresh login finds."""
        if not self.reachable:
            return ReachState.TIMEOUT
        if self.postmaster is None:
            return ReachState.REFUSED
        if self.recovering:
            return ReachState.STARTING_UP
        return ReachState.TOO_MANY_CLIENTS if self.full_house else ReachState.UP

    @property
    def reach_for_stanch(self) -> ReachState:
        reach = self.reach
        full = reach is ReachState.TOO_MANY_CLIENTS
        return ReachState.UP if full and self.reserves_slots else reach

    @property
    def full_house(self) -> bool:
        return len(self.sessions) >= self.usable

    @property
    def running(self) -> bool:
        return self.postmaster is not None and not self.recovering

    @property
    def writable(self) -> bool:
        return self.running and self.free_bytes > FULL_BYTES

    @property
    def serving(self) -> bool:
        return self.reach is ReachState.UP and self.writable

    @property
    def blocked(self) -> bool:
        return any(s.waits_for is not None for s in self.sessions.values())

    @property
    def well(self) -> bool:
        """Nothing is wrong with it at all."""
        return self.serving and not self.blocked

    def served_throughout(self, since: datetime, until: datetime) -> bool:
        """Whether applications were served at every moment from `since` to `until`."""
        before = [serving for at, serving in self.served if at <= since]
        during = [serving for at, serving in self.served if since < at <= until]
        return (before[-1] if before else True) and all(during)

    def note(self) -> None:
        """Remember whether it serves from now on."""
        now = self._now()
        if not self.served or self.served[-1][1] != self.serving:
            self.served.append((now, self.serving))

    # --- what breaks it -------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL to the postmaster; its lock file stays."""
        self.faults["kill"] += 1
        self._down(cleanly=False)

    def stop(self) -> None:
        """A fast shutdown that nobody ordered."""
        self.faults["stop"] += 1
        self._say("LOG:  received fast shutdown request")
        self._say("LOG:  database system is shut down")
        self.lock_inode = None
        self._down(cleanly=True)

    def die_and_lose_its_pid(self) -> None:
        """Killed, and another program of the same user has got its PID since."""
        self.faults["stale"] += 1
        pid = self.postmaster
        self._down(cleanly=False)
        if pid is not None:
            self.strangers[pid] = Stranger(pid=pid, started_at=self._now())

    def leak(self) -> None:
        """One application opens sessions until nobody else gets in."""
        self.faults["leak"] += 1
        self._open_sessions(self.usable - len(self.sessions), LEAKING, idle_s=IDLE_FOR_S)
        self._say("FATAL:  sorry, too many clients already")
        self.note()

    def block(self) -> None:
        """A session goes silent inside its transaction, and others wait for it."""
        self.faults["block"] += 1
        now = self._now()
        root = self._session(BLOCKING, "idle in transaction", since=now, xact=now)
        for _ in range(4):
            self._session("checkout", "active", since=now, xact=now, waits_for=root.pid)
        self.note()

    def fill(self, *, dies: bool) -> None:
        """The volume runs full; with WAL on it the server may stop itself."""
        self.faults["fill"] += 1
        if self.ballast not in self.files:
            self._keep_ballast()
        self.free_bytes = FULL_BYTES
        if dies:
            self._say('PANIC:  could not write to file "pg_wal/x.77": No space left on device')
            self._down(cleanly=False)
        self._say('ERROR:  could not extend file "base/5/2619": No space left on device')
        self.note()

    def cut_off(self) -> None:
        """No packet gets through any more."""
        self.faults["cut_off"] += 1
        self.reachable = False
        self._lose_sessions()

    def join_again(self) -> None:
        self.reachable = True
        self.note()

    def come_back_by_itself(self) -> None:
        """Somebody else starts it, rightly: whatever kept it from starting is gone."""
        self.strangers.clear()
        if self.postmaster is None:
            self._spawn()

    def mend_by_hand(self) -> None:
        """A person puts everything right."""
        self.reachable = True
        self.free_bytes = max(self.free_bytes, ROOMY_BYTES)
        bad = [s.pid for s in self.sessions.values() if s.application in (LEAKING, BLOCKING)]
        for pid in bad:
            del self.sessions[pid]
            self._free_waiters(pid)
        self.come_back_by_itself()
        self.note()

    # --- what may be done to it -----------------------------------------------------------------

    def start(self) -> str:
        """A manager is asked to start it. Returns why it refused; empty: it is starting."""
        self._did("start", self.data_directory)
        lock_pid = self._lock_pid()
        if self.postmaster is not None:
            self.violations.append("a start was asked of a running server")
            return 'FATAL:  lock file "postmaster.pid" already exists'
        if lock_pid in self.strangers:
            self.violations.append("a start was asked against a lock file in the way")
            return 'FATAL:  lock file "postmaster.pid" already exists'
        if self.free_bytes <= FULL_BYTES:
            self.violations.append("a start was asked on a full volume")
            return "FATAL:  could not write lock file: No space left on device"
        self._spawn()
        return ""

    def rename_lock(self, *, inode: int, sha256: str, new_name: str) -> bool:
        """True if it was that very file, which is out of the way now."""
        if inode != self.lock_inode or sha256 != self.lock_sha256:
            return False
        self._did("rename", new_name)
        if self.postmaster is not None:
            self.violations.append("the lock file of a living server was set aside")
        self.set_aside.append(new_name)
        self.lock_inode = None
        return True

    def end_session(
        self,
        pid: int,
        backend_start: datetime,
        *,
        idle_since: datetime | None,
        xact_start: datetime | None,
    ) -> bool:
        """True if it was that very session in that very state, which has ended now."""
        session = self.sessions.get(pid)
        if session is None or session.backend_start != backend_start:
            return False
        if idle_since is not None and (session.state, session.state_change) != ("idle", idle_since):
            return False
        if xact_start is not None and session.xact_start != xact_start:
            return False
        self._did("end", f"pid {pid}")
        if session.application not in (LEAKING, BLOCKING) or session.advisory:
            self.violations.append(f"a session of {session.application} was ended")
        del self.sessions[pid]
        self._free_waiters(pid)
        self.note()
        return True

    def remove(self, file: KeptFile) -> bool:
        """True if it was that very file, which is deleted now."""
        if self.files.get(file.path) != file:
            return False
        self._did("remove", file.path)
        if 100.0 * self.free_bytes / TOTAL_BYTES >= MARK_LOW_PCT:
            self.violations.append("a file was deleted although there was room")
        del self.files[file.path]
        self.free_bytes += file.allocated_bytes
        self.note()
        return True

    @property
    def lock_sha256(self) -> str:
        return hashlib.sha256(self.lock_content).hexdigest()

    def _lock_pid(self) -> int | None:
        if self.lock_inode is None:
            return None
        return int(self.lock_content.split(b"\n", 1)[0])

    def done(self, kind: str) -> int:
        return sum(effect.kind == kind for effect in self.effects)

    # --- inside ---------------------------------------------------------------------------------

    def _now(self) -> datetime:
        try:
            return self.clock.now()
        except RuntimeError:
            return EPOCH

    def _did(self, kind: str, what: str) -> None:
        self.effects.append(Effect(at=self._now(), kind=kind, what=what))

    def _down(self, *, cleanly: bool) -> None:
        self.postmaster, self.recovering, self.ended_cleanly = None, False, cleanly
        self.sessions.clear()
        self.ready.clear()
        self._lose_sessions()

    def _lose_sessions(self) -> None:
        self.gone.set()
        self.gone = asyncio.Event()
        self.note()

    def _spawn(self) -> None:
        self.postmaster, self.started_at = self._pid(), self._now()
        self.recovering = True
        self._write_lock()
        self._say("LOG:  starting PostgreSQL 15.8 on x86_64-pc-linux-gnu")
        if not self.ended_cleanly:
            self._say("LOG:  database system was not properly shut down; recovery in progress")
        wait_s = START_S if self.ended_cleanly else RECOVERY_S
        asyncio.get_running_loop().call_later(wait_s, self._ready, self.postmaster)
        self.note()

    def _ready(self, postmaster: int) -> None:
        if self.postmaster != postmaster:
            return
        self.recovering = False
        self.ended_cleanly = False
        self.ready.set()
        self._say("LOG:  database system is ready to accept connections")
        self._open_sessions(4, "worker", idle_s=1.0)
        self.note()

    def _write_lock(self) -> None:
        self._next_inode += 1
        self.lock_inode = self._next_inode
        self.lock_content = lock_text(
            self.postmaster or 0, self.data_directory, self.started_at, shm_id=self._next_inode
        )

    def _keep_ballast(self) -> None:
        self._next_inode += 1
        self.files[self.ballast] = ballast_file(self.ballast, inode=self._next_inode)

    def _open_sessions(self, count: int, application: str, *, idle_s: float) -> None:
        since = self._now() - timedelta(seconds=idle_s)
        for _ in range(max(0, count)):
            self._session(application, "idle", since=since)

    def _session(
        self,
        application: str,
        state: str,
        *,
        since: datetime,
        xact: datetime | None = None,
        waits_for: int | None = None,
    ) -> SimSession:
        session = SimSession(
            pid=self._pid(),
            backend_start=since - timedelta(seconds=5),
            application=application,
            state=state,
            state_change=since,
            xact_start=xact,
            waits_for=waits_for,
        )
        self.sessions[session.pid] = session
        return session

    def _free_waiters(self, root: int) -> None:
        """Whoever waited for it gets on with its work, and leaves when that is done."""
        for session in list(self.sessions.values()):
            if session.waits_for == root:
                del self.sessions[session.pid]

    def _pid(self) -> int:
        self._next_pid += 1
        return self._next_pid

    def _say(self, text: str) -> None:
        moment = self._now().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        self.log.append(f"{moment} UTC [{self.postmaster or 1}] {text}")
        del self.log[:-200]
