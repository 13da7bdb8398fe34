"""The section about replication, seen from a primary or from a standby."""

from __future__ import annotations

from stanch.facts.health.replication import Following, Receiver, ReplicationRead, Slot
from stanch.model.shown import span
from stanch.watch.health.report import Judgement, Line, Section, judged, size

LAG_LOOK_S, LAG_DANGER_S = 30.0, 300.0
LAG_LOOK_BYTES = 512 * 2**20
RETAINED_LOOK_BYTES = 2**30
HEARD_LOOK_S = 60.0
UNLIMITED = Line(
    what="max_slot_wal_keep_size",
    value="unlimited",
    judgement=Judgement.LOOK,
    why="One abandoned slot can fill the volume and stop the server.",
    do="Set it to what the volume can spare.",
)
SLOT_GONE = {"unreserved": "may be lost at the next checkpoint", "lost": "has lost its WAL"}


def replication_section(read: ReplicationRead, *, slot_limit: str | None) -> Section:
    """Receivers, slots, and of a standby whom it follows.

    `slot_limit` is max_slot_wal_keep_size; `-1` is no limit.
    """
    lines = [_receiver(one) for one in read.receivers] + [_slot(one) for one in read.slots]
    if read.slots and slot_limit == "-1":
        lines.append(UNLIMITED)
    if read.following is not None:
        lines.insert(0, _following(read.following))
    if not lines:
        lines = [Line(what="receivers", value="none: a copy of this server is made nowhere")]
    return Section(id="replication", title="Replication", lines=tuple(lines))


def _receiver(one: Receiver) -> Line:
    behind = one.replay_lag_bytes or 0
    judgement = judged(one.replay_lag_s or 0.0, look=LAG_LOOK_S, danger=LAG_DANGER_S)
    if judgement is Judgement.OK and one.replays and behind >= LAG_LOOK_BYTES:
        judgement = Judgement.LOOK
    lag = "not measured" if one.replay_lag_s is None else span(one.replay_lag_s)
    value = f"{one.state}, {one.sync_state}"
    if one.replays:
        value += f", replays {size(behind)} behind (lag {lag})"
    else:
        value += ", stores WAL without replaying it"
    bad = judgement is not Judgement.OK
    return Line(
        what=f"{one.name or '(no name)'} {one.address}".strip(),
        value=value,
        judgement=judgement,
        why="Reads there are old, and a failover would wait or lose so much." if bad else "",
        do="Compare sent with replayed: the network, its disk, or a query there that holds replay."
        if bad
        else "",
        figures={"replay_lag_s": one.replay_lag_s, "replay_lag_bytes": one.replay_lag_bytes},
    )


def _slot(one: Slot) -> Line:
    retained = one.retained_bytes or 0
    gone = SLOT_GONE.get(one.wal_status, "")
    why = do = ""
    judgement = Judgement.OK
    if gone:
        judgement = Judgement.DANGER
        why = f"It {gone}; whoever reads it has to be built anew."
        do = "Let its reader catch up at once, or drop the slot and make the reader anew."
    elif retained >= RETAINED_LOOK_BYTES:
        judgement = Judgement.LOOK if one.active else Judgement.DANGER
        why = "WAL is kept for it until the volume is full." + (
            "" if one.active else " Nobody reads it."
        )
        do = "Start its reader; if it is no longer wanted, SELECT pg_drop_replication_slot(…)."
    elif not one.active:
        judgement = Judgement.LOOK
        why = "Nobody reads it, and WAL is kept for it from now on."
        do = "Start its reader; if it is no longer wanted, SELECT pg_drop_replication_slot(…)."
    left = "" if one.safe_bytes is None else f", lost after {size(max(0, one.safe_bytes))} more"
    state = "active" if one.active else "inactive"
    return Line(
        what=f"slot {one.name}",
        value=f"{one.kind}, {state}, keeps {size(retained)}{left}",
        judgement=judgement,
        why=why,
        do=do,
        figures={
            "retained_bytes": one.retained_bytes,
            "safe_bytes": one.safe_bytes,
            "active": one.active,
        },
    )


def _following(one: Following) -> Line:
    """Idle primaries send no transactions, so age counts only while there is more to replay."""
    behind_s = 0.0 if one.replayed_all else one.replay_age_s or 0.0
    figures = {
        "replay_age_s": one.replay_age_s,
        "heard_age_s": one.heard_age_s,
        "replayed_all": one.replayed_all,
        "paused": one.paused,
    }
    if one.paused:
        return Line(
            what="this standby",
            value="replay is paused",
            judgement=Judgement.DANGER,
            why="It falls behind for as long as this lasts, and cannot be promoted up to date.",
            do="SELECT pg_wal_replay_resume(); once whoever paused it agrees.",
            figures=figures,
        )
    if not one.status:
        return Line(
            what="this standby",
            value="receives nothing over the network",
            judgement=Judgement.LOOK,
            why="It follows an archive, or it has lost its primary.",
            do="Is primary_conninfo right and the primary up? Is a restore under way?",
            figures=figures,
        )
    silent = (one.heard_age_s or 0.0) >= HEARD_LOOK_S
    judgement = judged(behind_s, look=LAG_LOOK_S, danger=LAG_DANGER_S)
    if silent and judgement is Judgement.OK:
        judgement = Judgement.LOOK
    heard = "" if one.heard_age_s is None else f", heard {span(one.heard_age_s)} ago"
    value = "has replayed all it has" if one.replayed_all else f"is {span(behind_s)} behind"
    bad = judgement is not Judgement.OK
    return Line(
        what=f"this standby of {one.host or 'its primary'}",
        value=f"{value}{heard}",
        judgement=judgement,
        why="Reads here are old, and promoting it would lose so much." if bad else "",
        do="Look at the network to its primary, its disk, and long queries here." if bad else "",
        figures=figures,
    )
