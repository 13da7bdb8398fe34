"""The row of the capability table about a standby: by what its primary is known."""

from __future__ import annotations

from stanch.adapters.postgres.privileges import Privileges
from stanch.service.readiness.machine_row import Judged

WITH_ITS_PRIMARY = "tell what befalls it together with its primary"


def judge_cluster(seen: Privileges, cluster: str) -> Judged:
    """Nobody is seen to send to a standby that replays from an archive; the policy has to say it.

    `cluster` is the one that the policy puts it into; empty: none.
    """
    if cluster:
        return Judged(can=True, why=f"the policy has it in the cluster {cluster}", change="")
    if seen.receives:
        why = "it receives WAL by a stream, and where that comes from is seen"
        return Judged(can=True, why=why, change="")
    why = "it is a standby that receives no stream now, so nobody can see whose: one that replays "
    return Judged(
        can=False,
        why=f"{why}from an archive is never seen to be anybody's",
        change="Name it and its primary under `clusters`: {NAME: {targets: [PRIMARY, STANDBY]}}.",
    )
