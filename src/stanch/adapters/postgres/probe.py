"""The layered probe: how far a fresh client gets at one server, and what stops it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from stanch.adapters.postgres import addresses, refusals, tls
from stanch.adapters.postgres.conninfo import Conninfo, resolve
from stanch.adapters.postgres.layers import Ended, Trace
from stanch.adapters.postgres.login import SessionFailed
from stanch.adapters.postgres.one_try import OneTry
from stanch.adapters.postgres.protocol import NotPostgres
from stanch.adapters.postgres.session import PgSession, SessionLost, StatementFailed
from stanch.adapters.postgres.startup import (
    AuthNotPossible,
    AuthNotSpoken,
    ClosedEarly,
    SessionRefused,
    Wire,
)
from stanch.adapters.postgres.way import find, transport
from stanch.model.reach import LayerName, LossReason, Reach, ReachState

DEADLINE_S_DEFAULT = 5.0
_LIBPQ_QUESTION_S = 2.0
APPLICATION_NAME = "stanch probe"

SELECT_SQL = "SET LOCAL statement_timeout = 2000; SELECT 1"
READ_ONLY_SQL = (
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'),"
    " pg_catalog.pg_backend_pid()"
)
POOLER = "a pooler answers here; name the server itself as the target"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    dsn: str
    conninfo: Conninfo
    application_name: str
    one_try: OneTry
    login_only: bool


async def probe(
    dsn: str,
    *,
    deadline_s: float | None = None,
    dbname: str | None = None,
    application_name: str = APPLICATION_NAME,
    one_try: OneTry | None = None,
    login_only: bool = False,
) -> Reach:
    """How far a fresh session gets at one server.

    Unit: `deadline_s` bounds the whole probe; by default connect_timeout of the string, or 5 s.
    Source: the wire protocol; `pg_is_in_recovery()`, `transaction_read_only` and
    `pg_backend_pid()`, no privilege.
    Cost: one session for a few round trips; a second one, after the first has ended, only where
    libpq has to confirm or sslmode allows another way in.
    `one_try` is shared by all who log in with these credentials. `login_only` asks the session
    nothing, as consoles of poolers would not understand it: UP then says that it was let in.
    Raises: SetupError for a string that libpq cannot use, ProbeFailed when this machine is out of
    files or memory and can say nothing about the server.
    Never: two connections at a time, or the same password twice. Where libpq must log in itself
    (GSSAPI, OAuth, channel binding), the probe has not sent one.
    """
    conninfo = resolve(dsn, dbname=dbname)
    limit_s = deadline_s if deadline_s is not None else _connect_timeout_s(conninfo)
    asked = _Asked(
        dsn=dsn,
        conninfo=conninfo,
        application_name=application_name,
        one_try=one_try or OneTry(),
        login_only=login_only,
    )
    trace = Trace()
    try:
        async with asyncio.timeout(limit_s):
            return trace.reach(await _walk(asked, trace))
    except TimeoutError:
        return trace.silent(limit_s, at="select")
    except Ended as ended:
        return trace.ended(ended)


def _connect_timeout_s(conninfo: Conninfo) -> float:
    """libpq's rules for connect_timeout: whole seconds, at least two, zero is none given."""
    text = conninfo.settings.get("connect_timeout", "")
    seconds = int(text) if text.isascii() and text.isdigit() else 0
    return float(max(seconds, 2)) if seconds else DEADLINE_S_DEFAULT


async def _walk(asked: _Asked, trace: Trace) -> ReachState:
    """Try each way in that sslmode allows; only a refusal by pg_hba.conf leads to the next."""
    found = await find(asked.conninfo, trace)
    ways = _ways(asked.conninfo)
    for n, encrypted in enumerate(ways):
        last = n == len(ways) - 1
        try:
            return await _try_way(asked, trace, found=found, encrypted=encrypted)
        except Ended as ended:
            if last or ended.sqlstate != "28000" or (encrypted and not trace.encrypted):
                raise
            trace.restart_after_lookup()
    raise AssertionError("there is always a way to try")


def _ways(conninfo: Conninfo) -> tuple[bool, ...]:
    """In libpq's order: with TLS or without."""
    mode = tls.effective_sslmode(conninfo)
    if conninfo.is_socket or mode == "disable":
        return (False,)
    return {"allow": (False, True), "prefer": (True, False)}.get(mode, (True,))


async def _try_way(
    asked: _Asked, trace: Trace, *, found: tuple[addresses.Address, ...], encrypted: bool
) -> ReachState:
    try:
        async with await transport(found, trace) as wire:
            if encrypted:
                await _encrypt(asked.conninfo, wire, trace)
            return await _session(asked, wire, trace)
    except SessionRefused as refused:
        state = refusals.state_of_refusal(refused.error)
        trace.through_pooler = trace.through_pooler or refusals.is_poolers(refused.error)
        raise Ended(
            state, refusals.in_words(refused.error), refused.error.sqlstate or None
        ) from refused
    except ClosedEarly as closed:
        raise Ended(
            ReachState.REFUSED, "the connection was closed before PostgreSQL answered"
        ) from closed
    except NotPostgres as strange:
        raise Ended(
            ReachState.REFUSED, refusals.shown(f"this is not PostgreSQL: {strange}")
        ) from strange
    except AuthNotPossible as impossible:
        raise Ended(ReachState.AUTH_FAILED, str(impossible)) from impossible
    except AuthNotSpoken as unspoken:
        trace.current = None
        return await _let_libpq(asked, trace, because=f"libpq logs in: {unspoken}")
    except (ssl.SSLError, tls.TlsSetupFailed) as error:
        detail = await _tls_detail(asked.conninfo, found, error)
        return await _let_libpq(asked, trace, because=detail)


