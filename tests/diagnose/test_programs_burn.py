"""Other programs that take the processors, as one moment on the machine shows them."""

from __future__ import annotations

from typing import Any

import pytest

import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import Missing, Verdict
from stanch.model.host import ProcessorUse, ProgramUse

STRANGER = Missing(what="history", reason="nobody watches this server")
MINERS = (ProgramUse(pid=70, name="miner", used=2.0), ProgramUse(pid=71, name="miner", used=1.7))


def busy(*programs: ProgramUse, history: Any = STRANGER, **differs: Any) -> Evidence:
    usual: dict[str, Any] = {
        "seconds": 0.8,
        "processors": 4,
        "idle": 0.0,
        "server": 0.2,
        "looking": 0.1,
        "server_waited_share": 0.6,
    }
    use = ProcessorUse(programs=programs, **{**usual, **differs})
    return w.healthy(machine=w.read(use), history=history)


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


@pytest.mark.parametrize("history", [STRANGER, w.healthy().history], ids=["stranger", "watched"])
def test_programs_that_take_the_processors_are_neighbours_with_names(history: Any) -> None:
    evidence = busy(*MINERS, history=history)
    assert standing(evidence) == ["noisy_neighbour"]
    summary = diagnose(evidence).summary
    assert "miner (pid 70), miner (pid 71) use 3.7 of 4 processors, the server 0.2" in summary
    assert "it waits for one 60% of its time" in summary


def test_where_the_kernel_does_not_count_waits_the_rest_decides() -> None:
    assert standing(busy(*MINERS, server_waited_share=None)) == ["noisy_neighbour"]


QUIET = {
    "processors are left": busy(*MINERS, idle=0.6),
    "one program on one of four processors": busy(
        ProgramUse(pid=70, name="build", used=1.0), idle=2.7
    ),
    "the server uses as much": busy(*MINERS, server=2.1),
    "the server gets its processor at once": busy(*MINERS, server_waited_share=0.05),
    "many small programs, as applications beside it are": busy(
        *(ProgramUse(pid=n, name="shop", used=0.3) for n in range(8))
    ),
    "nobody else": busy(server=3.8),
    "the server wants next to nothing": busy(*MINERS, server=0.04, server_waited_share=0.84),
    "the server wants next to nothing, as far as is known": busy(
        *MINERS, server=0.04, server_waited_share=None
    ),
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_a_machine_that_is_busy_without_harm_has_no_bad_neighbours(what: str) -> None:
    assert diagnose(QUIET[what]).verdict is Verdict.HEALTHY
