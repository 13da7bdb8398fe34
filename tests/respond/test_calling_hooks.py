"""Hooks: only what policy names is called, once, and believed only where it is seen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from acting_worlds import TARGET, always, bare_world, cause, run, step
from http_at import Asked, At, Said, http_at, said
from stanch.adapters.channels.signature import HEADER, verify
from stanch.adapters.services.hooks import HttpHooks
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.hooks import Hook
from stanch.model.plans import Refusal, StepOutcome
from stanch.respond.actions.call_hook.guards import GUARDS, may_call, named_hook
from stanch.respond.actions.call_hook.planning import PLANNING
from stanch.respond.actions.call_hook.run import CALL_HOOK
from stanch.steps.world import World

ONE = step("call_hook", hook="read_only")
HOOK = Hook(
    name="read_only",
    url="https://flags.example.com/a",
    verify_url="https://flags.example.com/a",
    json=".enabled",
    equals="true",
)


@dataclass
class Flags:
    """A service with one flag; `post` is what it says to a request that sets it."""

    enabled: bool = False
    post: Said = field(default_factory=Said)
    takes: bool = True
    get: Said | None = None

    def __call__(self, asked: Asked) -> Said:
        if asked.method == "GET":
            return self.get or said({"enabled": self.enabled})
        if self.takes:
            self.enabled = bool(json.loads(asked.body)["enabled"])
        return self.post


@pytest.fixture
def flags() -> Flags:
    return Flags()


@pytest.fixture
async def at(flags: Flags) -> AsyncIterator[At]:
    async with http_at(flags) as service:
        yield service


def world(at: At, **changes: object) -> World:
    hook = replace(HOOK, url=f"{at.url}/set", verify_url=f"{at.url}/get", body='{"enabled": true}')
    target = replace(TARGET, hooks=(replace(hook, **changes),))  # type: ignore[arg-type]
    return replace(bare_world(target), hooks=HttpHooks())


def sent(at: At) -> list[Asked]:
    return [asked for asked in at.asked if asked.method != "GET"]


# --- guards -------------------------------------------------------------------------------------


def test_only_a_hook_of_this_target_is_called() -> None:
    target = replace(TARGET, hooks=(HOOK,))
    assert named_hook(ONE, target) is HOOK
    for name in ("other", "https://evil.example.com/", ""):
        refused = named_hook(step("call_hook", hook=name), target)
        assert isinstance(refused, Refusal)
        assert refused.guard == "named_hook"
        assert PLANNING.withheld(step("call_hook", hook=name), cause("x"), target) is not None
    assert PLANNING.withheld(ONE, cause("x"), target) is None
    assert PLANNING.loses_work(cause("x")), "a person decides"


def test_a_hook_is_called_only_where_it_is_seen_not_to_be_so_yet() -> None:
    assert may_call(HOOK, "false") is None
    for now, guard in (("true", "not_so_yet"), (Missing(what="x", reason="y"), "known_before")):
        refused = may_call(HOOK, now)
        assert refused is not None
        assert refused.guard == guard
        assert guard in {one.name for one in GUARDS}


# --- a real service -----------------------------------------------------------------------------


async def test_a_hook_is_sent_once_with_its_key_and_seen_to_have_worked(at: At) -> None:
    done, log = await run(CALL_HOOK, ONE, world(at, undo="read_only_off"))

    assert done.outcome is StepOutcome.DONE, log.ended().detail
    assert log.verified().ok
    assert log.ended().before == ".enabled was false; the hook read_only_off takes it back"
    [asked] = sent(at)
    assert (asked.method, asked.body) == ("POST", b'{"enabled": true}')
    assert asked.headers["idempotency-key"] == "plan-1/1-call_hook"

    again, _ = await run(CALL_HOOK, ONE, world(at))
    assert again.refusal is not None
    assert again.refusal.guard == "not_so_yet"
    assert len(sent(at)) == 1


async def test_a_hook_is_signed_as_a_webhook_is(at: At, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"hush\n")
    await run(CALL_HOOK, ONE, world(at, secret_file=str(secret), method="PUT"))
    [asked] = sent(at)
    assert asked.method == "PUT"
    header = asked.headers[HEADER.lower()]
    at_unix = float(header.removeprefix("t=").partition(",")[0])
    assert verify(header, asked.body, secret=b"hush", at_unix=at_unix)


@pytest.mark.parametrize("file", ["missing", "empty"])
async def test_without_its_secret_a_hook_is_not_sent(at: At, tmp_path: Path, file: str) -> None:
    (tmp_path / "empty").touch()
    one = world(at, secret_file=str(tmp_path / file))
    with pytest.raises(ActionFailed, match=file):
        await CALL_HOOK.act(ONE, one, always)
    assert sent(at) == []


@pytest.mark.parametrize(
    "answer", [Said(stays=True), Said(status=502), Said(status=500, body=b"oops")]
)
async def test_a_hook_without_a_clear_answer_is_in_doubt_and_looked_for(
    at: At, flags: Flags, answer: Said
) -> None:
    flags.post = answer
    one = world(at, timeout_s=0.2)
    report = await CALL_HOOK.act(ONE, one, always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    assert (await CALL_HOOK.verify(ONE, one)).ok, "it did its work all the same"
    flags.enabled = False
    seen = await CALL_HOOK.verify(ONE, one)
    assert (seen.ok, seen.pending, seen.detail) == (False, False, ".enabled is false")


@pytest.mark.parametrize(
    ("answer", "said_of_it"),
    [
        (Said(status=403, body=b"no \x1b[31m"), "no \\x1b[31m"),
        (Said(status=302, headers={"Location": "https://evil.example.com/"}), "not followed"),
    ],
)
async def test_a_refusal_is_told_and_nobody_else_is_asked(
    at: At, flags: Flags, answer: Said, said_of_it: str
) -> None:
    flags.post, flags.takes = answer, False
    with pytest.raises(ActionFailed) as caught:
        await CALL_HOOK.act(ONE, world(at), always)
    assert said_of_it in str(caught.value)
    assert len(sent(at)) == 1


async def test_an_endless_answer_is_read_to_a_limit(at: At, flags: Flags) -> None:
    flags.post = Said(body=b"x" * 1000, endless=True)
    report = await CALL_HOOK.act(ONE, world(at), always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.DONE
    assert len(report.detail) < 400


@pytest.mark.parametrize(
    "get", [Said(status=500), Said(body=b"{"), said({"other": 1}), said({"enabled": [1]})]
)
async def test_what_cannot_be_seen_before_is_not_done(at: At, flags: Flags, get: Said) -> None:
    flags.get = get
    done, log = await run(CALL_HOOK, ONE, world(at))
    assert done.refusal is not None
    assert done.refusal.guard == "known_before"
    assert log.kinds() == ["StepIntended", "StepEnded"]
    assert sent(at) == []
    seen = await CALL_HOOK.verify(ONE, world(at))
    assert (seen.ok, seen.pending) == (False, True)


async def test_a_halt_right_before_it_is_sent_stops_it(at: At) -> None:
    halted = Refusal(guard="halt", reason="told to stop")
    assert await CALL_HOOK.act(ONE, world(at), lambda: halted) is halted
    assert sent(at) == []


async def test_nobody_listens_and_nothing_was_sent() -> None:
    gone = replace(HOOK, url="http://127.0.0.1:1/", verify_url="http://127.0.0.1:1/")
    acted = await HttpHooks().call(gone, key="k", deadline_s=2)
    assert acted.outcome == "not_sent"
