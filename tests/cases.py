"""Evidence on which each cause has to be named, one module a section of the catalogue."""

from __future__ import annotations

import cases_access
import cases_data
import cases_disk
import cases_host
import cases_locks
import cases_replication
import cases_work
from stanch.diagnose.evidence import Evidence

ALL: dict[str, Evidence] = {
    **cases_host.CASES,
    **cases_access.CASES,
    **cases_data.CASES,
    **cases_disk.CASES,
    **cases_locks.CASES,
    **cases_replication.CASES,
    **cases_work.CASES,
}
