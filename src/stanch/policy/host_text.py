"""A machine as it is typed on a command line: the value of the policy's key `host`, alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stanch.model.errors import SetupError
from stanch.model.findings import Finding
from stanch.policy.host_checks import contradiction
from stanch.policy.host_keys import HOST_POLICY
from stanch.policy.hosts import HostPolicy
from stanch.policy.nodes import Unreadable, compose
from stanch.policy.places import Places
from stanch.policy.quoting import quoted
from stanch.policy.reading import Reading
from stanch.policy.shapes import Key, Section

LIKE = (
    f"One of {', '.join(HOST_POLICY.words.values)}, or as under `host` in a policy: "
    "'ssh: {host: db1.example.com, user: stanch}', 'docker: {container: orders-db}', "
    "'kubernetes: {namespace: shop, pod: orders-db-0}', 'prometheus: {url: …, instance: …}'."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    host: HostPolicy = "auto"


_GIVEN = Section(
    title="host",
    make=_Given,
    keys=(Key(name="host", field="host", holds=HOST_POLICY, doc="How the machine is seen."),),
)


def read_host(text: str, *, option: str) -> HostPolicy:
    """What stands under `host` in a policy, in one line of YAML.

    Raises: SetupError with the first thing that is wrong, and what to write in its place.
    """
    indented = text.strip().replace("\n", "\n  ")
    node = compose(f"host:\n  {indented}")
    if isinstance(node, Unreadable):
        raise SetupError(f"{quoted(text)} {node.what}", on=option, hint=LIKE)
    places = Places(option)
    places.mark((), node)
    given = Reading(places).section(_GIVEN, node, ())
    _refuse(places.in_order(), option)
    host: HostPolicy = given.host
    if (wrong := contradiction(host)) is not None:
        key, what, hint = wrong
        raise SetupError(f"{key}: {what}", on=option, hint=hint)
    return host


def _refuse(findings: Sequence[Finding], option: str) -> None:
    """Everything that is wrong at once, each with what to write."""
    if not findings:
        return
    told, hints = list[str](), list[str]()
    for found in findings:
        # At `host` itself stands a word, or what was meant for one: the notation is not known.
        where = found.path.removeprefix("host").lstrip(".")
        told.append(f"{where}: {found.what}" if where else found.what)
        hints.append(found.hint if where or "in place of one" in found.what else LIKE)
    raise SetupError("; ".join(told), on=option, hint=" ".join(dict.fromkeys(hints)))
