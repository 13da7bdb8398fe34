"""No way to the server."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, server_facts
from stanch.diagnose.causes.ids import DNS_FAILURE, NETWORK_UNREACHABLE
from stanch.diagnose.clues import lock, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.symptoms import SymptomKind


def _tell(evidence: Evidence) -> str:
    processes = value_of(evidence.processes)
    if processes is not None and processes.postmaster_pid is not None:
        return "The server runs, but its packets do not get through: the way to it is broken."
    return "Nothing comes back from the server's address, not even a refusal."


network_unreachable = Cause(
    id=NETWORK_UNREACHABLE,
    section=Section.ACCESS,
    sentence="Packets to the server, or its answers, are lost: a firewall, a route, a cable, or "
    "the whole machine.",
    onset=Onset.AT_ONCE,
    impact="At once, for everybody on this side of the network.",
    family="down",
    prior=-2.0,
    weighs=(
        Weigh(clue=wire.silent, yes=5.0, no=-7.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=2.0, no=-4.0, now=True),
        # Nobody takes connections from its queue, and once that is full packets are dropped.
        Weigh(clue=lock.postmaster_suspended, yes=-6.0, no=0.0, now=True),
    ),
    tell=_tell,
    facts=server_facts,
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


def _tell_dns(evidence: Evidence) -> str:
    inside = value_of(evidence.sessions)
    rest = " The server itself runs: an open session to it answers." if inside else ""
    return f"The server's name could not be turned into an address here.{rest}"


dns_failure = Cause(
    id=DNS_FAILURE,
    section=Section.ACCESS,
    sentence="The name in the connection string has no address where the connection starts: a "
    "resolver that is down, a name that was removed or mistyped.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever connects anew; open sessions go on.",
    family="down",
    prior=-2.0,
    weighs=(
        Weigh(clue=wire.unresolved, yes=6.5, no=-7.0, now=True),
        # A server that is gone, too, is another failure beside this one.
        Weigh(clue=lock.postmaster_alive, yes=1.0, no=-2.0, now=True),
    ),
    tell=_tell_dns,
    facts=server_facts,
    apart={
        NETWORK_UNREACHABLE: "Does a connection to the server's address, instead of its "
        "name, get an answer?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Ask for the name here and in another place (getent hosts), then connect to the "
    "server's address instead of its name.",
    never=(
        "Do not restart the server: nothing is known to be wrong with it.",
        "Do not fail over: whoever asks for the same name will not find the new server either.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}libpq-connect.html#LIBPQ-CONNECT-HOST",
)
