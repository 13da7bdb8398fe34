"""When silence means that a server is gone: several witnesses, and none of them may be ourselves.

One lost packet, one slow query or one busy second of our own process all look like a dead server
from a single place. A refusal is an answer and needs no patience; silence needs all witnesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from stanch.model.reach import Reach, ReachState

SILENT_STATES = frozenset({ReachState.TIMEOUT, ReachState.UNREACHABLE, ReachState.DNS_FAILURE})
UNHEARD_STATES = SILENT_STATES | {ReachState.HUNG}
"""Nobody said a word: neither the server, nor a machine that refuses in its stead."""

NOBODY_IN = SILENT_STATES | {
    ReachState.REFUSED,
    ReachState.HUNG,
    ReachState.STARTING_UP,
    ReachState.SHUTTING_DOWN,
}
"""How a login ends that says nothing of others' logins coming to an end."""


SUSPECTED_BEFORE_S = 1.15
"""A suspicion comes so long before the verdict: the time between two questions, and some."""

CONTRADICTED_MAX = 8
"""So many probes in a row of which nobody was heard are a verdict whatever knocks say: nobody could
work there."""

KNOCKS_LOST_MAX = 1
"""With three packets in ten lost both ways, no more of ten knocks are lost once in eighty times."""

NEAR_S = 0.02
"""Nearer than this all servers have the same patience, and share it."""

PATIENCES_MAX = 1024
"""A fastest round trip stays the same for many questions; so many are kept, of as many targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each kind of silence is borne, in seconds since the question was asked."""

    unheard_after_s: float
    """From here on other witnesses are asked if not even the kernel at the other end confirmed the
    question: by now it was sent at least twice."""
    slow_after_s: float
    """From here on they are asked in any case."""
    gone_after_s: float
    """From here on silence of all of them is a verdict, if that kernel has stayed silent, too."""
    silent_after_s: float
    """The same where it once confirmed, or where nobody can tell."""
    hung_after_s: float
    """From here on a server that accepts but never answers is hung."""
    knock_every_s: float = 0.1
    knocks_min: int = 10
    """With three packets in ten lost both ways, ten unanswered knocks happen once in 800; together
    with the retransmissions of the knocks, the open session and the probe, once in a million."""

    def silence_s(self, *, unheard: bool | None) -> float:
        """How long silence has to last, given what the kernels say about the question."""
        return self.gone_after_s if unheard is True else self.silent_after_s


def patience(round_trip_s: float) -> Patience:
    """Deadlines grow with the learned round trip, so that a far server is not a dead one."""
    return _patience(max(round_trip_s, NEAR_S))


@lru_cache(maxsize=PATIENCES_MAX)
def _patience(round_trip_s: float) -> Patience:
    return Patience(
        unheard_after_s=max(0.25, 12 * round_trip_s),
        slow_after_s=max(0.6, 12 * round_trip_s),
        gone_after_s=max(1.6, 40 * round_trip_s),
        silent_after_s=max(2.2, 40 * round_trip_s),
        hung_after_s=max(4.2, 60 * round_trip_s),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """What has been heard since the question was asked."""

    waited_s: float
    knocks: int = 0
    """Bare connection attempts that have had time to be answered and were not."""
    unheard: bool | None = None
    """The kernel at the other end has not confirmed the question; None where nobody can tell."""
    knock_answered: bool = False
    knocks_lost: int = 0
    """Bare connection attempts that were not answered for so long that a packet was lost, while a
    later one was answered: the queue of a hung server that is full answers nobody any more."""
    reach: Reach | None = None
    """The full probe, once it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knocked:
    """How the knocks beside a login ended."""

    answered: bool = False
    """At least one was."""
    silent: bool = False
    """At least one was not."""

    def contradicts(self, state: ReachState) -> bool:
        """Packets were lost, so that the login says little of the server.

        Who is gone answers no knock. The machine of a hung server answers each, or none any more
        once its queue is full.
        """
        if state in SILENT_STATES:
            return self.answered
        return state is ReachState.HUNG and self.answered and self.silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Probes that went the same way, one after the other."""

    state: ReachState | None = None
    times: int = 0
    """Since the last one that knocks beside it contradicted."""
    unheard: int = 0
    """So many probes in a row ended without a word from anybody, in whichever way."""
    since_s: float = 0.0
    """On the loop's clock, when the first of them began."""

    def joined_by(
        self, state: ReachState, *, began_s: float, contradicted: bool = False
    ) -> Agreement:
        """With one more probe; kinds of silence agree with each other."""
        same = state is self.state or {state, self.state} <= SILENT_STATES
        before = self if same else Agreement(since_s=began_s)
        return Agreement(
            state=state,
            times=0 if contradicted else before.times + 1,
            unheard=self.unheard + 1 if state in UNHEARD_STATES else 0,
            since_s=before.since_s,
        )

    def left_s(self, now_s: float, limits: Patience) -> float:
        """How much longer a silence has to last; zero where it has, or where somebody spoke."""
        if self.state not in SILENT_STATES:
            return 0.0
        return max(0.0, self.since_s + limits.silent_after_s - now_s)

    def enough(self, now_s: float, limits: Patience, *, after_loss: bool) -> bool:
        """Whether it is a verdict.

        A lost session and a probe are two witnesses; without one, two probes must agree. So must
        they where nobody said a word: a login that stalls is what lost packets look like. A name
        that finds no address and a network without a way are told by this machine in no time, so
        two of those in a row are one moment of our own: silence has to last as well. What knocks
        contradict is lost packets, until it has gone on for far too long.
        """
        needed = 1 if after_loss and self.state not in UNHEARD_STATES else 2
        agreed = self.times >= needed or self.unheard >= CONTRADICTED_MAX
        return agreed and self.left_s(now_s, limits) == 0.0


def suspicious(witnesses: Witnesses, limits: Patience) -> bool:
    """Silent for so long that it may become a verdict; told as a suspicion, before it is one.

    Early enough that of targets which fell silent together, and are asked up to a second apart,
    each is suspected before the first is called down.
    """
    early_s = limits.silence_s(unheard=witnesses.unheard) - SUSPECTED_BEFORE_S
    several = witnesses.unheard is True or witnesses.knocks >= 2
    return not witnesses.knock_answered and several and witnesses.waited_s >= early_s


class Hearing(StrEnum):
    """What the witnesses amount to so far."""

    WAIT = "wait"
    ALIVE = "alive"
    DOWN = "down"


def hear(witnesses: Witnesses, limits: Patience) -> Hearing:
    """Pure verdict over the witnesses heard so far."""
    reach = witnesses.reach
    if reach is not None and reach.state not in UNHEARD_STATES:
        # Somebody spoke: the server, or the machine that refuses in its stead.
        return Hearing.DOWN if reach.state is ReachState.REFUSED else Hearing.ALIVE
    if witnesses.knock_answered:
        # The kernel accepts in the place of a hung server. Where packets get lost, nobody confirmed
        # the question, other knocks stay unanswered, or a login does not get just that far.
        accepted = reach is not None and reach.state is ReachState.HUNG and not reach.spoke
        lossy = witnesses.unheard is True or witnesses.knocks_lost > KNOCKS_LOST_MAX
        hung = accepted and not lossy
        return Hearing.DOWN if hung and witnesses.waited_s >= limits.hung_after_s else Hearing.WAIT
    silent = (
        witnesses.waited_s >= limits.silence_s(unheard=witnesses.unheard)
        and witnesses.knocks >= limits.knocks_min
        and reach is not None
    )
    return Hearing.DOWN if silent else Hearing.WAIT
