"""A recovery is long when it has lasted, or at its pace will last, as long as people take for a
hang."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cases_host as c
import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.inside import Retention
from stanch.diagnose.outside import LogEvent, ServerProcesses
from stanch.diagnose.rank import diagnose
from stanch.model.diagnosis import Missing, Verdict

BEGAN = (
    w.line("starting", 16),
    w.line("interrupted_recovery", 16, "database system was interrupted; last known up at x"),
    w.line("redo_in_progress", 15, "redo starts at 1/00000028"),
)


def recovers(*lines: LogEvent, segment: str = "03", end: int = (1 << 32) + 0x20000000) -> Evidence:
    """After a quarter of a minute; the title says in which segment of 16 MiB it is."""
    return replace(
        c.RECOVERING,
        log=w.log(*BEGAN, *lines),
        processes=w.read(
            ServerProcesses(
                postmaster_pid=w.PID,
                children=4,
                recovering=f"postgres: startup recovering 0000000100000001000000{segment}",
            )
        ),
        retention=w.read(Retention(wal_end_bytes=end)),
    )


def test_a_recovery_that_will_be_long_is_told_before_it_was() -> None:
    diagnosis = diagnose(recovers())
    assert diagnosis.verdict is Verdict.CAUSE
    assert diagnosis.causes[0].id == "long_recovery"
    assert "3.2 MiB a second; 464.0 MiB are left, about 2 min" in diagnosis.summary
    assert diagnosis.summary.endswith("It does not hang: wait.")


def test_the_servers_own_word_of_how_far_it_is_counts_as_well() -> None:
    told = recovers(c.progress(5, 10, "1/02800000"), segment="02")
    assert diagnose(told).causes[0].id == "long_recovery"


def test_a_recovery_that_is_nearly_done_is_waited_for() -> None:
    diagnosis = diagnose(recovers(segment="1E"))
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert "long_recovery" not in [cause.id for cause in diagnosis.causes]


def test_in_its_first_seconds_nobody_can_say_how_long_a_recovery_will_be() -> None:
    early = replace(recovers(), at=w.ago(9))
    assert diagnose(early).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "differs",
    [
        {"retention": Missing(what="retention", reason="permission denied")},
        {
            "processes": w.read(
                ServerProcesses(postmaster_pid=w.PID, recovering="postgres: startup")
            )
        },
    ],
    ids=["where WAL ends is hidden", "the title names no segment"],
)
def test_where_the_pace_is_not_known_only_time_tells(differs: dict[str, object]) -> None:
    evidence = replace(recovers(), **differs)  # type: ignore[arg-type]
    assert diagnose(evidence).verdict is Verdict.UNKNOWN
    later = [replace(event, at=w.ago(46 + n)) for n, event in enumerate(reversed(BEGAN))]
    lasting = replace(evidence, log=w.log(*reversed(later)))
    assert diagnose(lasting).causes[0].id == "long_recovery"
