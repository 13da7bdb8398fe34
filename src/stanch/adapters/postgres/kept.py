"""What sentinel and acting session share: kept open, lost loudly, reopened with restraint."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from stanch.adapters.postgres.conninfo import given_parameters, resolve
from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.one_try import OneTry
from stanch.adapters.postgres.probe import POOLER, probe
from stanch.adapters.postgres.restraint import Contradicted, Restraint, not_after_all
from stanch.adapters.postgres.session import Loss, PgSession
from stanch.model.reach import Reach, ReachState, SentinelLost

MAINTENANCE_DATABASE = "postgres"
RETRY_S_FIRST = 0.2
RETRY_S_MAX = 5.0

OPENING_MAX = 32
"""So many sessions of one process are opened at a time. A thousand at once would all be late for
their deadlines on a busy machine, and each try that is late is followed by another."""

# Silent death is found by the kernel within about four seconds even where nothing is asked.
KEEPALIVE = {
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
}

# In these states another database of the same server may still let this role in.
_PERHAPS_ANOTHER_DATABASE = frozenset({"3D000", "55000", "42501", "28000"})


_Places = tuple[asyncio.Semaphore, asyncio.Semaphore]

_places: WeakKeyDictionary[asyncio.AbstractEventLoop, _Places] = WeakKeyDictionary()


def _place(*, urgent: bool) -> asyncio.Semaphore:
    """What whoever opens a session waits for; a page waits for what is urgent, so nobody without
    need for haste is in its way."""
    loop = asyncio.get_running_loop()
    if loop not in _places:
        _places[loop] = (asyncio.Semaphore(OPENING_MAX), asyncio.Semaphore(OPENING_MAX))
    return _places[loop][urgent]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class KeptSession:
    """One session of Stanch's on one server, opened when told to and watched while it lasts."""

    application_name = "stanch"

    def __init__(
        self,
        dsn: str,
        *,
        on_lost: Callable[[SentinelLost], None] | None = None,
        now: Callable[[], datetime] = _utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._dsn = dsn
        self._on_lost = on_lost
        self._now = now
        self._jitter = jitter
        self._session: PgSession | None = None
        self._connecting = asyncio.Lock()
        self.one_try = OneTry()
        """For whoever else logs in with the same credentials."""
        self._failures = 0
        self._restraint = Restraint()
        self._last_reach: Reach | None = None
        self.dbname = ""
        """The database of the open session."""
        self.fell_back_because = ""
        """Why the session is not in database `postgres`; empty where it is."""
        self.last_loss: SentinelLost | None = None

    @property
    def connected(self) -> bool:
        """The session is open as far as anybody can know without asking."""
        return self._session is not None and self._session.is_open

    @property
    def backend_pid(self) -> int | None:
        """The server process of the open session; what not to end by mistake."""
        return self._session.backend_pid if self._session and self._session.is_open else None

    @property
    def unheard(self) -> bool | None:
        """What was sent is not confirmed by the other machine; None where nobody can tell."""
        return self._session.unheard if self._session is not None else None

    async def connect(self, *, deadline_s: float = 5.0) -> Reach:
        """One try to open the session; how far it got.

        Unit: `deadline_s` runs from the moment of the try; where many sessions are being opened,
        it waits for its turn before. The first try after a loss waits for others like it alone.
        A probe goes first: it knows the server's code for a refusal, and a wrong password is sent
        once and not twice. Within a minute of wrong credentials, or of the second time in a row
        that libpq was turned away where the probe got in, that answer is given again, with its old
        `at`, and the server is left alone.
        """
        async with self._connecting:
            if self.connected and self._last_reach is not None:
                return self._last_reach
            if (refused := self.refused_lately) is not None:
                return refused
            # The first try after a loss is the witness that a page waits for.
            first_witness = self.last_loss is not None and not self._failures
            async with _place(urgent=first_witness):
                reach = await self._tried(deadline_s)
            self._last_reach = reach
            self._failures = 0 if reach.answers else self._failures + 1
            return reach

    @property
    def refused_lately(self) -> Reach | None:
        """The refusal of these credentials within the last minute, in which nobody tries again."""
        return self._restraint.lately

    def note_refusal(self, reach: Reach) -> None:
        """Somebody else was refused with the same credentials just now."""
        self._restraint.refuse(reach)

    @property
    def retry_delay_s(self) -> float:
        """How long to wait before the next `connect`: doubling, jittered; a minute once refused."""
        if not self._failures:
            return 0.0
        ceiling = min(RETRY_S_MAX, RETRY_S_FIRST * 2 ** min(self._failures - 1, 10))
        delay = ceiling * (0.5 + self._jitter() / 2)
        return max(delay, self._restraint.left_s)

    def give_up(self) -> None:
        """End the session as one whose server does not answer in time."""
        if self._session is not None:
            self._session.give_up()

    def close(self) -> None:
        """End the session; nobody is told of a loss."""
        if self._session is not None:
            self._session.close()
            self._session = None

    async def _tried(self, deadline_s: float) -> Reach:
        try:
            reach = await self._connect_once(deadline_s)
        except Contradicted as contradicted:
            self._restraint.contradict(contradicted.reach)
            return contradicted.reach
        self._restraint.note(reach)
        return reach

    async def _connect_once(self, deadline_s: float) -> Reach:
        """One try; how far it got. Raises: Contradicted."""
        until = self._time() + deadline_s
        wanted, why = MAINTENANCE_DATABASE, ""
        reach = await self._probe(wanted, deadline_s)
        own = resolve(self._dsn).dbname
        # A pooler serves the databases it was told of, and has one code for every refusal.
        elsewhere = reach.sqlstate in _PERHAPS_ANOTHER_DATABASE or reach.through_pooler
        if not reach.answers and elsewhere and own != wanted:
            why = reach.failed_layer.detail if reach.failed_layer else ""
            wanted = own
            reach = await self._probe(wanted, until - self._time())
        if not reach.answers:
            return reach
        if reach.through_pooler:
            # Its sessions are others' too: our settings would be left behind in theirs, and what
            # it answers says little about the server.
            return not_after_all(reach, ReachState.TURNED_AWAY, POOLER)
        try:
            async with asyncio.timeout_at(until):
                self._session = await PgSession.open(
                    self._dsn, self._parameters(wanted, reach), on_lost=self._lost
                )
        except SessionFailed as failed:
            # A server that died in between is found by the next probe; this is no proof of it.
            ended = not_after_all(reach, ReachState.TURNED_AWAY, str(failed))
            raise Contradicted(ended) from failed
        except TimeoutError:
            return not_after_all(reach, ReachState.HUNG, "no answer to libpq in time")
        self.dbname, self.fell_back_because = wanted, why
        return reach

    async def _probe(self, dbname: str, deadline_s: float) -> Reach:
        return await probe(
            self._dsn,
            deadline_s=max(deadline_s, 0.0),
            dbname=dbname,
            application_name=self.application_name,
            one_try=self.one_try,
        )

    def _parameters(self, dbname: str, reach: Reach) -> Mapping[str, str]:
        given = given_parameters(self._dsn)
        kept = {key: value for key, value in KEEPALIVE.items() if key not in given}
        address = {"hostaddr": reach.address} if reach.address else {}
        settings = self._server_settings(_major(reach))
        ours = " ".join(f"-c {name}={value}" for name, value in settings.items())
        options = f"{resolve(self._dsn).options} {ours}".strip()
        return (
            kept
            | address
            | {"dbname": dbname, "options": options, "application_name": self.application_name}
        )

    def _server_settings(self, major: int) -> Mapping[str, str]:
        """Settings of the session; the server refuses a login that names one it does not know."""
        idle = {"idle_session_timeout": "0"} if major >= 14 else {}
        return {
            "lock_timeout": "100ms",
            "idle_in_transaction_session_timeout": "10s",
        } | idle

    def _lost(self, loss: Loss) -> None:
        self._session = None
        lost = SentinelLost(
            reason=loss.reason, at=self._now(), sqlstate=loss.sqlstate, detail=loss.detail
        )
        self.last_loss = lost
        if self._on_lost is not None:
            self._on_lost(lost)

    def _time(self) -> float:
        return asyncio.get_running_loop().time()


def _major(reach: Reach) -> int:
    digits = (reach.server_version or "").partition(".")[0].partition(" ")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
