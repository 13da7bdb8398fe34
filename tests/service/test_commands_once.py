"""A command is done once, also where the process that did it dies before it can say so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stanch.model import events as e
from stanch.model.ids import RESPONDER, CommandId, IncidentId
from stanch.service.errands import read_inbox
from stanch.service.house import House, open_house, open_store, read_policy_file
from stanch.service.requests import Answer
from stanch.store.inbox import collect, drop, result

DIES_BEFORE_IT_ANSWERS = """
import asyncio, json, os, signal, sys
from pathlib import Path
from stanch.service.house import open_house, open_store, read_policy_file

async def main():
    policies = read_policy_file(Path(sys.argv[1]))
    house = await open_house(policies, open_store(policies, threaded=False))
    answer = await house.operations.execute(json.loads(sys.argv[2]))
    print(json.dumps(answer.plain()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

POLICY = """
state_directory: {state}
people: {{ann: {{name: Ann}}}}
ladder: [ann]
channels: {{screen: {{type: terminal}}}}
targets: {{orders: {{dsn: service=orders}}}}
"""

DECLARE: dict[str, object] = {"command": "declare", "title": "orders are lost", "target": "orders"}
INCIDENT: dict[str, object] = {"incident": "1"}
EACH: tuple[tuple[dict[str, object], type[e.Event]], ...] = (
    (DECLARE, e.IncidentOpened),
    ({"command": "note", "text": "looked", **INCIDENT}, e.NoteAdded),
    ({"command": "ack", **INCIDENT}, e.IncidentAcknowledged),
    ({"command": "severity", "severity": "1", **INCIDENT}, e.SeveritySet),
    ({"command": "resolve", **INCIDENT}, e.IncidentResolved),
    ({"command": "halt"}, e.HaltSet),
    ({"command": "halt", "lift": True}, e.HaltLifted),
    ({"command": "maintenance", "target": "orders", "seconds": 60}, e.MaintenanceSet),
    ({"command": "maintenance", "target": "orders", "end": True}, e.MaintenanceEnded),
    (
        {"command": "silence", "target": "orders", "rule": "disk_low", "reason": "r", "seconds": 9},
        e.SilenceSet,
    ),
    (
        {"command": "silence", "target": "orders", "rule": "disk_low", "end": True},
        e.SilenceEnded,
    ),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "stanch.yaml"
    file.write_text(POLICY.format(state=tmp_path / "state"))
    return file


class Living:
    """A process that has the state directory, as long as the block lasts."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self.inbox = config.parent / "state" / "inbox"

    async def __aenter__(self) -> House:
        policies = read_policy_file(self._config)
        self._house = await open_house(policies, open_store(policies, threaded=False))
        return self._house

    async def __aexit__(self, *_: object) -> None:
        await self._house.store.close()


def die_doing(config: Path, request: Mapping[str, object]) -> dict[str, Any]:
    """Do one command in a process that is killed once its events are durable."""
    ended = subprocess.run(
        [sys.executable, "-c", DIES_BEFORE_IT_ANSWERS, str(config), json.dumps(request)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


async def ask(house: House, **request: object) -> Answer:
    return await house.operations.execute({"by": "ann", **request})


async def count(house: House, kind: type[e.Event]) -> int:
    ids = [RESPONDER, *await house.store.incident_ids(open_only=False, limit=99)]
    timelines = [await house.store.read(i) for i in ids]
    return sum(isinstance(r.event, kind) for timeline in timelines for r in timeline)


@pytest.mark.parametrize(("request_", "kind"), EACH, ids=lambda part: getattr(part, "kind", ""))
async def test_a_command_sent_again_after_a_crash_is_not_done_again(
    config: Path, request_: dict[str, object], kind: type[e.Event]
) -> None:
    async with Living(config) as house:
        if "incident" in request_:
            await ask(house, **DECLARE)
    whole = {"by": "ann", "id": "from-the-socket", **request_}
    first = await asyncio.to_thread(die_doing, config, whole)
    async with Living(config) as house:
        again = await house.operations.execute(whole)
        assert (again.ok, again.incident_id) == (True, first["incident"])
        assert "already" in again.text
        assert await count(house, kind) == 1
        assert (await house.store.verify()).ok
        # Another command that says the same is another command.
        await house.operations.execute({**whole, "id": "another"})
        assert await count(house, kind) == (1 if kind in NOTHING_MORE else 2)


NOTHING_MORE = (e.IncidentAcknowledged, e.IncidentResolved)
"""Doing these a second time changes nothing, whoever asks."""


@pytest.mark.parametrize("command", [DECLARE, {"command": "halt"}], ids=["declare", "halt"])
@pytest.mark.parametrize("has_id", [True, False], ids=["with an id", "without an id"])
async def test_a_command_whose_doer_died_before_it_left_the_inbox_is_done_once(
    config: Path, command: dict[str, object], has_id: bool
) -> None:
    async with Living(config) as house:
        before = await count(house, e.Commanded)
    living = Living(config)
    request = {"by": "ann", **command, **({"id": "abc"} if has_id else {})}
    name = drop(living.inbox, json.dumps(request))
    await asyncio.to_thread(die_doing, config, {"id": name, **request})
    [waiting] = collect(living.inbox)
    assert waiting.id == name, "the crash came before it was taken out"
    async with living as house:
        reading = asyncio.create_task(read_inbox(living.inbox, house.operations))
        async with asyncio.timeout(20):
            while (answer := result(living.inbox, name)) is None:
                await asyncio.sleep(0.02)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert json.loads(answer)["ok"]
        assert await count(house, e.Commanded) == before + 1
    assert collect(living.inbox) == []


async def test_a_crash_between_the_end_of_maintenance_and_the_pages_it_holds_is_made_good(
    config: Path,
) -> None:
    end = {"by": "ann", "id": "m2", "command": "maintenance", "target": "orders", "end": True}
    async with Living(config) as house:
        incident = IncidentId((await ask(house, **DECLARE)).incident_id)
        held = e.PageHeld(until=house.clock.now().replace(year=2999), reason="maintenance")
        await house.book.decide(incident, lambda i, at: (held,))
        # All that a process killed at this moment leaves behind.
        ended = e.MaintenanceEnded(
            target=(await house.book.get(incident)).target,
            by=house.policy.people[0].id,
            reason="done",
            command_id=CommandId("m2"),
        )
        await house.book.record(RESPONDER, ended)
    async with Living(config) as house:
        assert (await house.operations.execute(end)).ok
        until = (await house.book.get(incident)).page_held_until
        assert until is not None
        assert until <= house.clock.now()
        assert await count(house, e.MaintenanceEnded) == 1


async def test_a_refused_command_was_not_done_and_is_decided_on_again(config: Path) -> None:
    async with Living(config) as house:
        await ask(house, **DECLARE)
    approve = {"by": "ann", "id": "a1", "command": "approve", **INCIDENT}
    first = await asyncio.to_thread(die_doing, config, approve)
    async with Living(config) as house:
        again = await house.operations.execute(approve)
    assert (first["ok"], again.ok) == (False, False)
    assert again.refusal is not None


async def test_an_id_out_of_hostile_bytes_is_an_id_like_any_other(config: Path) -> None:
    request = {**DECLARE, "by": "ann", "id": "\ud800'; DROP TABLE fired; --\x00"}
    await asyncio.to_thread(die_doing, config, request)
    async with Living(config) as house:
        await house.operations.execute(request)
        assert await count(house, e.IncidentOpened) == 1
    assert os.path.exists(config)
