"""When a parameter may be changed. Pure: from a reading taken right before."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.facts.parameters import Parameter
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.actions.set_parameter.parameters import PARAMETERS, same_value, unfit
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard

RELOADED = frozenset({"sighup", "user", "superuser"})
FROM_FILES = frozenset({"default", "configuration file"})
"""Whatever else a value comes from wins over the settings files, or hides what they say."""
SHOWN = 3

GUARDS = (
    Guard(name="acting_session", asks="Is there a session that may change settings?"),
    Guard(name="same_server", asks="Is it the cluster that is watched?"),
    Guard(name="not_managed", asks="Does nobody else write its settings (Patroni, a provider)?"),
    Guard(name="allowed", asks="May a machine set it to that value, in that direction?"),
    Guard(name="by_reload", asks="Does a reload bring it into force?"),
    Guard(name="still_so", asks="Is it what it was when the plan was made, and from a file?"),
    Guard(name="files_readable", asks="Can the server read all of its settings files?"),
    Guard(name="nothing_else_waits", asks="Would the reload bring nothing else into force?"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What may be done, and how it is taken back."""

    name: str
    sql: str
    undo: str
    wanted: str
    """What is in force afterwards."""
    told: str
    before: str


def may_change(
    step: PlannedStep, seen: Parameter | Missing | None, *, target: TargetPolicy, cluster: str
) -> Refusal | Change:
    """The change that may be made, or the first reason not to."""
    name, value = str(step.param("parameter")), step.param("value")
    if name not in PARAMETERS:
        return no("allowed", printable(unfit(name, "", "", unit="")), lifts="A person does it.")
    if isinstance(seen, Missing):
        return unknown("still_so", seen, lifts="`stanch grants` prints the right to read it.")
    if seen is None:
        return no("still_so", f"this server has no parameter {name}")
    if cluster and seen.cluster != cluster:
        return no("same_server", f"another cluster answers: {seen.cluster}, not {cluster}")
    refusal = _managed(seen, target)
    wanted = str(value) if value else seen.beneath
    refusal = refusal or _bound(step, seen, wanted, resets=not value)
    if refusal is None and (wrong := unfit(name, wanted, seen.setting, unit=seen.unit)):
        refusal = no("allowed", printable(wrong), lifts="A person does it.")
    return refusal or _files(seen) or _change(seen, wanted, resets=not value)


def _managed(seen: Parameter, target: TargetPolicy) -> Refusal | None:
    lifts = "Whoever manages it changes it there."
    if target.patroni is not None or seen.cluster_name_source == "command line":
        return no("not_managed", "Patroni writes its settings and would undo it", lifts=lifts)
    if not seen.alter_system:
        return no("not_managed", "allow_alter_system is off", lifts=lifts)
    return None


def _bound(step: PlannedStep, seen: Parameter, wanted: str, *, resets: bool) -> Refusal | None:
    """Is it still what was planned with?"""
    if seen.context not in RELOADED or seen.pending_restart:
        return no("by_reload", f"{seen.name} takes a restart", lifts="A planned restart.")
    if seen.source not in FROM_FILES:
        reason = f"its value comes from: {seen.source}, which wins over postgresql.auto.conf"
        return no("still_so", printable(reason), lifts="Change it where it comes from.")
    was = step.param("was")
    if not isinstance(was, str) or not same_value(was, seen.setting, unit=seen.unit):
        reason = f"{seen.name} was {was} and is {seen.setting} now"
        return no("still_so", printable(reason), lifts="A new plan.")
    if same_value(wanted, seen.setting, unit=seen.unit):
        reason = f"{seen.name} is {seen.setting} already"
        return no("still_so", printable(reason), lifts="Nothing is needed.")
    if resets and seen.written is None:
        return no("still_so", f"{seen.name} is not in postgresql.auto.conf", lifts="A new plan.")
    return None


def _files(seen: Parameter) -> Refusal | None:
    if seen.errors:
        reason = f"the settings files have errors: {'; '.join(seen.errors[:SHOWN])}"
        return no("files_readable", printable(reason), lifts="Files without errors.")
    waiting = [
        one.name
        for one in seen.differing
        if one.written is None or not same_value(one.written, one.setting, unit=one.unit)
    ]
    if not waiting:
        return None
    reason = f"a reload would also bring into force what somebody changed: {waiting[:SHOWN]}"
    lifts = "Whoever changed it reloads, or takes it back."
    return no("nothing_else_waits", printable(reason), lifts=lifts)


def _change(seen: Parameter, wanted: str, *, resets: bool) -> Change:
    """The value is one of the words or numbers of the table: it needs no quoting, and gets it."""
    reset = f"ALTER SYSTEM RESET {seen.name}"
    back = f"ALTER SYSTEM SET {seen.name} = {seen.written_sql}" if seen.written_sql else reset
    sql = reset if resets else f"ALTER SYSTEM SET {seen.name} = '{wanted}'"
    unit = f" {seen.unit}" if seen.unit else ""
    written = "not in postgresql.auto.conf" if seen.written is None else "in postgresql.auto.conf"
    return Change(
        name=seen.name,
        sql=sql,
        undo=back,
        wanted=wanted,
        told=f"{seen.name} is {wanted}, before it was {seen.setting}{unit}",
        before=printable(
            f"{seen.name} = {seen.setting}{unit} ({seen.source}, {written}); way back: {back}; "
            "SELECT pg_reload_conf();"
        ),
    )
