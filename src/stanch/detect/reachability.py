"""The rules that need several witnesses: whether a server serves, and whether it can be watched."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.detect.tracker import Condition
from stanch.model.reach import STATE_MEANINGS, Reach, ReachState
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind

DOWN = frozenset(
    {
        ReachState.REFUSED,
        ReachState.TIMEOUT,
        ReachState.UNREACHABLE,
        ReachState.DNS_FAILURE,
        ReachState.STARTING_UP,
        ReachState.SHUTTING_DOWN,
        ReachState.HUNG,
    }
)
"""States in which no application gets served."""

NOT_LET_IN = frozenset(
    {
        ReachState.AUTH_FAILED,
        ReachState.NO_SUCH_DATABASE,
        ReachState.TLS_FAILURE,
        ReachState.CONNECTION_LIMIT,
        ReachState.TURNED_AWAY,
    }
)
"""The server answers, but not to us: we cannot tell how it is."""

UNWATCHED_HOLD_S = 10.0

_SERVES = Condition(
    kind=SymptomKind.SERVER_DOWN,
    bad=False,
    detail="answers over an open session and lets new ones in",
)
_LETS_NOBODY_IN = Condition(kind=SymptomKind.SERVER_DOWN, bad=None, detail=_SERVES.detail)
_WATCHED = Condition(kind=SymptomKind.UNWATCHED, bad=False, detail="lets the watch in")


def reachability(sample: Sample) -> Iterator[Condition]:
    """What a sample says about being served and being watched."""
    if sample.reach is not None:
        yield from _reached(sample, sample.reach)
    if sample.unread:
        yield Condition(
            kind=SymptomKind.UNWATCHED,
            # Where nobody gets in, that is the trouble, and this follows from it.
            bad=True if sample.lets_in else None,
            detail=f"the watch cannot read it: {sample.unread}",
            since=sample.lost_at,
            hold_s=UNWATCHED_HOLD_S,
        )
    if sample.vitals is not None:
        # An open session says nothing about a server that lets nobody new in.
        yield _SERVES if sample.lets_in else _LETS_NOBODY_IN
        yield _WATCHED if sample.refusal is None else _refused(sample.refusal)


def _told(reach: Reach) -> str:
    failed = reach.failed_layer
    told = f"{reach.state.value}: {STATE_MEANINGS[reach.state].sentence}"
    return f"{told} ({failed.name}: {failed.detail})" if failed and failed.detail else told


def _refused(refusal: Reach) -> Condition:
    """The open session goes on, and its next one would not be let in."""
    return Condition(
        kind=SymptomKind.UNWATCHED,
        bad=True,
        detail=f"an old session goes on, a new one is refused: {_told(refusal)}",
        hold_s=UNWATCHED_HOLD_S,
    )


def _reached(sample: Sample, reach: Reach) -> Iterator[Condition]:
    detail = _told(reach)
    down = reach.state in DOWN
    yield Condition(
        kind=SymptomKind.SERVER_DOWN,
        # An unconfirmed silence is no verdict; an answer always is one.
        bad=None if down and not sample.confirmed else down,
        detail=detail,
        since=sample.lost_at,
    )
    if reach.state is ReachState.TOO_MANY_CLIENTS:
        yield Condition(
            kind=SymptomKind.CONNECTIONS_EXHAUSTED,
            bad=True if sample.confirmed else None,
            detail=detail,
            since=sample.lost_at,
        )
    if not sample.unread:
        yield Condition(
            kind=SymptomKind.UNWATCHED,
            bad=None if down else reach.state in NOT_LET_IN,
            detail=detail,
            hold_s=UNWATCHED_HOLD_S,
        )
