"""How the rules work together: what is told once, what is gone, and what a sentence says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from samplings import T0, TARGET, Watched, seen, target, told, vitals, volume
from stanch.detect.in_force import in_force, plan_for
from stanch.detect.plan import READ_FROM_VITALS
from stanch.detect.tracker import Track
from stanch.model.host import VolumeUse
from stanch.model.readings import Reading
from stanch.model.rules import RuleChange
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind
from stanch.model.vitals import SlotVitals
from stanch.policy.inheriting import inherit
from stanch.policy.policy import Tier
from stanch.policy.rules import declared_rules
from timelines import POLICY

MB = 2**20


def slots(*retained: tuple[str, int]) -> tuple[SlotVitals, ...]:
    return tuple(
        SlotVitals(name=name, slot_type="physical", active=True, retained_bytes=size)
        for name, size in retained
    )


def filling(*, use: VolumeUse, names: tuple[SlotVitals, ...] = ()) -> Watched:
    """Two gigabytes in a quarter of an hour, of five that are free."""
    watched = Watched()
    for t in range(0, 900, 5):
        free = volume(free_mib=5000 - 2.2 * t, total_mib=60_000)
        watched.look(t, seen(vitals=vitals(slots=names), volumes=(replace(free, use=use),)))
    return watched


def test_a_forecast_says_when_and_names_the_slot_that_retains_most() -> None:
    names = slots(("small", 90 * MB), ("reports", 4096 * MB))
    watched = filling(use=VolumeUse.WAL, names=names)
    [symptom] = [s for s in watched.symptoms if s.kind is SymptomKind.DISK_FILLING]
    assert symptom.detail.startswith("/data full in ")
    assert "min" in symptom.detail
    assert "oldest retainer: slot reports (4 GiB)" in symptom.detail
    assert (symptom.unit, symptom.limit) == ("s", 3600.0)
    assert symptom.measured is not None
    assert symptom.measured < 3600.0


@pytest.mark.parametrize(
    ("use", "names"),
    [
        (VolumeUse.WAL, ()),
        (VolumeUse.WAL, slots(("tiny", 2 * MB))),
        (VolumeUse.LOG, slots(("reports", 4096 * MB))),
    ],
    ids=["no slot", "a slot that retains nothing", "a volume without WAL"],
)
def test_nobody_is_blamed_for_a_volume_that_fills_without_a_retainer(
    use: VolumeUse, names: tuple[SlotVitals, ...]
) -> None:
    watched = filling(use=use, names=names)
    [symptom] = [s for s in watched.symptoms if s.kind is SymptomKind.DISK_FILLING]
    assert "retainer" not in symptom.detail


def test_a_slot_that_is_dropped_ends_its_symptom_and_no_other() -> None:
    two = seen(vitals=vitals(slots=slots(("a", 20_000 * MB), ("b", 20_000 * MB))))
    one = seen(vitals=vitals(slots=slots(("b", 20_000 * MB))))
    watched = Watched().all([(t, two) for t in range(70)])
    assert watched.raised == ["slot_retains_wal:a", "slot_retains_wal:b"]
    watched.all([(70 + t, one) for t in range(5)])
    assert watched.cleared == ["slot_retains_wal:a"]
    watched.all([(80 + t, seen(vitals=vitals())) for t in range(5)])
    assert watched.cleared == ["slot_retains_wal:a", "slot_retains_wal:b"]


def test_what_another_source_no_longer_lists_is_over_unless_it_could_not_look() -> None:
    watched = Watched()
    for t in range(3):
        watched.look(t, told("sequence_used_pct", 99.0, "db.public.s"))
    for t in range(3, 20):
        watched.look(t, told("sequence_used_pct", None))
    assert watched.cleared == []
    for t in range(20, 30):
        watched.look(t, told("sequence_used_pct", 0.0))
    assert watched.cleared == ["sequence_near_end:db.public.s"]


def test_a_sample_without_the_reading_changes_nothing() -> None:
    watched = Watched().look(0, told("backup_failed", 1.0))
    for t in range(1, 100):
        watched.look(t, seen(vitals=vitals()))
    assert (watched.raised, watched.cleared) == (["backup_failed"], [])


def test_a_symptom_of_an_earlier_process_clears_although_nothing_was_seen_before() -> None:
    tracks = {"backup_failed": Track(standing=True), "disk_full:/data": Track(standing=True)}
    watched = Watched(tracks=tracks)
    for t in range(5):
        watched.look(
            t,
            seen(
                volumes=(volume(free_mib=900),), readings=(Reading(name="backup_failed", value=0),)
            ),
        )
    assert sorted(watched.cleared) == ["backup_failed", "disk_full:/data"]


def test_a_change_that_an_earlier_process_told_is_not_over_because_of_a_restart() -> None:
    watched = Watched(tracks={"oom_kill": Track(standing=True)})
    for t in range(0, 590, 10):
        watched.look(t, told("oom_kills_total", 4.0))
    assert watched.cleared == []
    for t in range(600, 630, 10):
        watched.look(t, told("oom_kills_total", 4.0))
    assert watched.cleared == ["oom_kill"]


def test_the_worse_of_two_rules_on_one_reading_is_told_once_it_stands() -> None:
    watched = Watched()
    for t in range(0, 300, 5):
        watched.look(t, told("pool_usage_pct", 99.0, "shop"))
    assert watched.raised == ["pool_exhausted:shop"]
    for t in range(300, 400, 5):
        watched.look(t, told("pool_usage_pct", 82.0, "shop"))
    assert watched.raised[1:] == ["pool_high:shop"]
    assert watched.cleared == ["pool_exhausted:shop"]


def test_a_value_that_swings_between_two_limits_is_told_by_the_lesser_rule() -> None:
    watched = Watched()
    for t in range(120):
        watched.look(t, told("pool_usage_pct", 85.0 if t % 4 else 91.0, "shop"))
    assert watched.raised == ["pool_high:shop"]


def test_with_the_worse_rule_off_the_lesser_one_is_told() -> None:
    watched = Watched(target(disk_full={"off": True}))
    for t in range(5):
        watched.look(t, seen(volumes=(volume(free_mib=1),)))
    assert watched.raised == ["disk_low:/data"]


def test_a_hundred_subjects_of_one_rule_are_not_a_hundred_symptoms() -> None:
    many = tuple(Reading(name="sequence_used_pct", value=99.0, subject=f"s{n}") for n in range(100))
    watched = Watched()
    for t in range(5):
        watched.look(t, seen(readings=many))
    assert len(watched.raised) == 20
    for t in range(5, 12):
        watched.look(t, told("sequence_used_pct", 0.0))
    assert sorted(watched.cleared) == sorted(watched.raised)


def test_a_very_long_subject_is_cut_and_still_its_own() -> None:
    long = ["x" * 5000 + end for end in ("a", "b")]
    readings = tuple(Reading(name="backup_failed", value=1.0, subject=s) for s in long)
    watched = Watched().look(0, seen(readings=readings))
    assert len(set(watched.raised)) == 2
    assert all(len(key) < 250 for key in watched.raised)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("backup_failed", 1.0, "s3 offsite: the last backup failed"),
     ("error_rate_pct", 7.0, "s3 offsite: 7 % of the requests fail"),
     ("tls_days_left", 3.0, "s3 offsite: the certificate expires in 3 days"),
     ("pool_waiting", 4.0, "4 clients wait for pool s3 offsite")],
)  # fmt: skip
def test_of_several_places_or_services_it_is_said_which_one(
    name: str, value: float, words: str
) -> None:
    watched = Watched()
    for t in range(0, 90, 10):
        watched.look(t, told(name, value, "s3 offsite"))
    assert watched.symptoms[0].detail == words


def test_words_of_the_server_cannot_be_taken_for_placeholders() -> None:
    [symptom] = Watched().look(0, told("slot_lost", 1.0, "{value}{0}%s")).symptoms
    assert "{value}{0}%s" in symptom.detail


def test_numbers_that_are_none_are_no_verdict() -> None:
    watched = Watched()
    for n, value in enumerate((float("nan"), float("inf"), float("-inf"))):
        watched.look(n, told("backup_failed", value)).look(n, told("disk_full", value))
    assert watched.raised == []


def test_a_storm_right_behind_the_first_look_counts_from_that_look() -> None:
    watched = Watched()
    for at_s, refused in ((0.0, 0), (0.2, 1), (0.4, 21)):
        watched.look(at_s, told("auth_failures_total", refused, "database"))
    assert watched.raised == ["login_failures:database"]


def test_a_changed_policy_changes_limits_and_not_what_is_remembered() -> None:
    watched = Watched(target(deadlocks={"limit": 100.0, "clear": 50.0}))

    def at(t: int) -> Sample:
        return seen(vitals=vitals(work={"deadlocks": t // 5}))

    watched.all([(t, at(t)) for t in range(70)])
    assert watched.raised == []
    watched.detector.adopt(plan_for(TARGET))
    assert watched.look(70, at(70)).raised == ["deadlocks"]


def test_targets_with_the_same_settings_share_one_plan() -> None:
    other = replace(TARGET, name=TARGET.name, dsn="service=other")
    assert plan_for(TARGET) is plan_for(other)
    assert plan_for(TARGET) is not plan_for(target(disk_low={"limit": 7.0}))


def test_a_rule_that_is_off_is_neither_asked_nor_told() -> None:
    watched = Watched(target(connections_high={"off": True}))
    for t in range(10):
        watched.look(t, seen(vitals=vitals(used=85)))
    assert watched.raised == []


def test_the_onset_of_what_lasts_is_when_it_began() -> None:
    watched = Watched()
    for t in range(5):
        watched.look(t, seen(vitals=vitals(sessions={"oldest_work_xact_age_s": 100.0 + t})))
    [symptom] = watched.symptoms
    assert symptom.since == T0 - timedelta(seconds=100)
    assert symptom.detail == "a transaction has been open for 1 min 41 s"


def test_each_setting_says_where_it_comes_from() -> None:
    policy = replace(
        POLICY,
        rules={"slow_query": RuleChange(kind="slow_query", limit=10.0, hold_s=5.0)},
        tiers=(Tier(name="oltp", rules={"slow_query": RuleChange(kind="slow_query", limit=2.0)}),),
        targets=(
            replace(
                POLICY.targets[0],
                tier="oltp",
                rules={"slow_query": RuleChange(kind="slow_query", off=True)},
                severity_of={"slow_query": 2},
            ),
        ),
    )
    [held] = in_force(inherit(policy), SymptomKind.SLOW_QUERY)
    assert (held.settings.limit, held.settings.hold_s, held.settings.off) == (2.0, 5.0, True)
    assert held.rank == 2
    assert dict(held.origins) == {
        "limit": "tiers.oltp",
        "clear": "tiers.oltp",
        "also": "declared",
        "hold": "rules",
        "severity": "targets.orders.severity_of",
        "off": "targets.orders",
    }


def test_nothing_is_read_from_vitals_that_no_rule_asks_for() -> None:
    asked = {rule.reading for rule in declared_rules().values()}
    asked |= {rule.also.reading for rule in declared_rules().values() if rule.also}
    assert asked >= READ_FROM_VITALS


def test_what_is_full_at_the_first_look_is_told_once_as_full() -> None:
    some, full = (seen(vitals=vitals(used=n)) for n in (85, 95))
    watched = Watched().look(0, some)
    watched.all([(t, full) for t in range(1, 6)])
    assert watched.raised == ["connections_exhausted"]


def test_what_was_near_its_limit_before_it_was_full_is_told_twice() -> None:
    some, full = (seen(vitals=vitals(used=n)) for n in (85, 95))
    watched = Watched().all([(t, some) for t in range(6)])
    watched.all([(t, full) for t in range(6, 12)])
    assert watched.raised == ["connections_high", "connections_exhausted"]
