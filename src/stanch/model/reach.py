"""What a layered probe of one server found, and what each finding means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal


class ReachState(StrEnum):
    """Which it is. Exactly one holds for a probe; `STATE_MEANINGS` says each in a sentence."""

    UP = "up"
    READ_ONLY = "read_only"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    DNS_FAILURE = "dns_failure"
    TLS_FAILURE = "tls_failure"
    AUTH_FAILED = "auth_failed"
    NO_SUCH_DATABASE = "no_such_database"
    TOO_MANY_CLIENTS = "too_many_clients"
    STARTING_UP = "starting_up"
    SHUTTING_DOWN = "shutting_down"
    HUNG = "hung"
    CONNECTION_LIMIT = "connection_limit"
    TURNED_AWAY = "turned_away"


ANSWERED_BY_NOBODY = frozenset({ReachState.TIMEOUT, ReachState.HUNG})
"""Somebody may be there; within the deadline nobody said a word."""

LayerName = Literal[
    "dns", "tcp", "socket", "tls", "startup", "auth", "database", "select", "read_only"
]
"""In the order of a connection; `socket` takes the place of `dns` and `tcp` on Unix sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer of a connection and how it went; layers that were not reached are absent."""

    name: LayerName
    ok: bool
    ms: float
    detail: str = ""
    """Fit to be shown: control characters from the server are escaped, no secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a client gets at one server, layer by layer."""

    state: ReachState
    layers: tuple[Layer, ...]
    elapsed_ms: float
    sqlstate: str | None = None
    """The server's own code where it refused a session; None where no server spoke."""
    server_version: str | None = None
    """As the server reported it at login, for example `15.18 (Debian 15.18-1)`."""
    address: str = ""
    """The IP address that accepted the connection; empty for Unix sockets and where none did."""
    at: datetime | None = None
    """When the probe ended, UTC."""
    certificate_ends: datetime | None = None
    """Until when the certificate holds that the server showed; None without TLS."""
    through_pooler: bool = False
    """Something between answered in the server's stead: a pooler, or another proxy that logs in."""
    in_turn: bool = True
    """False: it never came to say who it is, because another login with the same credentials was
    under way all the time. It is no witness beside that one."""

    @property
    def answers(self) -> bool:
        """A fresh session can be opened and asked."""
        return self.state in (ReachState.UP, ReachState.READ_ONLY)

    @property
    def spoke(self) -> bool:
        """The server itself said something, and not only its machine's kernel."""
        beyond = any(
            layer.ok and layer.name not in ("dns", "tcp", "socket") for layer in self.layers
        )
        return beyond or self.sqlstate is not None

    @property
    def login_ended(self) -> bool:
        """57P01: what was logging in was ended, by a shutdown or by whoever ends sessions. A server
        that leaves says so to the next one, too (57P03), or refuses it.
        """
        return self.sqlstate == "57P01"

    @property
    def failed_layer(self) -> Layer | None:
        """The layer at which it ended; None when every layer went well."""
        return next((layer for layer in reversed(self.layers) if not layer.ok), None)

    @property
    def said(self) -> str:
        """What stopped it in its own words; the state where nobody said a word."""
        layer = self.failed_layer
        return layer.detail if layer is not None and layer.detail else self.state.value