async def _encrypt(conninfo: Conninfo, wire: Wire, trace: Trace) -> None:
    mode = tls.effective_sslmode(conninfo)
    with trace.layer("tls") as detail:
        direct = conninfo.settings.get("sslnegotiation") == "direct"
        if not direct and not await wire.offers_tls():
            if mode != "prefer":
                raise Ended(
                    ReachState.TLS_FAILURE,
                    f"the server offers no TLS, and sslmode={mode} demands it",
                )
            detail.append("not encrypted: the server offers no TLS")
            return
        context = tls.client_context(conninfo)
        certificate = await wire.start_tls(context, conninfo.host or conninfo.hostaddr)
        trace.encrypted = True
        validity = tls.certificate_validity(certificate)
        if validity is not None:
            trace.certificate_ends = validity.not_after
            detail.append(f"certificate {validity.in_words(datetime.now(UTC))}")


async def _session(asked: _Asked, wire: Wire, trace: Trace) -> ReachState:
    with trace.layer("startup"):
        first = await wire.start_session(asked.conninfo, asked.application_name)
    with trace.layer("auth"):
        trace.in_turn = False
        async with asked.one_try:
            trace.in_turn = True
            await wire.log_in(asked.conninfo, first)
    with trace.layer("database"):
        await wire.until_ready()
    trace.server_version = refusals.shown(wire.parameters.get("server_version", "")) or None
    if asked.login_only:
        return ReachState.UP
    with trace.layer("select"):
        await wire.ask(SELECT_SQL)
    with trace.layer("read_only") as detail:
        row = await wire.ask(READ_ONLY_SQL)
        detail.extend(_note_pooler(trace, wire.backend_pid, row))
        return _judge_writes(row)
    raise AssertionError("a layer never swallows its end")


def _note_pooler(trace: Trace, named: int | None, row: tuple[str | None, ...]) -> list[str]:
    """A login names the process that serves it; where the session says another, one is between.

    No version or setting of a pooler hides that: it keeps the server's own key to itself.
    """
    served_by = row[2] if len(row) > 2 else None
    trace.through_pooler = None not in (named, served_by) and str(named) != served_by
    return [POOLER] if trace.through_pooler else []


def _judge_writes(row: tuple[str | None, ...]) -> ReachState:
    in_recovery, read_only = (*row, None, None)[:2]
    if in_recovery == "t":
        raise Ended(ReachState.READ_ONLY, "the server is in recovery: a standby")
    if read_only == "on":
        raise Ended(
            ReachState.READ_ONLY, "default_transaction_read_only is on for this role's sessions"
        )
    return ReachState.UP


async def _tls_detail(
    conninfo: Conninfo, found: tuple[addresses.Address, ...], error: Exception
) -> str:
    """The library's complaint; with the days where the certificate's dates are the trouble."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return refusals.shown(f"TLS failed: {getattr(error, 'reason', None) or error}")
    words = f"certificate verify failed: {error.verify_message}"
    if "expired" not in error.verify_message and "not yet valid" not in error.verify_message:
        return refusals.shown(words)
    validity = await _look_at_certificate(conninfo, found)
    dated = f"{words}; the certificate {validity.in_words(datetime.now(UTC))}" if validity else ""
    return refusals.shown(dated or words)


async def _look_at_certificate(
    conninfo: Conninfo, found: tuple[addresses.Address, ...]
) -> tls.Validity | None:
    """Fetch the certificate once more without trusting it; nothing is sent over that connection."""
    try:
        async with await transport(found, Trace()) as wire:
            if conninfo.settings.get("sslnegotiation") != "direct" and not await wire.offers_tls():
                return None
            context = tls.client_context(conninfo, verify=False)
            return tls.certificate_validity(
                await wire.start_tls(context, conninfo.host or conninfo.hostaddr)
            )
    except (Ended, ClosedEarly, NotPostgres, SessionRefused, OSError, tls.TlsSetupFailed):
        return None


async def _let_libpq(asked: _Asked, trace: Trace, *, because: str) -> ReachState:
    """libpq has the last word where our own reading of TLS or authentication ends.

    A session that libpq opens is one that the application can open too, whatever we made of the
    certificate. The password goes out once: we have not come to authentication, or cannot speak it.
    """
    over_tls = trace.current == "tls"
    name: LayerName = "tls" if over_tls else "auth"
    trace.current = name
    try:
        session = await PgSession.open(
            asked.dsn,
            {
                "dbname": asked.conninfo.dbname,
                "application_name": asked.application_name,
                "hostaddr": trace.address,
            },
        )
    except SessionFailed as failed:
        state = ReachState.TLS_FAILURE if over_tls else ReachState.AUTH_FAILED
        raise Ended(state, because if over_tls else refusals.shown(str(failed))) from failed
    with trace.layer(name) as detail:
        detail.append(because)
    if asked.login_only:
        session.close()
        return ReachState.UP
    trace.current = "read_only"
    try:
        rows = await session.query(READ_ONLY_SQL, timeout_s=_LIBPQ_QUESTION_S)
    except StatementFailed as failed:
        raise Ended(refusals.state_of_refusal(failed.error), str(failed)) from failed
    except SessionLost as lost:
        silent = lost.loss.reason is LossReason.SILENT
        raise Ended(ReachState.HUNG if silent else ReachState.REFUSED, str(lost)) from lost
    finally:
        session.close()
    with trace.layer("read_only") as detail:
        row = tuple(rows[0].values())
        detail.extend(_note_pooler(trace, session.backend_pid, row))
        return _judge_writes(row)
    raise AssertionError("a layer never swallows its end")
