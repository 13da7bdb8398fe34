"""One open session on libpq, watched between questions as well as during them.

The file descriptor has one reader from login to loss, ours: libpq is never asked to wait, so
nothing else can claim the descriptor. What arrives unasked (a notice, a changed setting, the
FATAL of a shutdown, the end of the connection) is taken in at once and told apart.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus

from stanch.adapters.postgres import refusals
from stanch.adapters.postgres.conninfo import for_session
from stanch.adapters.postgres.libpq import PGconn, PGresult, start_connecting
from stanch.adapters.postgres.login import cancel_question, finish_connecting, with_address
from stanch.adapters.postgres.protocol import ServerError
from stanch.adapters.postgres.session_tcp import unheard
from stanch.model.ports.server import Row, SqlParams, SqlValue
from stanch.model.reach import LossReason

_PREPARED_MAX = 32


class SessionBusy(Exception):
    """An earlier question is still in flight; this one was not sent."""


class StatementFailed(Exception):
    """The server answered a statement with an error; the session goes on unless it is lost too."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(refusals.in_words(error))
        self.error = error


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How the session ended."""

    reason: LossReason
    sqlstate: str | None
    detail: str


class SessionLost(Exception):
    """The session ended; `sent` says whether the statement may have reached the server."""

    def __init__(self, loss: Loss, *, sent: bool) -> None:
        super().__init__(loss.detail)
        self.loss = loss
        self.sent = sent


class PgSession:
    """An open session: one question at a time, each under a deadline. Made by `open`."""

    def __init__(self, conn: PGconn, on_lost: Callable[[Loss], None] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._conn = conn
        self._socket = conn.socket
        self._on_lost = on_lost
        self._loss: Loss | None = None
        self._last_words: ServerError | None = None
        self._flight: asyncio.Future[list[PGresult]] | None = None
        """Stays until the answer is here, also where whoever asked has been cancelled."""
        self._landing: asyncio.Future[None] | None = None
        """Made by whoever waits for a flight to end, and shared by all who do."""
        self._results: list[PGresult] = []
        self._until = 0.0
        """The deadline of the flight, on the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        """Goes off at the deadline or before; outlives the flight that it was set for."""
        self._prepared: dict[str, bytes] = {}
        self._names = 0
        """How many were given; one whose asker was cancelled may be known to the server."""
        self.backend_pid = conn.backend_pid
        conn.nonblocking = 1
        conn.notice_handler = self._on_notice
        self._loop.add_reader(self._socket, self._on_readable)

    @classmethod
    async def open(
        cls,
        dsn: str,
        overrides: Mapping[str, str],
        *,
        on_lost: Callable[[Loss], None] | None = None,
    ) -> PgSession:
        """Log in through libpq; the caller bounds the time. Raises: SessionFailed.

        `on_lost` is called on the loop, once, and not when `close` ended the session.
        """
        conn = start_connecting(for_session(dsn, await with_address(dsn, overrides)))
        try:
            await finish_connecting(conn)
            return cls(conn, on_lost)
        except BaseException:
            conn.finish()
            raise

    @property
    def is_open(self) -> bool:
        """No loss has been seen."""
        return self._loss is None

    @property
    def unheard(self) -> bool | None:
        """What was sent is not confirmed by the other machine; None where nobody can tell."""
        return unheard(self._socket) if self._loss is None else None

    async def query(
        self,
        sql: str,
        params: SqlParams | None = None,
        *,
        timeout_s: float = 5.0,
        prepare: bool = False,
        simple: bool = False,
    ) -> tuple[Row, ...]:
        """The rows of one statement; `prepare` keeps its plan on the server for the next time.

        `simple` is for consoles of poolers, which know only the simple protocol, and no parameters.

        Raises: StatementFailed, SessionLost, SessionBusy. A deadline that passes while the
        statement is in flight ends the session: its answer could otherwise pass for the next one's.
        """
        until = self._loop.time() + timeout_s
        kept = self._prepared.get(sql)
        # The text of what is prepared is long, and asked by its name: it is not encoded again.
        command, values = (b"", []) if kept and not params else _numbered(sql, params or {})
        if prepare and kept is None and len(self._prepared) < _PREPARED_MAX:
            self._names += 1
            kept = f"stanch_{self._names}".encode()
            await self._prepare(kept, command, until)
            self._prepared[sql] = kept

        def send() -> None:
            if simple:
                self._conn.send_query(command)
            elif kept is not None:
                self._conn.send_query_prepared(kept, values)
            else:
                self._conn.send_query_params(command, values)

        return _rows(await self._round_trip(send, until))

    async def _prepare(self, name: bytes, command: bytes, until: float) -> None:
        await self._round_trip(lambda: self._conn.send_prepare(name, command), until)

    async def cancel(self, *, deadline_s: float) -> None:
        """Ask the server to give up the question in flight, and wait for how it ends; no longer
        than the deadline. Cost: one short connection beside this one.

        Never: undoes a commit. One that waits for a standby is done on this server.
        """
        until = self._loop.time() + deadline_s
        if self._loss is None and self._flight is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await cancel_question(self._conn)
            with suppress(SessionBusy):
                await self._wait_for_turn(until)

    def close(self) -> None:
        """End the session; nobody is told of a loss."""
        self._on_lost = None
        self._lose(Loss(reason=LossReason.CLOSED, sqlstate=None, detail="closed by ourselves"))

    def give_up(self) -> None:
        """End the session as one whose server does not answer in time."""
        self._lose(
            Loss(
                reason=LossReason.SILENT,
                sqlstate=None,
                detail="no answer to a question within its deadline",
            )
        )

    async def _round_trip(self, send: Callable[[], None], until: float) -> PGresult:
        if self._flight is not None:
            await self._wait_for_turn(until)
        if self._loss is not None:
            raise SessionLost(self._loss, sent=False)
        flight: asyncio.Future[list[PGresult]] = self._loop.create_future()
        self._flight = flight
        self._set_deadline(until)
        try:
            send()
            self._flush()
        except psycopg.OperationalError as error:
            self._lose(self._loss_from(str(error)))
        results = await flight
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise StatementFailed(_error_of(result))
        assert results, "libpq ends every statement with a result"
        return results[-1]

    def _set_deadline(self, until: float) -> None:
        """A timer and not a wait: on a loop that lags, the selector's events run before its timers,
        so an answer that has already arrived is never taken for silence. One timer serves many
        questions, because most are answered long before it goes off.
        """
        self._until = until
        if self._timer is not None and self._timer.when() > until:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._on_timer, until)

    def _on_timer(self, at: float) -> None:
        self._timer = None
        if self._flight is None:
            return
        if at < self._until:
            self._set_deadline(self._until)
        else:
            self.give_up()

    async def _wait_for_turn(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                while self._flight is not None:
                    if self._landing is None:
                        self._landing = self._loop.create_future()
                    await asyncio.shield(self._landing)
        except TimeoutError as error:
            raise SessionBusy("an earlier question is still in flight") from error

    def _flush(self) -> None:
        if self._conn.flush() == 1:
            self._loop.add_writer(self._socket, self._on_writable)

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._socket)
        try:
            self._flush()
        except psycopg.OperationalError as error:
            self._lose(self._loss_from(str(error)))

    def _on_readable(self) -> None:
        ended: str | None = None
        try:
            self._conn.consume_input()
        except psycopg.OperationalError as error:
            ended = str(error)
        if self._flight is not None:
            self._collect()
        else:
            self._conn.is_busy()  # takes in what came unasked; a FATAL reaches the notice handler
        if ended is not None or self._conn.status == ConnStatus.BAD:
            self._lose(self._loss_from(ended or "the connection is broken"))

    def _collect(self) -> None:
        while not self._conn.is_busy():
            result = self._conn.get_result()
            if result is None:
                self._land()
                return
            if result.status == ExecStatus.FATAL_ERROR:
                error = _error_of(result)
                if error.severity in ("FATAL", "PANIC"):
                    self._last_words = error
            self._results.append(result)

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        results, self._results = self._results, []
        if flight is not None and not flight.done():
            flight.set_result(results)
        self._free_turn()

    def _free_turn(self) -> None:
        landing, self._landing = self._landing, None
        if landing is not None:
            landing.set_result(None)

    def _on_notice(self, notice: PGresult) -> None:
        error = _error_of(notice)
        if error.severity in ("FATAL", "PANIC"):
            self._last_words = error

    def _loss_from(self, libpq_words: str) -> Loss:
        last = self._last_words
        return Loss(
            reason=refusals.loss_of(last),
            sqlstate=last.sqlstate if last else None,
            detail=refusals.in_words(last) if last else refusals.shown(libpq_words.strip()),
        )

    def _lose(self, loss: Loss) -> None:
        if self._loss is not None:
            return
        self._loss = loss
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        if self._timer is not None:
            self._timer.cancel()
        self._conn.notice_handler = None
        self._conn.finish()
        flight, self._flight = self._flight, None
        if flight is not None and not flight.done():
            flight.set_exception(SessionLost(loss, sent=True))
            flight.exception()  # marks it as seen: whoever asked may have been cancelled
        self._free_turn()
        if self._on_lost is not None:
            self._on_lost(loss)


