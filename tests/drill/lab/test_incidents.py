"""Incidents as they were told in public: made on a real server, which shows each, and left by none.

An ordinary run makes a handful of them; all of them are made with STANCH_SOAK=1.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from drill.lab import incident_signs, incident_signs_around
from fix_servers import BINARIES, DEBIAN_AS_ROOT, MAJORS
from stanch.adapters.postgres.load import LoadOptions
from stanch.drill.lab.catalogue import BY_ID, INCIDENTS, SETS
from stanch.drill.lab.fault import Fault
from stanch.drill.lab.rigs import Rigs, cannot

SOAK = os.environ.get("STANCH_SOAK") == "1"
ORDINARY = (
    "constraint-of-an-empty-table",
    "hardened-on-a-friday",
    "nothing-is-kept-any-more",
    "no-more-transaction-ids",
    "reference-narrower-than-its-key",
)
TOLD = SETS[INCIDENTS]
SIGNS = {**incident_signs.SIGNS, **incident_signs_around.SIGNS}
MADE = [fault for fault in TOLD.values() if SOAK or fault.id in ORDINARY]
LOAD = LoadOptions(writers=1, pause_s=0.1)
versions = pytest.mark.parametrize("pg_major", MAJORS if SOAK else MAJORS[-1:], indirect=True)


def left_in(folder: Path) -> list[str]:
    """Processes that work there, and what is mounted there."""
    working: list[str] = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                working.append(process.name())
        except psutil.Error:
            continue
    mounts = [mounted.mountpoint for mounted in psutil.disk_partitions(all=True)]
    return [*working, *(one for one in mounts if Path(one).is_relative_to(folder))]


@pytest.fixture(scope="module")
def rigs(pg_major: int) -> Iterator[Rigs]:
    with tempfile.TemporaryDirectory(prefix="stanch-told-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        with Rigs(BINARIES[pg_major], parent=Path(name)) as made:
            yield made


def test_there_are_dozens_and_each_has_a_sign_of_its_own() -> None:
    assert len(TOLD) >= 30
    assert set(SIGNS) == set(TOLD)
    assert len(set(SIGNS.values())) == len(SIGNS)


def test_no_fault_is_in_both_sets() -> None:
    assert sum(map(len, SETS.values())) == len(BY_ID)


@versions
@pytest.mark.parametrize("fault", MADE, ids=lambda fault: fault.id)
def test_the_server_shows_it_and_nothing_is_left(rigs: Rigs, fault: Fault) -> None:
    lacking = cannot(fault.needs, rigs.binaries.major)
    if lacking and DEBIAN_AS_ROOT:
        pytest.fail(f"{lacking}; run scripts/setup-test")
    if lacking:
        pytest.skip(lacking)
    with rigs.rig(fault.needs, random.Random(fault.id), load=LOAD) as rig:
        fault.make(rig)
        SIGNS[fault.id](rig)
        folders = [rig.server.folder.path, *([rig.standby.folder.path] if rig.standby else [])]
        assert fault.id == "data-removed-on-the-wrong-machine" or any(map(left_in, folders))
    assert [folder for folder in folders if folder.exists() or left_in(folder)] == []
