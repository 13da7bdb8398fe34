"""When a timeout of a role may be set. Pure: from a reading taken right before."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.facts.starting_with import RoleTimeout
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.actions.set_parameter.parameters import number_of
from stanch.respond.guarding import first_no, no, unknown
from stanch.respond.sessions import spared
from stanch.steps.action import Guard

LOWEST_S: Mapping[str, float] = {
    "statement_timeout": 5.0,
    "lock_timeout": 1.0,
    "idle_in_transaction_session_timeout": 10.0,
}
"""Below this ordinary work fails, too."""
HIGHEST_S = 86_400.0
PERSON = "A person decides."

GUARDS = (
    Guard(name="acting_session", asks="Is there a session that may change roles?"),
    Guard(name="same_server", asks="Is it the cluster that is watched, and its primary?"),
    Guard(name="allowed", asks="Is it one of three timeouts, and long enough for ordinary work?"),
    Guard(name="ordinary_role", asks="Is it a login without the rights of the server's own?"),
    Guard(name="not_protected", asks="Is it no backup, nothing policy protects, not Stanch?"),
    Guard(name="only_down", asks="Is it shorter than whatever holds for the role now?"),
    Guard(name="plain_names", asks="Can its name be shown, and the way back be pasted?"),
    Guard(name="still_so", asks="Can it be read what is set, and is that so until the effect?"),
)


def wrong_value(setting: str, seconds: object) -> str:
    """Why nothing sets this timeout to that; empty where it may be."""
    lowest = LOWEST_S.get(setting)
    if lowest is None:
        return f"{setting} is none of {', '.join(LOWEST_S)}"
    if not isinstance(seconds, int | float) or not lowest <= seconds <= HIGHEST_S:
        return f"{setting} may only be set between {lowest:.0f} s and {HIGHEST_S:.0f} s"
    return ""


def may_set(
    step: PlannedStep, seen: RoleTimeout | Missing | None, *, target: TargetPolicy, cluster: str
) -> Refusal | RoleTimeout:
    """The role whose timeout may be set, or the first reason not to."""
    setting, seconds = str(step.param("setting")), step.param("seconds")
    if wrong := wrong_value(setting, seconds):
        return no("allowed", printable(wrong), lifts=PERSON)
    if isinstance(seen, Missing):
        return unknown("still_so", seen, lifts="`stanch grants` prints the rights it takes.")
    if seen is None:
        return no("ordinary_role", "there is no such role, or no such database")
    assert isinstance(seconds, int | float)
    return (
        _elsewhere(seen, cluster)
        or _special(seen)
        or first_no(spared(name, target) for name in seen.applications)
        or _not_down(seen, seconds * 1000)
        or _unplain(seen)
        or seen
    )


def _elsewhere(seen: RoleTimeout, cluster: str) -> Refusal | None:
    if cluster and seen.cluster != cluster:
        return no("same_server", f"another cluster answers: {seen.cluster}, not {cluster}")
    return no("same_server", "it is a standby") if seen.in_recovery else None


def _special(seen: RoleTimeout) -> Refusal | None:
    role = printable(seen.role)
    if seen.superuser or seen.replication or seen.role.startswith("pg_"):
        return no("ordinary_role", f"{role} is a superuser, or replicates", lifts=PERSON)
    if not seen.login:
        return no("ordinary_role", f"{role} logs in nowhere: its settings hold for nobody")
    if seen.ours or seen.role.startswith("stanch"):
        return no("not_protected", f"{role} is Stanch's own")
    return None


def _not_down(seen: RoleTimeout, wanted_ms: float) -> Refusal | None:
    """Against what is set for exactly this role there, else against everything above it."""
    holding = (seen.own,) if seen.own is not None else seen.others
    for text in holding:
        present = number_of(text, "ms")
        if present is None:
            return no("only_down", printable(f"it is {text!r}, which cannot be compared"))
        if 0 < present <= wanted_ms:
            reason = f"{present / 1000:g} s holds already; it is only shortened"
            return no("only_down", reason, lifts=PERSON)
    return None


def _unplain(seen: RoleTimeout) -> Refusal | None:
    if printable(seen.undo) == seen.undo and printable(seen.statement) == seen.statement:
        return None
    return no("plain_names", f"{printable(seen.role)!r} is no plain name", lifts=PERSON)
