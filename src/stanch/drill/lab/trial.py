"""One trial: a rig is watched, broken, and asked about; by those who watched and by a stranger."""

from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.load import LoadOptions
from stanch.adapters.postgres.scratch import free_port
from stanch.drill.lab.fault import Fault
from stanch.drill.lab.rig import Rig
from stanch.drill.lab.rigs import Rigs, joint
from stanch.drill.responder import ResponderProcess
from stanch.model.errors import SetupError

WATCHED_S = (20.0, 30.0)
"""For so long the responder has watched when things break, and so long the server lived before it:
what is usual, and the mean of all the time before, are those of work and not of the start."""
ASKED_AFTER_S = 3.0
"""Nobody asks within the second."""
SETTLED_S = 4.0
"""After the question the watched diagnosis is taken as it is then."""
CLI_S = 30.0
OVER_S = 30.0
"""After a healing every incident is known to be over within this time."""
POLL_S = 0.25
TARGET, STANDBY = "orders", "orders-2"

View = Literal["all", "no_host", "no_privileges"]
ROLES: Mapping[View, str] = {
    "all": "stanch_watch",
    "no_host": "stanch_watch",
    "no_privileges": "stanch_blind",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """One cause of an answer."""

    id: str
    probability: float
    follows: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was said of a broken server."""

    verdict: str
    ranked: tuple[Ranked, ...]
    took_s: float
    """From the question to the answer."""
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is done to one server, and who looks."""

    faults: tuple[Fault, ...]
    """None: a healthy server."""
    noise: tuple[Fault, ...] = ()
    """Made as well, and the cause of nothing."""
    seed: int
    view: View = "all"
    heal_first: bool = False
    """It is taken back before anybody looks."""

    @property
    def asks_stranger(self) -> bool:
        """Whether somebody without a policy could see all that is broken."""
        return not any(fault.by_policy_alone for fault in self.faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Both answers to one trial; None where nobody answered, or a stranger was not asked."""

    trial: Trial
    watched: Answer | None
    stranger: Answer | None


def run_trial(rigs: Rigs, trial: Trial, *, folder: Path) -> Outcome:
    """Make the server, watch it, break it, ask. Raises: NotMade, SetupError."""
    rng = random.Random(trial.seed)
    load = LoadOptions(writers=rng.randint(1, 3), pause_s=rng.choice((0.02, 0.05, 0.1)))
    needs = joint((*trial.faults, *trial.noise))
    with ExitStack() as stack:
        rig = stack.enter_context(rigs.rig(needs, rng, load=load))
        if trial.view == "no_privileges":
            _create_blind(rig)
        responder = _responder(stack, rig, folder, trial.view)
        time.sleep(rng.uniform(*WATCHED_S))
        _break(rig, trial)
        on = STANDBY if any(f.seen_on == "standby" for f in trial.faults) else TARGET
        return Outcome(
            trial=trial,
            watched=_after(responder) if trial.heal_first else _watched(responder, on),
            stranger=_stranger(rig, on, trial.view) if trial.asks_stranger else None,
        )


def _create_blind(rig: Rig) -> None:
    rig.admin(f"CREATE ROLE {ROLES['no_privileges']} LOGIN")
    if rig.server.passwords:
        word = secrets.token_urlsafe(12)
        rig.admin(f"ALTER ROLE {ROLES['no_privileges']} PASSWORD '{word}'")
        rig.server.passwords[ROLES["no_privileges"]] = word


def _break(rig: Rig, trial: Trial) -> None:
    for fault in (*trial.noise, *trial.faults):
        fault.make(rig)
    if trial.heal_first:
        time.sleep(_shown_after_s(trial))
        rig.heal()
    time.sleep(_shown_after_s(trial))


def _shown_after_s(trial: Trial) -> float:
    return max([ASKED_AFTER_S, *(fault.shows_after_s for fault in trial.faults)])


# --- those who watched --------------------------------------------------------------------------


def _responder(stack: ExitStack, rig: Rig, folder: Path, view: View) -> ResponderProcess:
    listen = f"127.0.0.1:{free_port()}"
    responder = ResponderProcess(folder, listen=listen)
    responder.config.write_text(json.dumps(_policy(rig, folder, listen, view)), encoding="utf-8")
    stack.callback(responder.stop)
    responder.start()
    return responder


def _policy(rig: Rig, folder: Path, listen: str, view: View) -> dict[str, Any]:
    names = [TARGET, *([STANDBY] if rig.standby else [])]
    policy: dict[str, Any] = {
        "state_directory": str(folder / "state"),
        "listen": listen,
        # A webhook receives every page: nobody needs a contact.
        "people": {"ann": {"name": "Ann"}},
        "ladder": ["ann"],
        # Nobody listens there: what is measured is the diagnosis.
        "channels": {"hook": {"type": "webhook", "url": f"http://127.0.0.1:{free_port()}/"}},
        "targets": {
            name: {
                "dsn": _dsn(rig, name, view),
                "desired": "running",
                "manager": "none",
                **(rig.policy if name == TARGET else rig.standby_policy),
                **({"host": "none"} if view == "no_host" else {}),
            }
            for name in names
        },
    }
    if rig.standby is not None:
        policy["clusters"] = {"shop": {"targets": names}}
    return policy


def _dsn(rig: Rig, name: str, view: View) -> str:
    """The connection string of those who look."""
    if name == TARGET:
        return make_conninfo(rig.server.dsn(ROLES[view], "app"), **rig.way)
    assert rig.standby is not None, "there is no standby to ask"
    return rig.standby.dsn(ROLES[view], "app")


def _watched(responder: ResponderProcess, on: str) -> Answer | None:
    """What the open incidents say; where there is none a person declares one."""
    if not _open(responder):
        responder.declare("something is wrong", target=on)
    asked_at = datetime.now(UTC)
    time.sleep(SETTLED_S)
    found = [_diagnosed(responder.incident(one["id"])) for one in _open(responder)]
    told = [pair for pair in found if pair is not None]
    if not told:
        return None
    # The incident whose newest diagnosis is surest: a person looks there first.
    value, opened_at, first_at = max(told, key=lambda pair: _surest(pair[0]))
    began = max(opened_at, asked_at) if first_at > asked_at else opened_at
    return _answer(value, took_s=(first_at - began).total_seconds())


def _after(responder: ResponderProcess) -> Answer:
    """What those who watched say once it is over: every incident serves again, or still has a
    cause. An incident that nobody had opened by then is not opened for it."""
    began_s = time.monotonic()
    while True:
        left = [one for one in _open(responder) if one["status"] != "rescued"]
        waited_s = time.monotonic() - began_s
        if not left or waited_s > OVER_S:
            break
        time.sleep(POLL_S)
    verdict = "cause" if left else "recovered"
    ranked = tuple(
        Ranked(id=one["cause"], probability=1.0, follows=None) for one in left if one["cause"]
    )
    return Answer(verdict=verdict, ranked=ranked, took_s=waited_s, told=verdict)


def _open(responder: ResponderProcess) -> list[dict[str, Any]]:
    return [one for one in responder.incidents() if one["status"] not in ("resolved", "merged")]


def _diagnosed(shown: dict[str, Any]) -> tuple[dict[str, Any], datetime, datetime] | None:
    timeline = shown.get("timeline", [])
    found = [entry for entry in timeline if entry["kind"] == "diagnosis.recorded.v1"]
    if not found:
        return None
    opened_at, first_at = (datetime.fromisoformat(e["at"]) for e in (timeline[0], found[0]))
    made = [entry["body"]["diagnosis"] for entry in found]
    # People know an incident by the newest cause that was named, also once nothing is seen of it.
    named = [one for one in made if one["verdict"] == "cause"]
    return (named or made)[-1], opened_at, first_at


def _surest(diagnosis: dict[str, Any]) -> float:
    return max((float(cause["probability"]) for cause in diagnosis["causes"]), default=0.0)


# --- a stranger ---------------------------------------------------------------------------------


def _stranger(rig: Rig, on: str, view: View) -> Answer | None:
    """What `stanch diagnose` says to somebody who has never seen the server before, and who knows
    where its files lie."""
    words = [sys.executable, "-m", "stanch", "diagnose", _dsn(rig, on, view), "--json"]
    words += _places(rig, on, view)
    began_s = time.monotonic()
    try:
        # A session of its own, or the load of every trial would have the same share as it.
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=CLI_S,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return None
    took_s = time.monotonic() - began_s
    try:
        value = json.loads(done.stdout)
    except ValueError as error:
        raise SetupError(f"stanch diagnose said no JSON: {done.stderr[-1000:]}") from error
    return _answer(value, took_s=took_s)


def _places(rig: Rig, on: str, view: View) -> list[str]:
    """Where else somebody may look, as options."""
    server, policy = rig.server, rig.policy
    if on == STANDBY and rig.standby is not None:
        server, policy = rig.standby, rig.standby_policy
    words = ["--patroni", policy["patroni"]["url"]] if "patroni" in policy else []
    if view == "no_host":
        return [*words, "--host", "none"]
    if "host" in policy:
        words += ["--host", json.dumps(policy["host"])]
    words += ["--data-directory", str(server.data_directory)]
    return [*words, "--log", str(server.log_path)] if rig.has_log_file else words


def _answer(value: dict[str, Any], *, took_s: float) -> Answer:
    causes: Sequence[dict[str, Any]] = value["causes"]
    return Answer(
        verdict=value["verdict"],
        ranked=tuple(
            Ranked(id=c["id"], probability=c["probability"], follows=c["follows"]) for c in causes
        ),
        took_s=took_s,
        told=value["summary"],
    )
