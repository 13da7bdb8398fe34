"""A transaction that is being decoded from disk at this moment, and one of last night."""

from __future__ import annotations

from typing import Any

import pytest

import cases_replication as c
import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose

MIB = 1024**2


def decodes(
    *,
    ever: float,
    on_disk: float | None,
    unconfirmed: float,
    active: float = 1.0,
    work_mem: str = "",
) -> Evidence:
    figures = [
        w.figure("decoding_spilled_bytes_total", ever * MIB, "warehouse"),
        w.figure("slot_active", active, "warehouse", "logical"),
        w.figure("slot_unconfirmed_bytes", unconfirmed * MIB, "warehouse"),
    ]
    if on_disk is not None:
        figures.append(w.figure("decoding_spill_files_bytes", on_disk * MIB, "warehouse"))
    return w.healthy(
        figures=c.primary(*figures, logical_decoding_work_mem=work_mem),
        activity=w.activity(w.doing(2), c.server("Client:WalSenderWaitForWAL", "walsender")),
    )


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def test_files_of_a_transaction_that_is_not_over_tell_it_whatever_was_confirmed() -> None:
    evidence = decodes(ever=30, on_disk=30, unconfirmed=0)
    assert standing(evidence) == ["decoding_spill"]
    assert "30.0 MiB spilled to disk" in diagnose(evidence).summary


def test_where_nobody_may_list_files_what_was_spilled_and_not_confirmed_has_to_do() -> None:
    small = decodes(ever=20, on_disk=None, unconfirmed=20, work_mem="64kB")
    assert standing(small) == ["decoding_spill"]
    assert standing(decodes(ever=90, on_disk=None, unconfirmed=90)) == ["decoding_spill"]


QUIET: dict[str, dict[str, Any]] = {
    "a spill of last night, and a standby that is behind": {
        "ever": 9000,
        "on_disk": 0,
        "unconfirmed": 300,
    },
    "a batch that goes to disk and back": {"ever": 9000, "on_disk": 2, "unconfirmed": 2},
    "less than fits into memory": {"ever": 20, "on_disk": None, "unconfirmed": 20},
    "a slot that nobody reads": {"ever": 90, "on_disk": 90, "unconfirmed": 90, "active": 0.0},
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_what_is_not_on_disk_now_keeps_no_consumer_waiting(what: str) -> None:
    assert "decoding_spill" not in standing(decodes(**QUIET[what]))
