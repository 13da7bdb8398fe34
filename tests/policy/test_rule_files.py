"""Rule files are read strictly, and what they declare makes sense."""

from __future__ import annotations

from importlib.resources import files

import pytest

from stanch.model.readings import Unit, unit_of
from stanch.model.rules import Judgement, RuleChange, settings_of
from stanch.model.symptoms import SymptomKind
from stanch.policy import rules
from stanch.policy.kinds import Written
from stanch.policy.limits import limit_kind
from stanch.policy.rules import FILES, declared_rules
from stanch.policy.rules.loading import ALWAYS, FLAGS, KEYS, RuleInvalid, read_rules

GOOD = """\
disk_low:
  judge: below
  reading: volume_free_pct
  limit: 10%
  severity: 2
  title: disk low
  impact: A volume was nearly full.
  source: statvfs
  quiet: [a full one]
"""


def text(name: str) -> str:
    return (files(rules.__name__) / f"{name}.yaml").read_text("utf-8")


def test_every_symptom_is_declared_and_back() -> None:
    assert set(declared_rules()) == set(SymptomKind)


def test_every_file_of_the_folder_is_read() -> None:
    there = {p.name for p in files(rules.__name__).iterdir() if p.name.endswith(".yaml")}
    assert there == {f"{name}.yaml" for name in FILES}


def test_every_key_is_explained_in_the_first_file_and_used_somewhere() -> None:
    head = text("reachability").split("server_down:")[0]
    bodies = "\n".join(text(name) for name in FILES)
    for key in KEYS - {"off"}:
        assert f"#   {key} " in head, key
        assert f"  {key}: " in bodies or f"  {key}:\n" in bodies, key
    assert "#   off " in head, "a policy uses it"


def test_a_rule_is_read_with_its_units() -> None:
    [rule] = read_rules(GOOD, file="x.yaml")
    assert (rule.limit, rule.clear, rule.hold_s) == (10.0, None, 0.0)
    assert settings_of(rule).clear == 10.0


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("limit: 10%", "limit: 10", "no unit"),
        ("limit: 10%", "limit: 10s", "not a percentage"),
        ("limit: 10%", "limt: 10%", "unknown key limt"),
        ("judge: below", "judge: beneath", "is none of"),
        ("judge: below", "judge: forecast", "is missing"),
        ("judge: below", "judge: code", "declares no limit"),
        ("disk_low:", "disk_lo:", "no SymptomKind"),
        ("severity: 2", "severity: 5", "is none of"),
        ("severity: 2", "severity: 2\n  window: 5m", "means nothing"),
        ("severity: 2", "severity: 2\n  unless: disk_ful", "no SymptomKind"),
        ("severity: 2", "severity: 2\n  at_risk: maybe", "neither true nor false"),
        ("severity: 2", "severity: 2\n  severity: 3", "given twice"),
        ("severity: 2", "severity: 2\n  also: {reading: x_s}", "not a reading and its limit"),
        ("severity: 2", "severity: 2\n  also: {reading: x_s, over: 3s}", "neither above"),
        ("[a full one]", "a full one", "not a list"),
        ("  quiet: [a full one]\n", "", "quiet is missing"),
    ],
)
def test_a_mistake_in_a_rule_file_fails_the_start(old: str, new: str, what: str) -> None:
    assert old in GOOD
    with pytest.raises(RuleInvalid, match=what):
        read_rules(GOOD.replace(old, new), file="x.yaml")


@pytest.mark.parametrize("kind", [k for k, r in declared_rules().items() if r.declared])
def test_a_declared_rule_makes_sense(kind: SymptomKind) -> None:
    rule = declared_rules()[kind]
    held = settings_of(rule)
    better_is_more = rule.judgement in (Judgement.BELOW, Judgement.FORECAST)
    assert held.clear >= held.limit if better_is_more else held.clear <= held.limit
    assert rule.quiet
    for sentence in (rule.impact, *rule.quiet):
        assert sentence.endswith("."), sentence
        assert sentence[0].isupper() or sentence.startswith("pg_"), sentence
    shown = limit_kind(rule.limit_unit).show(held.limit)
    assert limit_kind(rule.limit_unit).read(Written(text=shown, is_text=True)) == held.limit
    if rule.unless is not None:
        order = list(declared_rules())
        assert order.index(rule.unless) < order.index(kind), "the worse one is judged first"
        assert declared_rules()[rule.unless].severity <= rule.severity


def test_flags_are_off_unless_given() -> None:
    [rule] = read_rules(GOOD, file="x.yaml")
    assert not any(getattr(rule, flag) for flag in FLAGS)
    assert set(ALWAYS) <= KEYS


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("volume_free_bytes", Unit.BYTES),
        ("temp_bytes_total", Unit.BYTES),
        ("replay_lag_s", Unit.SECONDS),
        ("layer_ms", Unit.MILLISECONDS),
        ("tls_days_left", Unit.DAYS),
        ("error_rate_pct", Unit.PERCENT),
        ("standbys", Unit.COUNT),
        ("deadlocks_total", Unit.COUNT),
    ],
)
def test_the_unit_is_the_ending_of_the_name(name: str, unit: Unit) -> None:
    assert unit_of(name) is unit


def test_a_changed_limit_takes_its_clear_limit_along() -> None:
    rule = declared_rules()[SymptomKind.POOL_HIGH]
    assert (rule.limit, rule.clear) == (80.0, 75.0)
    changed = settings_of(rule, RuleChange(kind="pool_high", limit=40.0))
    assert (changed.limit, changed.clear) == (40.0, 37.5)
    both = settings_of(rule, RuleChange(kind="pool_high", limit=40.0, clear=10.0))
    assert both.clear == 10.0


@pytest.mark.parametrize(
    ("unit", "text", "value", "shown"),
    [
        (Unit.BYTES, "10GB", 1e10, "10GB"),
        (Unit.BYTES, "32MiB", 2.0**25, "32MiB"),
        (Unit.BYTES, "0", 0.0, "0B"),
        (Unit.DAYS, "36h", 1.5, "36h"),
        (Unit.MILLISECONDS, "250ms", 250.0, "250ms"),
        (Unit.COUNT, "0.5", 0.5, "0.5"),
        (Unit.TIMES, "3", 3.0, "3"),
    ],
)
def test_a_limit_is_written_in_its_unit_and_kept_in_that_of_the_reading(
    unit: Unit, text: str, value: float, shown: str
) -> None:
    kind = limit_kind(unit)
    assert kind.read(Written(text=text, is_text=True)) == value
    assert kind.show(value) == shown
