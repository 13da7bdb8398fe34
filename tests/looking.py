"""`stanch diagnose` without the command: gather, and judge."""

from __future__ import annotations

from stanch.diagnose.rank import diagnose
from stanch.diagnose.run import DEADLINE_S
from stanch.model.diagnosis import Diagnosis
from stanch.service.watched.diagnosing import HostChoice, gather_for_dsn


async def diagnose_dsn(
    dsn: str,
    *,
    data_directory: str = "",
    log: str = "",
    host: HostChoice = "auto",
    deadline_s: float = DEADLINE_S,
) -> Diagnosis:
    """The verdict on a server that nobody watches."""
    return diagnose(
        await gather_for_dsn(
            dsn, data_directory=data_directory, log=log, host=host, deadline_s=deadline_s
        )
    )
