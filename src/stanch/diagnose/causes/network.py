"""No way to the server."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Weigh
from stanch.diagnose.causes.common import DOC, server_facts
from stanch.diagnose.causes.stopping import KILLED, STOPPED_CLEANLY
from stanch.diagnose.clues import lock, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.ids import CauseId
from stanch.model.symptoms import SymptomKind

NETWORK_UNREACHABLE = CauseId("network_unreachable")


def _tell(evidence: Evidence) -> str:
    processes = value_of(evidence.processes)
    if processes is not None and processes.postmaster_pid is not None:
        return "The server runs, but its packets do not get through: the way to it is broken."
    return "Nothing comes back from the server's address, not even a refusal."


network_unreachable = Cause(
    id=NETWORK_UNREACHABLE,
    sentence="Packets to the server, or its answers, are lost: a firewall, a route, a cable, or "
    "the whole machine.",
    family="down",
    prior=-2.0,
    weighs=(
        Weigh(clue=wire.silent, yes=5.0, no=-7.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=2.0, no=-4.0, now=True),
    ),
    tell=_tell,
    facts=server_facts,
    look_alikes=(STOPPED_CLEANLY, KILLED),
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Try from a second place and from the machine itself; look at firewall rules and "
    "routes changed last.",
    never=(
        "Do not promote a standby before the old primary is fenced: it may still take writes.",
        "Do not restart the server: the way to it is broken, not the server.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}runtime-config-connection.html#RUNTIME-CONFIG-TCP-SETTINGS",
)
