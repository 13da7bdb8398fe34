"""Who of a cluster takes writes, since when, and whether their histories part."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cluster import ClusterSeen, Member
from stanch.diagnose.evidence import Evidence, is_lately, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.outside import Log, LogEvent
from stanch.model.shown import moment, shortened, span

PROMOTED_WITHIN_S = 3600.0


def itself(evidence: Evidence) -> Member | None:
    """What the watch knows of the server in question."""
    cluster = value_of(evidence.cluster)
    return cluster.of(evidence.target) if cluster else None


def is_primary(evidence: Evidence) -> bool | None:
    """Whether the server in question takes writes; None where nobody knows."""
    figures, own = value_of(evidence.figures), itself(evidence)
    if figures is not None and figures.value("in_recovery") is not None:
        return not figures.value("in_recovery")
    return own.primary if own is not None and own.is_fresh(evidence.at) else None


def identifier(evidence: Evidence) -> str:
    """System identifier of the server in question."""
    own = itself(evidence)
    return evidence.cluster_answering or (own.system_identifier if own else "")


def other_primaries(evidence: Evidence) -> tuple[Member, ...]:
    """Servers of the same cluster and the same origin that take writes just now."""
    cluster, known = value_of(evidence.cluster), identifier(evidence)
    if cluster is None or not known:
        return ()
    since = _primary_since(evidence)
    return tuple(
        member
        for member in cluster.others(evidence.target)
        if member.primary
        and member.is_fresh(evidence.at)
        and member.system_identifier == known
        # In a switchover the old primary's last word is of a moment before the new one's first.
        and (since is None or (member.seen_at is not None and member.seen_at > since))
        and _heard_after(evidence, member.promoted_at)
    )


def _heard_after(evidence: Evidence, promoted_at: datetime | None) -> bool:
    """The server in question has told of itself since another one was promoted: what one that is
    down said last is no word of a primary that lives on."""
    if promoted_at is None or value_of(evidence.figures) is not None:
        return True
    own = itself(evidence)
    return own is not None and own.seen_at is not None and own.seen_at > promoted_at


def _primary_since(evidence: Evidence) -> datetime | None:
    """When the server in question became a primary, as far as the watch or its log tells."""
    own, line = itself(evidence), promotion_line(evidence)
    if own is not None and own.promoted_at is not None:
        return own.promoted_at
    return line.at if line is not None else None


def promotion_line(evidence: Evidence) -> LogEvent | None:
    """The server's own word that somebody asked it to become a primary."""
    log = value_of(evidence.log)
    # The end of a restore to a point in time selects a timeline as well; nobody asked for that.
    asked = [
        event
        for event in (log.events if log else ())
        if event.kind == "promoted"
        and event.text.startswith("received promote request")
        and event.at is not None
        and (evidence.at - event.at).total_seconds() <= PROMOTED_WITHIN_S
    ]
    return asked[-1] if asked else None


def promoted(evidence: Evidence) -> tuple[str, datetime, Member | None] | None:
    """Who of two primaries was a standby until lately, since when, and the other one."""
    others, own, at = other_primaries(evidence), itself(evidence), _primary_since(evidence)
    if at is not None and is_primary(evidence):
        return evidence.target, at, others[0] if others else None
    late = [member for member in others if member.promoted_at is not None]
    newest = max(late, key=lambda m: (m.promoted_at, m.target), default=None)
    if newest is None or newest.promoted_at is None or not is_primary(evidence):
        return None
    return newest.target, newest.promoted_at, own


def _two(cluster: ClusterSeen, evidence: Evidence) -> YES_NO:
    if len(cluster.members) < 2:
        return ""
    writes = is_primary(evidence)
    if writes is None:
        return "whether it is in recovery was not told"
    if not writes:
        return False, "this server is a standby"
    if not identifier(evidence):
        return "its system identifier was not read"
    others = other_primaries(evidence)
    if not others:
        return False, "no other server of its cluster is seen to take writes"
    return True, f'"{others[0].target}" is not in recovery either, and of the same cluster'


def _apart(cluster: ClusterSeen, evidence: Evidence) -> YES_NO:
    others, own = other_primaries(evidence), itself(evidence)
    if not others or own is None:
        return ""
    if None in (own.timeline, others[0].timeline):
        return "their timelines were not read"
    said = f"timelines {own.timeline} here and {others[0].timeline} there"
    return own.timeline != others[0].timeline, said


def _beside(cluster: ClusterSeen, evidence: Evidence) -> YES_NO:
    if len(cluster.members) < 2:
        return ""
    found = promoted(evidence)
    if found is None:
        return False, "no server of its cluster was seen to be promoted while another took writes"
    name, at, other = found
    if other is None:
        return False, f'"{name}" was promoted, and no other server of its cluster takes writes'
    if other.running_since is None:
        return f'since when "{other.target}" runs was not told'
    said = f'"{name}" was promoted at {moment(at)}; "{other.target}" runs since '
    return other.running_since < at, f"{said}{moment(other.running_since)}"


def _asked(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    line = promotion_line(evidence)
    if line is None or line.at is None:
        return False, "no request to promote in the log of the last hour"
    age = span((evidence.at - line.at).total_seconds())
    return True, f"{line.text}, {age} ago", line.at


def _followed_lives(figures: Figures, evidence: Evidence) -> YES_NO:
    found = next(iter(figures.named("followed_answers")), None)
    if found is None or found.value is None or promotion_line(evidence) is None:
        return ""
    where = shortened(found.subject, 100)
    if not found.value:
        return False, f"nobody answers at {where}, which it followed before it was promoted"
    if figures.named("sender"):
        return False, f"{where}, which it followed, answers; somebody streams from this server"
    return True, f"{where}, which it followed until then, still answers, and does not follow it"


def diverged_line(evidence: Evidence) -> LogEvent | None:
    """What a server that follows another said when their histories did not meet."""
    log = value_of(evidence.log)
    found = [
        event
        for event in (log.events if log else ())
        # Whoever is logged in may make a server log any words; this nobody says who is.
        if event.kind == "timeline_diverged"
        and not event.who
        and event.at is not None
        and is_lately(evidence, event.at)
    ]
    return found[-1] if found else None


def _diverged(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    line = diverged_line(evidence)
    if line is None:
        return False, "no line about timelines that part"
    return True, line.text, line.at


two_primaries = clue_on(
    "two_primaries",
    "Does another server of the same cluster take writes as well?",
    lambda e: e.cluster,
    _two,
    reads=("in_recovery",),
)
timelines_apart = clue_on(
    "timelines_apart",
    "Do the two write on different timelines?",
    lambda e: e.cluster,
    _apart,
)
promoted_beside = clue_on(
    "promoted_beside_primary",
    "Was one of them promoted while the other ran all the time?",
    lambda e: e.cluster,
    _beside,
)
promotion_asked = clue_on(
    "promotion_asked",
    "Does the log show a request to promote (pg_promote(), pg_ctl promote)?",
    lambda e: e.log,
    _asked,
)
followed_lives = clue_on(
    "followed_lives",
    "Does the server that it followed until it was promoted still answer, and follow nobody here?",
    lambda e: e.figures,
    _followed_lives,
    reads=("followed_answers", "sender"),
)
histories_part = clue_on(
    "histories_part",
    "Does the log say that the timelines of this server and its primary do not meet?",
    lambda e: e.log,
    _diverged,
)
