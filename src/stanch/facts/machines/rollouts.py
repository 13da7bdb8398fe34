"""What a Kubernetes API server tells of a workload's revisions, and of what happened to objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.facts.machines.json_values import Object, moment, number, objects, part, text, whole
from stanch.model.changes import Change, ItemKind
from stanch.model.shown import shortened

SOURCE = "kubernetes"
HISTORY = timedelta(hours=24)
"""What was rolled out before this is no news to anybody."""
TEXT_CHARS_MAX = 300
EVENTS_MAX = 50
REVISION = "deployment.kubernetes.io/revision"
CAUSE = "kubernetes.io/change-cause"

TELLING = frozenset(
    {
        "Killing",
        "Preempted",
        "Preempting",
        "ScalingReplicaSet",
        "SuccessfulDelete",
        "TaintManagerEviction",
        "Evicted",
    }
)
"""Events of the ordinary sort that change something; warnings are told whatever they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision of a workload."""

    uid: str
    number: int
    made_at: datetime
    text: str
    """Its images, and why it was made where somebody wrote that down."""


def selector_of(workload: Object) -> str:
    """The labels of what belongs to a workload, as a selector."""
    labels = part(part(part(workload, "spec"), "selector"), "matchLabels")
    return ",".join(f"{name}={text(labels, name)}" for name in sorted(labels))


def revisions_in(listed: Object, workload: Object) -> tuple[Revision, ...]:
    """The ReplicaSets or ControllerRevisions that a workload owns, oldest revision first."""
    uid = text(part(workload, "metadata"), "uid")
    found = [
        revision
        for one in objects(listed, "items")
        if any(text(o, "uid") == uid for o in objects(part(one, "metadata"), "ownerReferences"))
        if (revision := _revision(one)) is not None
    ]
    return tuple(sorted(found, key=lambda revision: revision.number))


def _revision(one: Object) -> Revision | None:
    meta = part(one, "metadata")
    notes = part(meta, "annotations")
    said = text(notes, REVISION)
    count = whole(one, "revision") or (int(said) if said.isdecimal() and len(said) < 10 else 0)
    made_at = moment(meta, "creationTimestamp")
    if not count or made_at is None:
        return None
    # A ControllerRevision has its template under `data`.
    holder = part(one, "data") if "data" in one else one
    template = part(part(part(holder, "spec"), "template"), "spec")
    images = ", ".join(text(c, "image") for c in objects(template, "containers"))
    cause = text(notes, CAUSE)
    words = f"revision {count}, {images}" + (f" ({cause})" if cause else "")
    return Revision(
        uid=text(meta, "uid"),
        number=count,
        made_at=made_at,
        text=shortened(words, TEXT_CHARS_MAX),
    )


def rollouts(workload: str, revisions: Sequence[Revision], *, now: datetime) -> list[Change]:
    """The newest revisions as changes; `workload` such as `deployment/checkout`."""
    found: list[Change] = []
    before: Revision | None = None
    for revision in revisions:
        # A rollback makes an old one the newest; when, it does not say.
        again = before is not None and revision.made_at < before.made_at
        after = before.made_at if before is not None and again else None
        at = now if again else min(revision.made_at, now)
        if now - at <= HISTORY:
            found.append(
                Change(
                    at=at,
                    since=after,
                    kind=ItemKind.ROLLOUT,
                    what=workload,
                    before=before.text if before is not None else None,
                    after=revision.text,
                    source=SOURCE,
                    how="an earlier revision again" if again else "",
                    key=f"{workload}/{revision.uid}/{revision.number}",
                )
            )
        before = revision
    return found


def events(listed: Object, *, now: datetime) -> list[Change]:
    """What happened to one object and is worth telling, the newest of it."""
    found = [change for one in objects(listed, "items") if (change := _event(one, now))]
    return sorted(found, key=lambda change: change.at)[-EVENTS_MAX:]


def _event(one: Object, now: datetime) -> Change | None:
    reason = text(one, "reason")
    if text(one, "type") != "Warning" and reason not in TELLING:
        return None
    series, meta = part(one, "series"), part(one, "metadata")
    at = (
        moment(series, "lastObservedTime")
        or moment(one, "lastTimestamp")
        or moment(one, "eventTime")
        or moment(meta, "creationTimestamp")
    )
    if at is None or now - at > HISTORY:
        return None
    about = part(one, "involvedObject")
    return Change(
        at=min(at, now),
        kind=ItemKind.EVENT,
        what=f"{text(about, 'kind').casefold()} {text(about, 'name')}",
        before=None,
        after=None,
        source=SOURCE,
        how=shortened(f"{reason}: {text(one, 'message')}", TEXT_CHARS_MAX),
        times=int(number(series, "count") or number(one, "count") or 1),
        key=text(meta, "uid"),
    )


def named(workload: str) -> tuple[str, str]:
    """The two parts of `deployment/checkout`."""
    sort, _, name = workload.partition("/")
    return sort, name
