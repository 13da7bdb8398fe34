"""What a fresh connection met."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.cause import Answer, Clue
from stanch.diagnose.evidence import Evidence, is_open, value_of
from stanch.model.reach import Reach, ReachState

SILENT = frozenset({ReachState.TIMEOUT, ReachState.UNREACHABLE})
BETWEEN = frozenset({ReachState.STARTING_UP, ReachState.SHUTTING_DOWN})


def _says(seen: Reach) -> str:
    layer = seen.failed_layer
    detail = f": {layer.detail}" if layer and layer.detail else ""
    return f"a fresh connection ends as {seen.state}{detail}"


def _refused(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state is ReachState.REFUSED and not is_open(seen), _says(seen)


def _answers(seen: Reach, _evidence: Evidence) -> YES_NO:
    return is_open(seen), _says(seen)


def _unanswered(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state is ReachState.HUNG or seen.state in SILENT, _says(seen)


def _unresolved(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state is ReachState.DNS_FAILURE, _says(seen)


def _not_let_in(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state is ReachState.AUTH_FAILED, _says(seen)


def _silent(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state in SILENT, _says(seen)


def _not_serving_yet(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state in BETWEEN, _says(seen)


def _leaving(seen: Reach, _evidence: Evidence) -> YES_NO:
    return seen.state is ReachState.SHUTTING_DOWN, _says(seen)


def _full(seen: Reach, _evidence: Evidence) -> YES_NO:
    if seen.state is ReachState.TOO_MANY_CLIENTS:
        return True, _says(seen)
    return (False, _says(seen)) if seen.answers else ""


def cluster_expected(evidence: Evidence) -> str:
    """Which one is meant: as it is watched, else that of the data directory that somebody named."""
    control = None if _is_watched(evidence) else value_of(evidence.control)
    return control.system_identifier if control else evidence.cluster_expected


def cluster_answering(evidence: Evidence) -> str:
    """Which one it is that takes sessions; empty: none does, or it did not say."""
    figures = None if _is_watched(evidence) else value_of(evidence.figures)
    told = figures.of("system_identifier") if figures else None
    return told.detail if told else evidence.cluster_answering


def _is_watched(evidence: Evidence) -> bool:
    """Whoever watches a cluster knows which one it is, or does not know it yet."""
    return bool(evidence.cluster_expected or evidence.cluster_answering)


def _other_cluster(evidence: Evidence) -> Answer:
    expected, answering = cluster_expected(evidence), cluster_answering(evidence)
    if not expected or not answering:
        return Answer(yes=None, text="")
    if answering == expected:
        return Answer(yes=False, text=f"the cluster that is meant answers ({answering})")
    return Answer(
        yes=True,
        text=f"the system identifier of who answers is {answering}, and that of the cluster "
        f"that is meant is {expected}",
    )


other_cluster = Clue(
    id="other_cluster",
    question="Does another database cluster answer at this address?",
    ask=_other_cluster,
    reads=("system_identifier",),
)


def _no_hot_standby(seen: Reach, _evidence: Evidence) -> YES_NO:
    layer = seen.failed_layer
    # "not yet accepting connections" is a standby on its way; 13 has one sentence for both.
    refuses = layer is not None and "is not accepting connections" in layer.detail
    return seen.state is ReachState.STARTING_UP and refuses, _says(seen)


no_hot_standby = clue_on(
    "no_hot_standby",
    "Does the server say that hot standby is switched off?",
    lambda e: e.reach,
    _no_hot_standby,
)
refused = clue_on("refused", "Is a fresh connection refused at once?", lambda e: e.reach, _refused)
answers = clue_on(
    "answers", "Does a running server answer a fresh connection?", lambda e: e.reach, _answers
)
silent = clue_on(
    "silent",
    "Is there no way to the server at all, or no answer to it?",
    lambda e: e.reach,
    _silent,
)
unanswered = clue_on(
    "unanswered",
    "Is a fresh connection left without any answer?",
    lambda e: e.reach,
    _unanswered,
)
unresolved = clue_on(
    "unresolved",
    "Is there no address for the server's name?",
    lambda e: e.reach,
    _unresolved,
)
not_let_in = clue_on(
    "not_let_in",
    "Is the watch's own role turned away (28P01, 28000)?",
    lambda e: e.reach,
    _not_let_in,
)
between = clue_on(
    "between",
    "Does the server say that it is starting up or shutting down?",
    lambda e: e.reach,
    _not_serving_yet,
)
leaving = clue_on(
    "leaving",
    "Does the server say that it is shutting down?",
    lambda e: e.reach,
    _leaving,
)
turned_away = clue_on(
    "turned_away",
    "Is a fresh login turned away because all connections are taken (53300)?",
    lambda e: e.reach,
    _full,
)