def _numbered(sql: str, params: SqlParams) -> tuple[bytes, list[bytes | None]]:
    """The statement as the server takes it, `$1` for the first name, and the values in order.

    Without parameters the text is sent as it is, percent signs included.
    """
    if not params:
        return sql.encode(), []
    order: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return f"${order.setdefault(found[1], len(order) + 1)}"

    text = re.sub(r"%\((\w+)\)s", number, sql)
    return text.encode(), [_as_text(params[name]) for name in order]


def _as_text(value: SqlValue) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()


def _rows(result: PGresult) -> tuple[Row, ...]:
    names = [(result.fname(n) or b"").decode("utf-8", "replace") for n in range(result.nfields)]
    return tuple(
        {name: _value(result, row, column) for column, name in enumerate(names)}
        for row in range(result.ntuples)
    )


def _value(result: PGresult, row: int, column: int) -> str | None:
    value = result.get_value(row, column)
    return None if value is None else bytes(value).decode("utf-8", "replace")


def _error_of(result: PGresult) -> ServerError:
    def text(field: DiagnosticField) -> str:
        return (result.error_field(field) or b"").decode("utf-8", "replace")

    return ServerError(
        severity=text(DiagnosticField.SEVERITY_NONLOCALIZED) or text(DiagnosticField.SEVERITY),
        sqlstate=text(DiagnosticField.SQLSTATE),
        message=text(DiagnosticField.MESSAGE_PRIMARY),
        detail=text(DiagnosticField.MESSAGE_DETAIL),
    )
