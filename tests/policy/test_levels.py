"""Levels over time, as the policy file says them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from stanch.policy.canonical import canonical_text
from stanch.policy.levels import Level, after, standing_level
from stanch.policy.parse import parse_policy, read_policy

LEVELS: dict[str, Any] = {
    "automatic": {"from": "0s", "act": ["start_server"]},
    "senior": {"from": "15m", "act": [], "page": ["asha"]},
    "vendor": {"from": "30m", "says": "Call the vendor."},
}


def text(of_policy: Any, **target: Any) -> str:
    whole: dict[str, Any] = {
        "state_directory": "/var/lib/stanch",
        "people": {"asha": {"name": "Asha Example"}},
        "ladder": ["asha"],
        "channels": {"console": {"type": "terminal"}},
        "targets": {"orders": {"dsn": "service=orders", **target}},
    }
    if of_policy:
        whole["levels"] = of_policy
    return yaml.safe_dump(whole, sort_keys=False)


def errors(of_policy: Any, **target: Any) -> list[tuple[str, str]]:
    return [(f.path, f.what) for f in read_policy(text(of_policy, **target), file="t").errors]


def test_levels_of_the_policy_hold_for_a_target_without_its_own_and_come_back_as_stored() -> None:
    policy = parse_policy(text(LEVELS), file="t")
    assert [(lv.name, lv.from_s, lv.act) for lv in policy.targets[0].levels] == [
        ("automatic", 0.0, ("start_server",)),
        ("senior", 900.0, ()),
        ("vendor", 1800.0, None),
    ]
    assert parse_policy(canonical_text(policy), file="stored") == policy


def test_a_target_with_levels_of_its_own_has_no_others() -> None:
    policy = parse_policy(text(LEVELS, levels={"people": {"from": "5m", "act": []}}), file="t")
    assert [level.name for level in policy.targets[0].levels] == ["people"]


@pytest.mark.parametrize(
    ("changed", "path", "what"),
    [
        ({"senior": {"from": "0s", "act": []}}, "levels.senior.from", "does not begin after"),
        ({"senior": {"from": "15m", "page": ["asah"]}}, "levels.senior.page.1", "unknown person"),
        ({"senior": {"from": "15m"}}, "levels.senior", "changes nothing"),
        ({"automatic": {"from": "0s", "page": ["asha"]}}, "levels.automatic", "first second"),
        ({"automatic": {"from": "0s", "act": ["reboot"]}}, "levels.automatic.act.1", "reboot"),
    ],
)
@pytest.mark.parametrize("of_target", [False, True])
def test_what_cannot_be_meant_is_told(
    changed: dict[str, Any], path: str, what: str, of_target: bool
) -> None:
    levels = {**LEVELS, **changed}
    found = errors(None, levels=levels) if of_target else errors(levels)
    [(where, said)] = found
    assert where.removeprefix("targets.orders.") == path
    assert what in said


def test_the_last_level_that_has_begun_holds() -> None:
    first, second = Level(name="a", from_s=60.0), Level(name="b", from_s=120.0)
    levels = (first, second)
    assert standing_level(levels, 0.0) is None
    assert standing_level(levels, 60.0) is first
    assert standing_level(levels, 119.9) is first
    assert standing_level(levels, 120.0) is second
    assert after(levels, 60.0) == (second,)


def test_a_level_without_act_leaves_everything_to_the_actions_and_an_empty_one_nothing() -> None:
    assert Level(name="a").lets_act("start_server")
    assert not Level(name="a", act=()).lets_act("start_server")
    assert not Level(name="a", act=("free_space",)).lets_act("start_server")
