"""Who stands at the head of the queue: the roots of the graph of waiting sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stanch.facts.sessions import WaitingSession

PREPARED_TRANSACTION_PID = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingChain:
    """One root with everybody who waits for it, directly or through others.

    A root blocks at least one session and waits for no lock itself. Three roots have no single
    session behind them: a prepared transaction (`root_pid` 0), a session that was gone by the time
    its row was read (`root` None), and a circle of waits (`cycle` not empty), which the server's
    own deadlock check ends.
    """

    root_pid: int
    root: WaitingSession | None
    waiters: tuple[int, ...]
    """Pids, longest wait first."""
    oldest_wait_s: float
    cycle: tuple[int, ...] = ()

    @property
    def prepared(self) -> bool:
        """The root is a prepared transaction, found in pg_prepared_xacts."""
        return self.root_pid == PREPARED_TRANSACTION_PID


def blocking_roots(rows: Sequence[WaitingSession]) -> tuple[BlockingChain, ...]:
    """Every root, the one that holds up most sessions first.

    A waiter behind two roots counts for both: ending one of them would not free it. A session that
    waits but was not looked up is never a root.
    """
    sessions = {row.pid: row for row in rows}
    waits_for = {row.pid: tuple(dict.fromkeys(row.blocked_by or ())) for row in rows if row.waits}
    blocked: dict[int, set[int]] = {}
    for pid, blockers in waits_for.items():
        for blocker in blockers:
            if blocker != pid:
                blocked.setdefault(blocker, set()).add(pid)
    roots = [pid for pid in blocked if pid not in waits_for]
    chains = [_chain(root, (), sessions=sessions, blocked=blocked) for root in roots]
    chains += [
        _chain(min(cycle), cycle, sessions=sessions, blocked=blocked)
        for cycle in _cycles(waits_for, blocked)
    ]
    return tuple(sorted(chains, key=lambda c: (-len(c.waiters), -c.oldest_wait_s, c.root_pid)))


def _chain(
    root: int,
    cycle: tuple[int, ...],
    *,
    sessions: Mapping[int, WaitingSession],
    blocked: Mapping[int, set[int]],
) -> BlockingChain:
    behind = _reachable((root, *cycle), blocked) - {root}
    ages = {pid: sessions[pid].wait_age_s or 0.0 for pid in behind}
    return BlockingChain(
        root_pid=root,
        root=sessions.get(root),
        waiters=tuple(sorted(behind, key=lambda pid: (-ages[pid], pid))),
        oldest_wait_s=max(ages.values(), default=0.0),
        cycle=cycle,
    )


def _reachable(start: Sequence[int], edges: Mapping[int, set[int]]) -> set[int]:
    seen: set[int] = set()
    stack = list(start)
    while stack:
        pid = stack.pop()
        if pid not in seen:
            seen.add(pid)
            stack.extend(edges.get(pid, ()))
    return seen


def _cycles(
    waits_for: Mapping[int, tuple[int, ...]], blocked: Mapping[int, set[int]]
) -> list[tuple[int, ...]]:
    """Circles of waits. A circle stands at the head even where it also waits for a root."""
    # A queue of n waiters has about n² edges, so what cannot be in a circle is peeled off first.
    blockers = {pid: set(found) - {pid} for pid, found in waits_for.items()}
    left = _peeled(_peeled(set(blockers), blockers, blocked), blocked, blockers)
    ahead = {pid: blockers[pid] & left for pid in left}
    behind = {pid: blocked.get(pid, set()) & left for pid in left}
    found: list[tuple[int, ...]] = []
    while left:
        pid = min(left)
        circle = _reachable((pid,), ahead) & _reachable((pid,), behind)
        left -= circle
        if len(circle) > 1:
            found.append(tuple(sorted(circle)))
    return found


def _peeled(
    left: set[int], ahead: Mapping[int, set[int]], behind: Mapping[int, set[int]]
) -> set[int]:
    """What remains when, again and again, whoever has nobody ahead leaves."""
    count = {pid: len(ahead.get(pid, set()) & left) for pid in left}
    leaving = [pid for pid, n in count.items() if n == 0]
    remaining = set(left)
    while leaving:
        pid = leaving.pop()
        remaining.discard(pid)
        for follower in behind.get(pid, set()) & remaining:
            count[follower] -= 1
            if count[follower] == 0:
                leaving.append(follower)
    return remaining
