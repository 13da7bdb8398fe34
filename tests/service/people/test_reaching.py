"""Which way a command takes, and when it takes none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stanch.model.errors import PolicyInvalid, StoreUnsuitable
from stanch.service.house import open_store, read_policy_file, state_path_of_invalid
from stanch.service.people.reaching import ask, execute
from stanch.store.inbox import collect
from stanch.store.statedir import StateDir, prepare, take_lock

HALT = {"command": "halt", "by": "ann"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "stanch.yaml"
    path.write_text(
        f"""
state_directory: {tmp_path / "state"}
people: {{ann: {{name: Ann, contacts: []}}}}
ladder: [ann]
channels: {{screen: {{type: terminal}}}}
targets: {{orders: {{dsn: service=orders}}}}
"""
    )
    return path


def broken(config: Path) -> Path:
    config.write_text(config.read_text() + "targtes: {}\n")
    return config


def state_of(config: Path) -> StateDir:
    return StateDir(path=config.parent / "state")


async def made(config: Path) -> None:
    """A store that some responder once wrote in."""
    await open_store(read_policy_file(config), threaded=False).close()


async def test_a_command_where_no_responder_ever_ran_is_refused_and_makes_no_store(
    config: Path,
) -> None:
    with pytest.raises(StoreUnsuitable):
        await execute(config, HALT)
    assert not state_of(config).db.exists()


async def test_with_nobody_running_a_command_is_done_in_the_store(config: Path) -> None:
    await made(config)
    reply = await execute(config, HALT)
    assert (reply.via, reply.ok) == ("store", True)


async def test_while_somebody_holds_the_store_and_does_not_answer_it_waits_in_the_inbox(
    config: Path,
) -> None:
    await made(config)
    held = take_lock(prepare(state_of(config).path))
    try:
        reply = await execute(config, HALT)
    finally:
        held.release()
    [left] = collect(state_of(config).inbox)
    assert reply.via == "inbox"
    assert json.loads(left.text)["command"] == "halt"


async def test_an_error_in_the_policy_keeps_nobody_from_halting_what_runs(config: Path) -> None:
    await made(config)
    held = take_lock(prepare(state_of(config).path))
    try:
        reply = await execute(broken(config), HALT)
    finally:
        held.release()
    assert reply.via == "inbox"


async def test_with_an_invalid_policy_and_nobody_running_the_errors_are_told(
    config: Path,
) -> None:
    await made(config)
    with pytest.raises(PolicyInvalid):
        await execute(broken(config), HALT)
    with pytest.raises(PolicyInvalid):
        await ask(config, "/incidents", {})


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2]", "state_directory: 7", "a: [", "\x00", "state_directory: ''", "!!python/none"],
)
def test_a_file_that_says_no_state_directory_gives_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stanch.yaml"
    path.write_text(text)
    assert state_path_of_invalid(path) is None
