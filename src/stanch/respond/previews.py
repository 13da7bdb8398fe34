"""What a step will touch, in one sentence with numbers, for whoever has to approve it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.shown import span
from stanch.policy.quoting import printable
from stanch.respond.actions.end_blocking_session.guards import IDLE_STATES

Values = Mapping[str, Scalar]

CHARS_MAX = 160


def preview(action: str, params: Values, cause: CauseFinding) -> str:
    """The sentence for one step; everything from outside is escaped and short."""
    return _PREVIEWS[action](params, cause)


def _name(value: Scalar, otherwise: str) -> str:
    return otherwise if value is None or value == "" else printable(str(value))[:CHARS_MAX]


def _start(params: Values, cause: CauseFinding) -> str:
    directory = _name(params.get("data_directory"), "its data directory")
    manager = _name(cause.fact("manager"), "its manager")
    recovery = "" if cause.fact("control_state") == "shut down" else "; it recovers first"
    return f"Start the server of {directory} through {manager}{recovery}."


def _set_aside(params: Values, cause: CauseFinding) -> str:
    directory = _name(params.get("data_directory"), "the data directory")
    holder = _name(cause.fact("holder_command"), "another program")
    pid = _name(cause.fact("lock_pid"), "?")
    return (
        f"Rename {directory}/postmaster.pid (inode {_name(params.get('lock_inode'), '?')}), "
        f"whose PID {pid} now belongs to {holder}."
    )


def _end_idle(params: Values, cause: CauseFinding) -> str:
    idle = _name(cause.fact("idle_sessions"), "some")
    application = _name(params.get("application_name"), "an unnamed application")
    used = _name(cause.fact("client_backends"), "?")
    most = _name(cause.fact("max_connections"), "?")
    return (
        f"End idle sessions of {application} (role {_name(params.get('usename'), '?')}), oldest "
        f"first, out of {idle}, until there is headroom; {used} of {most} connections are in use."
    )


def _end_blocker(params: Values, cause: CauseFinding) -> str:
    pid = _name(params.get("root_pid"), "?")
    application = _name(cause.fact("root_application"), "an unnamed application")
    waiters = _name(cause.fact("waiters"), "some")
    oldest = cause.fact("oldest_wait_s")
    since = span(oldest) if isinstance(oldest, int | float) else "a while"
    return (
        f"End session {pid} of {application}, roll back its transaction, and so free {waiters} "
        f"sessions, the first of which has waited for {since}.{_work_lost(cause)}"
    )


def _work_lost(cause: CauseFinding) -> str:
    state, began = cause.fact("state"), cause.fact("root_xact_start")
    if state in IDLE_STATES:
        return ""
    told = f"It is {_name(state, 'in a state that is hidden')}, not idle"
    return f" {told}: what it did since {_name(began, 'its transaction began')} is lost."


def _cancel(params: Values, cause: CauseFinding) -> str:
    pid = _name(params.get("pid"), "?")
    if params.get("while_waiting") is True:
        application = _name(cause.fact("ddl_application"), "an unnamed application")
        table = _name(cause.fact("relation"), "a table")
        return (
            f"Cancel the schema change of session {pid} of {application}, which waits for {table}: "
            "its transaction fails, and those who queue behind it go on."
        )
    application = _name(cause.fact("application_name"), "an unnamed application")
    runs = cause.fact("statement_runs_s")
    ran = f" after {span(runs)}" if isinstance(runs, int | float) else ""
    return (
        f"Cancel the statement of session {pid} of {application}{ran}; what it did so far in its "
        "transaction is lost, and the session lives on."
    )


def _free(params: Values, cause: CauseFinding) -> str:
    volume = _name(params.get("volume"), "the volume")
    free, total = cause.fact("free_bytes"), cause.fact("total_bytes")
    left = f"{free} of {total} bytes are free" if isinstance(free, int) else "it is full"
    return f"Delete ballast and then old server logs on {volume}, one file at a time; {left}."


_PREVIEWS: Mapping[str, Callable[[Values, CauseFinding], str]] = {
    "start_server": _start,
    "set_aside_lock_file": _set_aside,
    "end_idle_sessions": _end_idle,
    "end_blocking_session": _end_blocker,
    "cancel_statement": _cancel,
    "free_space": _free,
}
