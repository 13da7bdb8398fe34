"""Silences of the policy: written strictly, and open exactly when they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, read_policy
from stanch.policy.silences import PolicySilence, silenced_by

POLICY = """
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example, contacts: []}}
ladder: [asha]
channels: {screen: {type: terminal}}
targets: {orders: {dsn: service=orders}}
silences:
"""
REST = "rules: [disk_low], for: 2h"


def silence(keys: str) -> PolicySilence:
    [found] = parse_policy(f"{POLICY}  s: {{reason: known, {keys}}}\n", file="p").silences
    return found


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("keys", "at", "ends"),
    [
        (f"{REST}, from: 02:00", "2026-03-04 02:00", "2026-03-04 04:00"),
        (f"{REST}, from: 02:00", "2026-03-04 04:00", ""),
        (f"{REST}, from: 02:00", "2026-03-04 01:59", ""),
        (f"{REST}, from: 23:00", "2026-03-04 00:30", "2026-03-04 01:00"),
        (f'{REST}, from: "sat 23:00"', "2026-03-08 00:30", "2026-03-08 01:00"),
        (f'{REST}, from: "sat 23:00"', "2026-03-07 00:30", ""),
        (f'{REST}, from: "fri-mon 02:00"', "2026-03-09 03:00", "2026-03-09 04:00"),
        (f'{REST}, from: "fri-mon 02:00"', "2026-03-10 03:00", ""),
        (f'{REST}, from: "2026-03-04 02:00"', "2026-03-04 03:00", "2026-03-04 04:00"),
        (f'{REST}, from: "2026-03-04 02:00"', "2026-03-05 03:00", ""),
        # By the clock of a place, also after that clock was put forward.
        (f"{REST}, from: 02:00, zone: Asia/Tokyo", "2026-03-04 17:30", "2026-03-04 19:00"),
        (f"{REST}, from: 12:00, zone: Europe/Berlin", "2026-03-28 11:30", "2026-03-28 13:00"),
        (f"{REST}, from: 12:00, zone: Europe/Berlin", "2026-03-29 10:30", "2026-03-29 12:00"),
    ],
)
def test_a_window_is_open_from_its_beginning_for_its_length(keys: str, at: str, ends: str) -> None:
    window = silence(keys).window(day(at))
    assert (window and window.ends) == (day(ends) if ends else None)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("rules: [disk_lwo], from: 02:00, for: 2h", "Did you mean `disk_low`"),
        ("rules: [blind], from: 02:00, for: 2h", "blind cannot be silenced"),
        ("rules: [outside_alert], from: 02:00, for: 2h", "silenced alert by alert"),
        ("rules: [], from: 02:00, for: 2h", "is empty"),
        ("rules: [disk_low], from: 02:00", "for is missing"),
        ("rules: [disk_low], for: 2h", "from is missing"),
        (f"{REST}, from: 25:00", "is no beginning"),
        (f"{REST}, from: soon", "is no beginning"),
        (f'{REST}, from: "someday 02:00"', "names no days"),
        (f'{REST}, from: "2026-02-30 02:00"', "not a day of the calendar"),
        (f"{REST}, from: 02:00, zone: Europ/Berlin", "unknown time zone"),
        (f"{REST}, from: 02:00, zone: ../../etc/passwd", "is not a time zone"),
        (f"{REST}, from: 02:00, targets: [ordres]", "Did you mean `orders`"),
        ("rules: [disk_low], from: 02:00, for: 24h", "never ends"),
        ('rules: [disk_low], from: "sat,sun 02:00", for: 24h', "never ends"),
        ("rules: [disk_low], from: 02:00, for: 8d", "out of range"),
        (f"{REST}, from: 02:00, up_to: 3", "disk_low is never milder than severity 2"),
        ("rules: [server_down], from: 02:00, for: 2h, up_to: 3", "so it is never held"),
    ],
)
def test_a_silence_that_cannot_be_meant_is_an_error_at_its_line(keys: str, said: str) -> None:
    found = read_policy(f"{POLICY}  s: {{reason: known, {keys}}}\n", file="p").findings
    assert any(said in f"{f.what} {f.hint}" for f in found), found
    assert all(f.level == "error" and f.line == 8 for f in found)


NIGHT = "a: {reason: r, rules: [disk_low], from: 20:00, for: 12h}"
DAY = "b: {reason: r, rules: [slow_query, disk_low], from: 07:00, for: 13h}"
STOCK = "targets: [stock]"
NEVER_ENDING = [
    (NIGHT, DAY),
    (NIGHT, DAY.replace("for: 13h", "for: 13h, subjects: [/wal]")),
    (NIGHT, DAY.replace("for: 13h", "for: 13h, targets: [orders]")),
    # By the clocks of two places, neither of which ends before the other begins.
    (NIGHT, DAY.replace("from: 07:00", "from: 08:00, zone: Europe/Berlin")),
    (
        'a: {reason: r, rules: [disk_low], from: "mon-fri 00:00", for: 23h}',
        'b: {reason: r, rules: [disk_low], from: "mon-fri 22:00", for: 3h}',
        'c: {reason: r, rules: [disk_low], from: "sat 00:00", for: 2d}',
    ),
]
ENDING = [
    (NIGHT, DAY.replace("13h", "12h")),
    (NIGHT, DAY.replace("disk_low", "disk_full")),
    (NIGHT.replace("for", f"{STOCK}, for"), DAY.replace("for", "targets: [orders], for")),
    (NIGHT.replace("for", "subjects: [/a], for"), DAY.replace("for", "subjects: [/b], for")),
    (NIGHT, DAY.replace("from: 07:00", 'from: "2026-01-12 07:00"')),
    (NIGHT, DAY.replace("07:00", '"mon-sat 07:00"')),
]


def together(silences: tuple[str, ...]) -> list[str]:
    text = POLICY.replace("}}\nsil", "}, stock: {dsn: service=stock}}\nsil")
    found = read_policy(f"{text}{''.join(f'  {s}{chr(10)}' for s in silences)}", file="p").findings
    return [f"{f.line} {f.what}" for f in found]


@pytest.mark.parametrize("silences", NEVER_ENDING)
def test_silences_that_together_never_end_are_an_error_at_the_last_of_them(
    silences: tuple[str, ...],
) -> None:
    [said] = together(silences)
    assert said.startswith(f"{7 + len(silences)} with a"), said
    assert "it silences disk_low at every moment of the week" in said


@pytest.mark.parametrize("silences", ENDING)
def test_silences_with_one_gap_in_the_week_are_none(silences: tuple[str, ...]) -> None:
    assert together(silences) == []


def test_a_silence_without_a_reason_is_an_error() -> None:
    [found] = read_policy(f"{POLICY}  s: {{{REST}, from: 02:00}}\n", file="p").findings
    assert "reason" in found.what


@given(
    days=st.sampled_from(["", "sat ", "mon-fri ", "sun-mon ", "2026-12-24 "]),
    at=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]),
)
def test_what_is_stored_of_a_silence_means_the_same(days: str, at: object, zone: str) -> None:
    text = f'{POLICY}  s: {{reason: "x: y", {REST}, from: "{days}{at:%H:%M}", zone: {zone}}}\n'
    policy = parse_policy(text, file="p")
    assert parse_policy(canonical_text(policy), file="kept").silences == policy.silences


def symptom(subject: str = "", target: str = "orders") -> Symptom:
    at = day("2026-03-04 00:00")
    name = TargetName(target)
    return Symptom(kind=SymptomKind.DISK_LOW, target=name, since=at, subject=subject)


@pytest.mark.parametrize(
    ("keys", "one", "is_silent"),
    [
        ("", symptom("/wal"), True),
        ("subjects: [/wal],", symptom("/wal"), True),
        ("subjects: [/wal],", symptom("/data"), False),
        ("targets: [orders],", symptom(), True),
        ("targets: [orders],", symptom(target="stock"), False),
    ],
)
def test_it_silences_what_it_names_and_nothing_beside(
    keys: str, one: Symptom, is_silent: bool
) -> None:
    found = silenced_by([silence(f"{keys} {REST}, from: 02:00")], one, day("2026-03-04 03:00"))
    assert (found is not None) is is_silent


def test_windows_that_touch_are_one_so_that_nobody_is_paged_between_them() -> None:
    two = [silence(f"{REST}, from: 02:00"), silence(f"{REST}, from: 04:00")]
    found = silenced_by(two, symptom(), day("2026-03-04 03:00"))
    assert found == (two[0], day("2026-03-04 06:00"))
    apart = [two[0], silence(f"{REST}, from: 04:01")]
    found = silenced_by(apart, symptom(), day("2026-03-04 03:00"))
    assert found == (two[0], day("2026-03-04 04:00"))


def test_the_next_beginning_is_told_and_of_what_is_over_none() -> None:
    at = day("2026-03-04 03:00")
    assert silence(f'{REST}, from: "sat 02:00"').next_begin(at) == day("2026-03-07 02:00")
    assert silence(f'{REST}, from: "2026-03-04 02:00"').next_begin(at) is None
    assert silence(f"{REST}, from: 02:00").next_begin(at) == at + timedelta(hours=23)


def test_a_silence_that_holds_a_rule_on_one_of_its_targets_is_none_that_holds_nothing() -> None:
    milder = POLICY.replace("service=orders}", "service=orders, severity_of: {disk_low: 4}}")
    assert milder != POLICY
    for keys in ("rules: [disk_low]", "rules: [outside_alert], subjects: [prom:a]"):
        text = f"{milder}  s: {{reason: known, {keys}, from: 02:00, for: 2h, up_to: 4}}\n"
        assert not read_policy(text, file="p").findings
