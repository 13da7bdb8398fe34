"""What ends with a running server, in one sentence, from the facts of a cause. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.shown import human_bytes, span
from stanch.respond.telling import named


def which(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    """The server and whom it is asked of."""
    directory = named(params.get("data_directory"), "its data directory")
    manager = named(cause.fact("manager"), "its manager")
    return f"the server of {directory} through {manager}"


def what_ends(cause: CauseFinding) -> str:
    """Sessions, standbys and prepared transactions, as far as they are known."""
    parts = [_sessions(cause)]
    if cause.fact("leads") is True:
        parts.append("it is the leader of its cluster")
    if (standbys := cause.fact("standbys")) is not None:
        parts.append(f"it streams to {named(standbys, 'nobody')}")
    prepared = cause.fact("prepared_transactions")
    if isinstance(prepared, int) and prepared > 0:
        parts.append(f"{prepared} prepared transactions stay, with their locks")
    age, size = cause.fact("checkpoint_age_s"), cause.fact("replay_bytes")
    if isinstance(age, int | float) and isinstance(size, int | float):
        wal = human_bytes(size)
        parts.append(f"its last checkpoint is {span(age)} old, with {wal} of WAL since")
    return "; ".join(parts)


def _sessions(cause: CauseFinding) -> str:
    count = cause.fact("client_backends")
    if not isinstance(count, int):
        return "all sessions end, and what they have not committed is lost"
    busy = cause.fact("active_sessions")
    active = f", {busy} of them at work" if isinstance(busy, int) else ""
    return f"{count} sessions end{active}, and what they have not committed is lost"
