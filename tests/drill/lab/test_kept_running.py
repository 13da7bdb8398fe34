"""Servers that somebody else keeps running, or backs up: broken for real, and nothing is left.

An ordinary run makes one of each; all of them are made with STANCH_SOAK=1.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fix_servers import BINARIES, DEBIAN_AS_ROOT
from stanch.adapters.postgres.load import LoadOptions
from stanch.drill.lab.breaking import remove_left
from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.faults import containers, patroni, repository
from stanch.drill.lab.means.patroni import run_by_patroni
from stanch.drill.lab.rigs import Rigs, cannot, joint

pytestmark = pytest.mark.world

SOAK = os.environ.get("STANCH_SOAK") == "1"
# What Patroni does is tried in an ordinary run by the test of its witness.
ORDINARY = ("container-stopped", "pgbackrest-stanza-broken")
EVERY = (*patroni.FAULTS, *containers.FAULTS, *repository.FAULTS)
MADE = [fault for fault in EVERY if SOAK or fault.id in ORDINARY]

MAJOR = 15
LOAD = LoadOptions(writers=1, pause_s=0.1)


def left_in(folder: Path) -> list[str]:
    """Processes that work there, and what is mounted there."""
    working: list[str] = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                working.append(process.name())
        except psutil.Error:
            continue
    mounts = [m.mountpoint for m in psutil.disk_partitions(all=True)]
    return [*working, *(m for m in mounts if Path(m).is_relative_to(folder))]


def possible(needs: Needs) -> None:
    lacking = cannot(needs, MAJOR)
    if lacking and DEBIAN_AS_ROOT:
        pytest.fail(f"{lacking}; run scripts/setup-test")
    if lacking:
        pytest.skip(lacking)


@pytest.mark.parametrize("fault", MADE, ids=lambda fault: fault.id)
def test_it_is_made_and_nothing_is_left(fault: Fault, public_folder: Path) -> None:
    possible(fault.needs)
    with (
        Rigs(BINARIES[MAJOR], parent=public_folder) as rigs,
        rigs.rig(fault.needs, random.Random(5), load=LOAD) as rig,
    ):
        fault.make(rig)
        assert left_in(public_folder), "else this test looks in the wrong place"
    assert left_in(public_folder) == []
    assert [*public_folder.iterdir()] == []


@pytest.mark.skipif(not SOAK, reason="takes half a minute; with STANCH_SOAK=1")
@pytest.mark.parametrize(
    "fault", [patroni.FAULTS[0], containers.FAULTS[0]], ids=lambda fault: fault.id
)
def test_what_a_killed_lab_left_is_taken_away(fault: Fault, tmp_path: Path) -> None:
    possible(fault.needs)
    out, words = tmp_path / "out", ("lab", "break", fault.id, "--major", str(MAJOR))
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "stanch", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "XDG_STATE_HOME": str(tmp_path)},
        )
    end_s = time.monotonic() + 120
    while "stanch lab heal" not in out.read_text() and process.poll() is None:
        assert time.monotonic() < end_s, out.read_text()
        time.sleep(0.1)
    process.kill()
    process.wait()
    [data] = re.findall(r"^data     (.+)$", out.read_text(), re.MULTILINE)
    folder = Path(data).parents[1]
    assert left_in(folder)
    remove_left(folder)
    assert left_in(folder) == []
    assert not folder.exists()


def sql_alone(rig: object) -> None: ...


PLAIN = Fault(id="plain", area=Area.LOCKS, story="", causes=("blocking_chain",), make=sql_alone)
ANYWHERE = Fault(
    id="anywhere",
    area=Area.LOCKS,
    story="",
    causes=("blocking_chain",),
    make=sql_alone,
    on_staging=True,
)
NOISE = Fault(id="noise", area=Area.LOCKS, story="", causes=(), make=sql_alone)


def test_what_is_made_for_one_keeper_is_not_made_under_another() -> None:
    for other in (PLAIN, containers.FAULTS[0]):
        with pytest.raises(NotMade, match="on different servers"):
            joint((patroni.FAULTS[0], other))


def test_sql_alone_is_made_under_any_keeper_who_is_begun_once() -> None:
    needs = joint((ANYWHERE, patroni.FAULTS[0], patroni.FAULTS[1], NOISE))
    assert needs.run_by == "patroni"
    assert needs.prepare == (run_by_patroni,)
    assert joint((PLAIN, ANYWHERE, NOISE)).run_by == "nobody"
