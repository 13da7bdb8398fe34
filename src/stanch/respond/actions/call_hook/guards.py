"""When a hook may be called. Pure: from a look at what it changes, taken right before."""

from __future__ import annotations

from stanch.model.diagnosis import CauseFinding, Missing
from stanch.model.hooks import Hook
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import printable
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard

GUARDS = (
    Guard(name="named_hook", asks="Does policy name this hook for this target?"),
    Guard(name="known_before", asks="Does `verify_url` tell how it is now?"),
    Guard(name="not_so_yet", asks="Is it not so already?"),
)

VALUE_CHARS_MAX = 120


def named_hook(step: PlannedStep, target: TargetPolicy) -> Hook | Refusal:
    """The hook of a step, by its name in policy; nothing else says what is called."""
    name = step.param("hook")
    hook = target.hook(name) if isinstance(name, str) else None
    if hook is None:
        shown = printable(str(name))[:80]
        return no("named_hook", f"policy names no hook {shown}", lifts="`hooks` of this target.")
    return hook


def withheld(step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    hook = named_hook(step, target)
    return hook if isinstance(hook, Refusal) else None


def may_call(hook: Hook, now: str | Missing) -> Refusal | None:
    if isinstance(now, Missing):
        return unknown("known_before", now, lifts="`verify_url` that answers.")
    if now == hook.equals:
        return no("not_so_yet", f"{hook.name} has done its work", lifts="Nothing is needed.")
    return None


def shown(value: str) -> str:
    """What somebody else answered, escaped and short."""
    return printable(value)[:VALUE_CHARS_MAX]
