"""What is said of a backup whose content was tested, and of one that nobody has tested."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stanch.facts.pgbackrest_info import parse_info
from stanch.model.backups import Backup, BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.watch.backups.readings import PlaceReadings

AT = datetime(2026, 3, 2, tzinfo=UTC)
NAME = "backup_verification_failed"


def printed(*errors: Any) -> bytes:
    """`pgbackrest info` of a stanza with one backup a day."""
    backups = [
        {
            "label": f"2026030{n}F",
            "type": "full",
            "timestamp": {"stop": 1_772_000_000 + 86_400 * n},
            "info": {"delta": 1},
            "database": {"id": 1, "repo-key": 1},
            **({} if error == "untold" else {"error": error}),
        }
        for n, error in enumerate(errors)
    ]
    status = {"code": 0, "message": "ok"}
    return json.dumps(
        [{"name": "main", "status": status, "backup": backups, "archive": []}]
    ).encode()


def told(seen: BackupsSeen | Missing) -> tuple[float | None, str]:
    assert isinstance(seen, BackupsSeen)
    readings = PlaceReadings(place="local", keep_days=7).of(
        seen, Missing(what="archiver", reason="not asked"), at=AT
    )
    [one] = [reading for reading in readings if reading.name == NAME]
    return one.value, one.detail


@pytest.mark.parametrize(
    ("errors", "value"),
    [
        ((False, True), 1.0),
        ((True, False), 0.0),
        # Without checksums nothing is checked, and nothing is said.
        (("untold", None), None),
        ((True, "untold"), 1.0),
        ((), None),
    ],
)
def test_the_newest_that_pgbackrest_tested_counts(errors: tuple[Any, ...], value: Any) -> None:
    assert told(parse_info(printed(*errors), "main"))[0] == value


def test_what_is_wrong_with_it_is_said() -> None:
    _, said = told(parse_info(printed(False, True), "main"))
    assert said == "20260301F: pages with wrong checksums were found in it"


def test_a_backup_that_is_still_running_was_not_tested() -> None:
    running = Backup(name="x", kind="dump", at=AT, size_bytes=1, running=True, verified=False)
    assert told(BackupsSeen(backups=(running,)))[0] is None
