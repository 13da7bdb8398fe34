"""Hooks and consoles that may be changed, as the policy file says them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, read_policy

ON: dict[str, Any] = {
    "url": "https://flags.example.com/a",
    "body": '{"enabled": true}',
    "verify_url": "https://flags.example.com/a",
    "json": ".enabled",
    "equals": "true",
}


def text(**target: Any) -> str:
    return yaml.safe_dump(
        {
            "state_directory": "/var/lib/stanch",
            "people": {"asha": {"name": "Asha Example"}},
            "ladder": ["asha"],
            "channels": {"console": {"type": "terminal"}},
            "targets": {"orders": {"dsn": "service=orders", **target}},
        }
    )


def errors(**target: Any) -> list[tuple[str, str]]:
    return [(f.path, f.what) for f in read_policy(text(**target), file="t").errors]


def test_hooks_are_read_and_come_back_from_the_stored_text() -> None:
    hooks = {"on": {**ON, "undo": "off", "timeout": "9s"}, "off": {**ON, "method": "PUT"}}
    policy = parse_policy(text(hooks=hooks), file="t")
    [one] = [h for h in policy.targets[0].hooks if h.name == "on"]
    assert (one.undo, one.timeout_s, one.json, one.equals) == ("off", 9.0, ".enabled", "true")
    assert policy.targets[0].hook("off") is not None
    assert parse_policy(canonical_text(policy), file="stored") == policy


@pytest.mark.parametrize(
    ("changed", "path", "what"),
    [
        ({"url": "http://flags.example.com/a"}, "url", "in the clear"),
        ({"verify_url": "http://flags.example.com/a"}, "verify_url", "in the clear"),
        ({"body": "[1]"}, "body", "not a JSON object"),
        ({"body": "{"}, "body", "not a JSON object"),
        ({"undo": "of"}, "undo", "unknown hook"),
        ({"undo": "on"}, "undo", "takes itself back"),
    ],
)
def test_a_hook_that_cannot_be_or_leaks_is_refused_with_its_place(
    changed: dict[str, str], path: str, what: str
) -> None:
    [(found, said)] = errors(hooks={"on": {**ON, **changed}})
    assert found == f"targets.orders.hooks.on.{path}"
    assert what in said


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/a", "http://localhost/a"])
def test_this_machine_may_be_called_in_the_clear(url: str) -> None:
    assert errors(hooks={"on": {**ON, "url": url, "verify_url": url}}) == []


def test_a_hook_without_a_way_to_see_what_it_does_is_none() -> None:
    unseen = {k: v for k, v in ON.items() if k not in ("verify_url", "json", "equals")}
    found = [what for _, what in errors(hooks={"on": unseen})]
    assert found == [f"{key} is missing" for key in ("verify_url", "json", "equals")]


BOUNCER = {"type": "pgbouncer", "dsn": "service=stats"}


def test_an_action_that_policy_gives_no_way_to_is_refused() -> None:
    assert errors(actions={"call_hook": "advise"})
    assert errors(actions={"call_hook": "advise"}, hooks={"on": ON}) == []
    assert errors(actions={"resize_pool": "advise"}, pools={"b": BOUNCER})
    changeable = {**BOUNCER, "admin_dsn": "service=chief"}
    assert errors(actions={"resize_pool": "advise"}, pools={"b": changeable}) == []


def test_a_password_in_the_dsn_of_a_console_that_may_be_changed_earns_a_warning() -> None:
    pools = {"b": {**BOUNCER, "admin_dsn": "host=x user=chief password=hush"}}
    [found] = read_policy(text(pools=pools), file="t").warnings
    assert found.path == "targets.orders.pools.b.admin_dsn"
