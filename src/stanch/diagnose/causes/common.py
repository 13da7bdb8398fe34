"""Facts and small tellings that several causes share."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.clues.wire import BETWEEN
from stanch.diagnose.evidence import Evidence, is_open, postmaster_lives, value_of
from stanch.diagnose.inside import Chain
from stanch.facts.workings import Doing
from stanch.model.diagnosis import Scalar

Facts = tuple[tuple[str, Scalar], ...]

DOC = "https://www.postgresql.org/docs/current/"


def is_running(evidence: Evidence) -> bool | None:
    """A postmaster lives, or a server answers; None where that cannot be told, or not yet.

    A server that recovers or shuts down may be up or gone in a moment: its recovery can fail.
    """
    lives, reach = postmaster_lives(evidence), value_of(evidence.reach)
    if reach is not None and is_open(reach):
        return True
    if lives and reach is not None and reach.state in BETWEEN:
        return None
    return lives


LARGER = 1.5
"""So much more memory a container is proposed to have: one step, after which it is looked again."""
MIB = 2**20


def container_facts(evidence: Evidence) -> Facts:
    """The container exactly enough to act on this one and no other; empty where there is none."""
    keeper = value_of(evidence.service)
    if keeper is None or not keeper.container_id:
        return ()
    started, limit = keeper.started_at, keeper.memory_limit_bytes
    return (
        ("container_id", keeper.container_id),
        ("container_name", keeper.name),
        ("container_image_id", keeper.image_id),
        ("container_started_at", started.isoformat() if started else None),
        ("container_memory_bytes", limit),
        ("container_memory_larger_bytes", larger_bytes(limit) if limit else None),
    )


def larger_bytes(limit: int) -> int:
    """The next limit, in whole MiB."""
    return -(-int(limit * LARGER) // MIB) * MIB


def server_facts(evidence: Evidence) -> Facts:
    """What every action on a stopped server is bound to."""
    place, control = value_of(evidence.place), value_of(evidence.control)
    lock = value_of(evidence.lock_file)
    return (
        ("data_directory", place.data_directory if place else None),
        ("manager", place.manager if place else None),
        ("system_identifier", control.system_identifier if control else None),
        ("control_state", control.state if control else None),
        ("checkpoint_lsn", control.checkpoint_lsn if control else None),
        ("server_running", is_running(evidence)),
        ("lock_file_present", lock.present if lock else None),
        ("lock_pid", lock.pid if lock else None),
        ("lock_inode", lock.inode if lock else None),
        *container_facts(evidence),
    )


def running_server_facts(evidence: Evidence) -> Facts:
    """What every action that ends a running server is bound to, and what would end with it."""
    place, sessions = value_of(evidence.place), value_of(evidence.sessions)
    figures, patroni = value_of(evidence.figures), value_of(evidence.patroni)
    control = value_of(evidence.control)
    began = sessions.postmaster_start if sessions else None
    senders = ", ".join(one.subject for one in figures.named("sender")) if figures else None

    def count(name: str) -> int | None:
        value = figures.value(name) if figures else None
        return None if value is None else int(value)

    return (
        ("data_directory", place.data_directory if place else None),
        ("manager", place.manager if place else None),
        ("system_identifier", control.system_identifier if control else None),
        ("postmaster_start", began.isoformat() if began else None),
        ("client_backends", count("client_backends")),
        ("active_sessions", count("active_sessions")),
        ("standbys", senders or None),
        ("prepared_transactions", count("prepared_xacts")),
        ("checkpoint_age_s", count("checkpoint_age_s")),
        ("replay_bytes", count("replay_bytes")),
        ("leads", None if patroni is None else patroni.leads_here),
    )


CANCEL_FROM_S = 5.0
"""What ends by itself within this time is not worth to be cancelled."""


def identity_facts(pid: int, session: datetime | None, began: datetime | None) -> Facts:
    """A statement as `cancel_statement` is bound to it: its session, and when both began."""
    return (
        ("statement_pid", pid),
        ("statement_backend_start", session.isoformat() if session else None),
        ("statement_query_start", began.isoformat() if began else None),
    )


def running_facts(doing: Doing | None) -> Facts:
    """A running statement, exactly enough to cancel it and no other; nothing of a short one."""
    if doing is None or doing.state != "active" or (doing.oldest_query_s or 0.0) < CANCEL_FROM_S:
        return ()
    return (
        *identity_facts(doing.oldest_pid, doing.oldest_backend_start, doing.oldest_query_start),
        ("statement_runs_s", doing.oldest_query_s),
    )


def chain_facts(chain: Chain | None) -> Facts:
    """The root of a chain, exactly enough to end it and nobody else."""
    if chain is None:
        return ()
    start, xact, change = chain.root_backend_start, chain.root_xact_start, chain.root_state_change
    return (
        ("root_pid", chain.root_pid),
        ("root_backend_start", start.isoformat() if start else None),
        ("root_xact_start", xact.isoformat() if xact else None),
        ("root_state_change", change.isoformat() if change else None),
        ("root_application", chain.root_application),
        ("root_usename", chain.root_usename),
        ("root_datname", chain.root_datname),
        ("root_backend_type", chain.root_backend_type),
        ("prepared_gid", chain.prepared_gid or None),
        ("waiters", chain.waiters),
        ("others_wait", chain.waiters > 0),
        ("oldest_wait_s", round(chain.oldest_wait_s, 1)),
        ("state", chain.root_state),
    )


def root_name(chain: Chain) -> str:
    """The root as a person would point at it."""
    if not chain.root_pid:
        return f'the prepared transaction "{chain.prepared_gid}"'
    who = f'application "{chain.root_application}", ' if chain.root_application else ""
    return f'session {chain.root_pid} ({who}role "{chain.root_usename}")'
