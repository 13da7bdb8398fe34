"""What was read, in lines for people: the telling part first, because a timeline cuts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stanch.facts.blocking import BlockingChain
from stanch.facts.controldata import ControlData
from stanch.model.diagnosis import Missing
from stanch.model.host import DataDirectoryProcesses, LogChunk, Memory, Volume
from stanch.model.shown import human_bytes, moment, span
from stanch.model.vitals import (
    ArchiverVitals,
    SenderVitals,
    SessionGroup,
    SlotVitals,
    StandbyVitals,
    Vitals,
)
from stanch.policy.quoting import printable
from stanch.respond.reading.run import LockReading

Told = Iterable[str]

ROWS_MAX = 8
NAME_CHARS_MAX = 60
LOG_LINES_MAX = 12
LOG_CHARS_MAX = 200
OWN_WORDS = re.compile(r"\b(LOG|FATAL|PANIC):\s")
"""What the server says of itself; an ERROR repeats what a client sent, with its data."""
CLIENTS_WORDS = re.compile(r"\b(statement|execute|parse|bind|duration|parameters)\b.*:")


def sessions(vitals: Vitals) -> Told:
    """Connections in use, and who has them, most first."""
    if vitals.sessions is None:
        yield "the role may not see sessions (GRANT pg_monitor)"
        return
    usable = vitals.settings.usable_connections
    yield f"{vitals.sessions.client_backends} of {usable} connections are in use"
    groups = sorted(vitals.sessions.groups, key=lambda group: -group.sessions)
    yield from map(group_line, groups[:ROWS_MAX])


def group_line(group: SessionGroup) -> str:
    """Sessions that look alike from outside."""
    longest = group.oldest_state_age_s
    since = "" if longest is None else f", the longest for {span(longest)}"
    return (
        f"{group.sessions} of {_name(group.application_name)} ({_name(group.usename)} in "
        f"{_name(group.datname)}): {_name(group.state)}{since}"
    )


def blocking(chains: Sequence[BlockingChain]) -> Told:
    """Who is waited for, by how many, for how long."""
    if not chains:
        yield "nobody waits for anybody"
    for chain in chains[:ROWS_MAX]:
        behind = f"{len(chain.waiters)} wait, the first for {span(chain.oldest_wait_s)}"
        if chain.prepared:
            yield f"a prepared transaction: {behind}"
        elif chain.cycle:
            yield f"a circle of {', '.join(map(str, chain.cycle))}: {behind}"
        elif chain.root is None:
            yield f"pid {chain.root_pid}, which has gone: {behind}"
        else:
            root = chain.root
            since = span(root.xact_age_s or 0.0)
            yield (
                f"pid {root.pid} of {_name(root.application_name)} ({_name(root.usename)}), "
                f"{_name(root.state)} in a transaction of {since}: {behind}"
            )


def slots(found: Sequence[SlotVitals]) -> Told:
    """Replication slots, those that hold most WAL first."""
    if not found:
        yield "there are no replication slots"
    for slot in sorted(found, key=lambda one: -(one.retained_bytes or 0))[:ROWS_MAX]:
        held = "nothing" if slot.retained_bytes is None else human_bytes(slot.retained_bytes)
        since = f" since {moment(slot.inactive_since)}" if slot.inactive_since else ""
        active = "in use" if slot.active else f"not in use{since}"
        state = f", {slot.wal_status}" if slot.wal_status else ""
        yield f"{_name(slot.name)} ({slot.slot_type}) is {active} and holds {held}{state}"


def archiver(found: ArchiverVitals | None) -> Told:
    """What was archived last, and what failed."""
    if found is None or not found.archives:
        yield "this server archives nothing"
        return
    last = found.last_archived_at
    archived = "never" if last is None else f"last at {moment(last)}"
    yield f"{found.archived_count} files were archived, {archived}"
    if found.last_failed_at is not None:
        failed = f"{found.failed_count} tries failed, last at {moment(found.last_failed_at)}"
        yield f"{failed}, with {_name(found.last_failed_wal or '?')}"


def replication(senders: Sequence[SenderVitals], standby: StandbyVitals | None) -> Told:
    """How far standbys are, and what this server receives if it is one."""
    if standby is not None:
        paused = ", replay is paused" if standby.replay_paused else ""
        yield f"a standby: its receiver is {standby.receiver_status or 'not running'}{paused}"
    elif not senders:
        yield "nobody receives from this server"
    for one in senders[:ROWS_MAX]:
        behind = "?" if one.replay_lag_bytes is None else human_bytes(one.replay_lag_bytes)
        state = f"{one.state or 'hidden'}, {one.sync_state or 'hidden'}"
        yield f"{_name(one.application_name or '?')}: {state}, {behind} behind in replay"


def volumes(found: Sequence[Volume | Missing]) -> Told:
    """Room for data, WAL, log and tablespaces."""
    for one in found:
        if isinstance(one, Missing):
            yield f"{one.what}: not read ({one.reason})"
            continue
        share = 100 * one.free_bytes / one.total_bytes if one.total_bytes else 0.0
        room = (
            f"{human_bytes(one.free_bytes)} of {human_bytes(one.total_bytes)} free, {share:.0f} %"
        )
        inodes = "" if one.inodes_free is None else f", {one.inodes_free} inodes free"
        read_only = ", READ-ONLY" if one.read_only else ""
        yield f"{one.use.value} on {_name(one.mount_point)}: {room}{inodes}{read_only}"


def memory(found: Memory) -> Told:
    yield f"{human_bytes(found.available_bytes)} of {human_bytes(found.total_bytes)} available"
    if found.cgroup_limit_bytes is not None and found.cgroup_used_bytes is not None:
        used = found.cgroup_used_bytes - found.cgroup_cache_bytes
        limit = human_bytes(found.cgroup_limit_bytes)
        yield f"its control group uses {human_bytes(max(0, used))} of {limit}, without page cache"


def control(found: ControlData) -> Told:
    """How the server last ended, and where recovery begins."""
    wrong = " (the file does not match its checksum)" if found.crc_wrong else ""
    state = "not told" if found.state is None else found.state.value
    yield f"state: {state}{wrong}"
    yield f"latest checkpoint {found.checkpoint_lsn or '?'} at {found.checkpoint_at or '?'}"
    yield f"recovery begins at {found.redo_lsn or '?'} in {found.redo_wal_file or '?'}"
    yield f"system identifier {found.system_identifier or '?'}, timeline {found.timeline_id or '?'}"


def lock_file(found: LockReading | None) -> Told:
    if found is None:
        yield "there is no postmaster.pid"
        return
    yield f"postmaster.pid: {found.verdict.state.value}, PID {found.lock.pid or '?'}"
    yield f"inode {found.inode}, SHA-256 {found.sha256}"


def processes(found: DataDirectoryProcesses) -> Told:
    """Who is at work in the data directory."""
    if found.postmaster is None:
        yield "no postmaster runs"
    else:
        begun = found.postmaster.started_at
        since = "" if begun is None else f" since {moment(begun)}"
        yield f"postmaster {found.postmaster.pid} runs{since}, {len(found.members)} children"
    for one in found.orphans[:ROWS_MAX]:
        yield f"process {one.pid} outlived its postmaster: {_name(one.title)}"
    if found.unreadable:
        yield f"{found.unreadable} processes could not be looked at"


def log(found: LogChunk) -> Told:
    """What the server last said of itself, newest first, without what clients sent."""
    text = found.content.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if OWN_WORDS.search(line) and not CLIENTS_WORDS.search(line)]
    if not kept:
        yield f"no word of the server's own among the last {len(lines)} lines"
    for line in reversed(kept[-LOG_LINES_MAX:]):
        yield printable(line)[:LOG_CHARS_MAX]


def _name(text: str) -> str:
    return printable(text)[:NAME_CHARS_MAX] if text else "unnamed"