class LossReason(StrEnum):
    """How an open session was lost. Only a fresh probe tells whether the server is gone."""

    CLOSED = "closed"
    """The connection ended without a word: the server process was killed, or a device cut it."""
    ADMIN_SHUTDOWN = "admin_shutdown"
    """57P01: a fast shutdown, or somebody ended just this session."""
    POSTMASTER_DIED = "postmaster_died"
    """57P01 with other words: the session's process saw the postmaster die, and left."""
    CRASH_SHUTDOWN = "crash_shutdown"
    """57P02: another server process crashed and the server restarts itself."""
    DATABASE_DROPPED = "database_dropped"
    """57P04: the session's database was dropped."""
    IDLE_TIMEOUT = "idle_timeout"
    """57P05 or 25P03: a timeout set on the server ended it."""
    SILENT = "silent"
    """A question got no answer within its deadline; the session was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelLost:
    """An open session ended and not because we closed it."""

    reason: LossReason
    at: datetime
    sqlstate: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMeaning:
    """What a state tells a tired person, what to look at next, and the exit code of a ping."""

    sentence: str
    check_next: str
    exit_code: int


# Exit codes 1 and 2 stay free: a bug and a wrong command line. Codes are never reused.
STATE_MEANINGS: Mapping[ReachState, StateMeaning] = MappingProxyType(
    {
        ReachState.UP: StateMeaning(
            sentence="The server lets new sessions in, answers, and accepts writes.",
            check_next="",
            exit_code=0,
        ),
        ReachState.READ_ONLY: StateMeaning(
            sentence="The server answers, but new sessions cannot write.",
            check_next="Is this the standby, or was default_transaction_read_only switched on?",
            exit_code=3,
        ),
        ReachState.REFUSED: StateMeaning(
            sentence="The machine answers, but PostgreSQL takes no sessions at that address.",
            check_next="Is the server process running, and does it listen on this address?",
            exit_code=4,
        ),
        ReachState.TIMEOUT: StateMeaning(
            sentence="Nothing answers at that address, not even a refusal.",
            check_next="Is the machine up, and does a firewall drop the packets?",
            exit_code=5,
        ),
        ReachState.UNREACHABLE: StateMeaning(
            sentence="The network says that there is no way to that address.",
            check_next="Check routes, the VPN, and whether the machine or its network is down.",
            exit_code=6,
        ),
        ReachState.DNS_FAILURE: StateMeaning(
            sentence="The host name could not be turned into an address.",
            check_next="Is the name spelled right, and does the resolver of this machine work?",
            exit_code=7,
        ),
        ReachState.TLS_FAILURE: StateMeaning(
            sentence="The server is there, but no encrypted connection as demanded can be made.",
            check_next="Check the server's certificate, its issuer and dates, and sslmode.",
            exit_code=8,
        ),
        ReachState.AUTH_FAILED: StateMeaning(
            sentence="The server runs, but does not let this role in.",
            check_next="Check the password, pg_hba.conf and the role's rights.",
            exit_code=9,
        ),
        ReachState.NO_SUCH_DATABASE: StateMeaning(
            sentence="The server runs, but this database does not exist or takes no connections.",
            check_next="Check the database's name; was it dropped or renamed?",
            exit_code=10,
        ),
        ReachState.TOO_MANY_CLIENTS: StateMeaning(
            sentence="The server runs, but every connection this role may use is taken.",
            check_next="See who holds the connections: idle sessions, sessions waiting on locks?",
            exit_code=11,
        ),
        ReachState.STARTING_UP: StateMeaning(
            sentence="The server is starting or recovering and does not let anybody in yet.",
            check_next="Wait and watch the server log; recovery must not be interrupted.",
            exit_code=12,
        ),
        ReachState.SHUTTING_DOWN: StateMeaning(
            sentence="The server is being stopped and lets nobody new in.",
            check_next="Find out who ordered the stop; the server log has the request.",
            exit_code=13,
        ),
        ReachState.HUNG: StateMeaning(
            sentence="The connection is accepted, but the server never answers.",
            check_next="Is the machine starved of CPU, memory or disk, or the process stopped?",
            exit_code=14,
        ),
        ReachState.CONNECTION_LIMIT: StateMeaning(
            sentence="The server runs, but this role or database is at a limit of its own.",
            check_next="Compare its CONNECTION LIMIT with the sessions it has in pg_stat_activity.",
            exit_code=15,
        ),
        ReachState.TURNED_AWAY: StateMeaning(
            sentence="The server answers, but turns this session away for a reason of its own.",
            check_next="Read the server's words; is a pooler or proxy in between?",
            exit_code=16,
        ),
    }
)
