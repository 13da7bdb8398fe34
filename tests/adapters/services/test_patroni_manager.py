"""How Patroni is asked for a restart, for what it is never asked, and what its answers mean."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from http_at import Asked, At, Said, http_at, said
from stanch.adapters.services.patroni_manager import PatroniManager
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus, Postmaster
from stanch.policy.patroni import PatroniSource

BEGAN = "2026-03-01 06:00:00.123456+00:00"
WELL: dict[str, Any] = {
    "state": "running",
    "role": "master",
    "postmaster_start_time": BEGAN,
    "database_system_identifier": "42",
    "patroni": {"version": "3.0.2", "scope": "shop", "name": "one"},
}
MEANT = Postmaster(
    pid=100,
    started_at_epoch_s=1772344799,
    since=datetime.fromisoformat(BEGAN),
    system_identifier="42",
)


def manager(at: At, folder: Path) -> PatroniManager:
    return PatroniManager(PatroniSource(url=f"{at.url}/"), data_directory=str(folder))


async def status(folder: Path, **changes: Any) -> ManagerStatus:
    async with http_at(lambda _: said({**WELL, **changes})) as at:
        found = await manager(at, folder).status()
    assert isinstance(found, ManagerStatus), found
    return found


async def restarted(
    folder: Path, answer: Said, *, meant: Postmaster = MEANT
) -> tuple[ManagerAnswer, list[Asked]]:
    def answers(asked: Asked) -> Said:
        return said(WELL) if asked.method == "GET" else answer

    async with http_at(answers) as at:
        came = await manager(at, folder).restart(meant, deadline_s=1.0)
    return came, [asked for asked in at.asked if asked.method != "GET"]


async def test_it_is_asked_only_for_a_restart_of_a_server_that_runs(tmp_path: Path) -> None:
    found = await status(tmp_path)
    assert (found.why_not("restart"), found.restarts_by_itself) == ("", True)
    assert "by itself" in found.why_not("start")
    assert "patronictl pause" in found.why_not("stop")
    assert found.detail == "Patroni: one of shop, master"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": "starting"}, "starting"),
        ({"scheduled_restart": {"schedule": "2026-03-14"}}, "scheduled"),
        ({"cluster_unlocked": True}, "nobody leads"),
    ],
)
async def test_a_restart_at_a_bad_moment_is_not_asked_for(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    assert why in (await status(tmp_path, **changes)).why_not("restart")


async def test_maintenance_mode_is_told_and_keeps_nobody_from_a_restart(tmp_path: Path) -> None:
    found = await status(tmp_path, pause=True)
    assert found.why_not("restart") == ""
    assert "maintenance mode" in found.detail
    assert "patronictl resume" in found.why_not("start")


async def test_it_restarts_on_condition_of_the_role_that_was_seen(tmp_path: Path) -> None:
    came, [asked] = await restarted(tmp_path, Said(body=b"restarted successfully"))
    assert came.ok
    assert (asked.path, json.loads(asked.body)) == ("/restart", {"role": "master"})


@pytest.mark.parametrize(
    "meant",
    [
        replace(MEANT, system_identifier="43"),
        replace(MEANT, since=MEANT.since.replace(microsecond=1)),
    ],
)
async def test_another_server_than_the_one_meant_is_not_restarted(
    tmp_path: Path, meant: Postmaster
) -> None:
    came, asked = await restarted(tmp_path, Said(body=b"restarted successfully"), meant=meant)
    assert (came.another, asked) == (True, [])


@pytest.mark.parametrize(
    ("status", "words", "another", "left_down"),
    [
        (503, "restart conditions are not satisfied", True, False),
        (503, "restart already in progress", False, False),
        (503, "restart failed", False, True),
        (401, "wrong login", False, False),
    ],
)
async def test_what_it_answers_is_told_as_it_is(
    tmp_path: Path, status: int, words: str, another: bool, left_down: bool
) -> None:
    came, _ = await restarted(tmp_path, Said(status=status, body=words.encode()))
    assert (came.ok, came.another, came.left_down) == (False, another, left_down)
    assert words in came.detail


@pytest.mark.parametrize(
    "answer",
    [Said(status=503, body=b"postgres is still starting"), Said(status=500), Said(stays=True)],
)
async def test_an_answer_that_does_not_say_what_became_of_it_is_in_doubt(
    tmp_path: Path, answer: Said
) -> None:
    with pytest.raises(ProbeFailed):
        await restarted(tmp_path, answer)


async def test_neither_a_start_nor_a_stop_is_ever_asked_for(tmp_path: Path) -> None:
    async with http_at(lambda _: said(WELL)) as at:
        one = manager(at, tmp_path)
        assert not (await one.start(deadline_s=1)).ok
        assert not (await one.stop(MEANT, deadline_s=1)).ok
    assert at.asked == []


async def test_whatever_is_not_patroni_s_word_is_no_status(tmp_path: Path) -> None:
    async with http_at(lambda _: Said(body=b"[]")) as at:
        assert isinstance(await manager(at, tmp_path).status(), Missing)
        with pytest.raises(ProbeFailed):
            await PatroniManager(
                PatroniSource(url="http://127.0.0.1:1"), data_directory=str(tmp_path)
            ).restart(MEANT, deadline_s=1)
    found = await status(tmp_path, postmaster_start_time="soon", database_system_identifier=7)
    assert found.why_not("restart") == ""
    assert all(asked.method == "GET" for asked in at.asked)
