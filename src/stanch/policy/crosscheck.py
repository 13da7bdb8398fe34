"""What one key of stanch.yaml says about another: names must exist, acts must be possible.

Every check looks at a draft in which wrong values were replaced by defaults, and stays
quiet about places that already have an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stanch.model.findings import Level
from stanch.model.plans import Mode
from stanch.policy.backups import backup_contradiction
from stanch.policy.clusters import cluster_contradictions
from stanch.policy.dsn import read_conninfo
from stanch.policy.hook_checks import hook_contradictions
from stanch.policy.host_checks import contradiction
from stanch.policy.hosts import DockerHost, HostPolicy
from stanch.policy.level_checks import level_contradictions
from stanch.policy.places import PathTo, Places
from stanch.policy.policy import (
    CONTAINER_ACTIONS,
    POOL_ACTIONS,
    SESSION_ACTIONS,
    SIGNALLING_ACTIONS,
    Policy,
    SmtpChannel,
    TargetPolicy,
)
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest
from stanch.policy.rule_checks import rule_contradictions
from stanch.policy.sign_checks import sign_contradictions
from stanch.policy.signal_checks import signal_contradictions
from stanch.policy.signs import ConsolePools, QueryPools
from stanch.policy.silence_checks import silence_contradictions

NEEDS_HOST = (
    "start_server",
    "set_aside_lock_file",
    "free_space",
    "stop_server",
    "restart_server",
)
TURNING = ("start_server", "stop_server", "restart_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One contradiction between two places of the file."""

    path: PathTo
    what: str
    hint: str
    level: Level = "error"


def crosscheck(draft: Policy, places: Places) -> None:
    """Add what contradicts itself to the findings."""
    doubts = [
        *_people(draft, places),
        *_ladder(draft, places),
        *_channels(draft),
        *_targets(draft, places),
        *_addresses(draft),
        *_rules(draft, places),
        *_signals(draft, places),
        *_clusters(draft, places),
        *_silences(draft, places),
        *_levels(draft, places),
        *_break_glass(draft, places),
    ]
    for doubt in doubts:
        if doubt.level == "warning" or not places.failed(doubt.path):
            places.find(doubt.path, doubt.what, doubt.hint, level=doubt.level)


def _people(draft: Policy, places: Places) -> Iterator[Doubt]:
    channels = {channel.name: channel for channel in draft.channels}
    broadcast = [c.name for c in draft.channels if not isinstance(c, SmtpChannel)]
    for person in draft.people:
        path = ("people", person.id)
        for index, contact in enumerate(person.contacts, 1):
            at = (*path, "contacts", str(index), "channel")
            channel = channels.get(contact.channel)
            if channel is None and not places.given(("channels", contact.channel)):
                hint = nearest(contact.channel, tuple(channels)) or "Define it under `channels`."
                yield Doubt(path=at, what=f"unknown channel {quoted(contact.channel)}", hint=hint)
            elif channel is not None and not isinstance(channel, SmtpChannel):
                yield Doubt(
                    path=at,
                    what=f"{quoted(contact.channel)} is no mail channel",
                    hint="It receives every page anyway; remove this contact.",
                )
        if not person.contacts and not broadcast and not places.failed(("channels",)):
            yield Doubt(
                path=path,
                what="cannot be reached: no contact, and no channel that receives every page",
                hint="Add a contact, or a webhook or terminal channel.",
            )


def _ladder(draft: Policy, places: Places) -> Iterator[Doubt]:
    ids = tuple(person.id for person in draft.people)
    if not draft.ladder:
        yield Doubt(path=("ladder",), what="is empty", hint="Somebody must be paged: name them.")
    for index, person_id in enumerate(draft.ladder, 1):
        if person_id not in ids and not places.given(("people", person_id)):
            yield Doubt(
                path=("ladder", str(index)),
                what=f"unknown person {quoted(person_id)}",
                hint=nearest(person_id, ids) or "Define them under `people`.",
            )


def _channels(draft: Policy) -> Iterator[Doubt]:
    if not draft.channels:
        yield Doubt(path=("channels",), what="is empty", hint="Define how messages leave.")
    for channel in draft.channels:
        if not isinstance(channel, SmtpChannel):
            continue
        path = ("channels", channel.name)
        if channel.username and not channel.password_file:
            yield Doubt(
                path=(*path, "username"),
                what="a login without a password",
                hint="Put the password into a file and name it in `password_file`.",
            )
        if channel.password_file and not channel.username:
            yield Doubt(
                path=(*path, "password_file"),
                what="a password without a login",
                hint="Add `username`, or remove this line.",
            )
        if channel.username and channel.tls == "none":
            yield Doubt(
                path=(*path, "username"),
                what="the login and its password travel in the clear",
                hint="Set `tls: starttls` or `tls: tls`.",
                level="warning",
            )


def _targets(draft: Policy, places: Places) -> Iterator[Doubt]:
    if not draft.targets:
        yield Doubt(path=("targets",), what="is empty", hint="Name at least one server to watch.")
    seen: dict[str, str] = {}
    for target in draft.targets:
        path = ("targets", target.name)
        yield from _secrets(target, path)
        yield from _actions(target, path)
        yield from _rescue(target, path)
        yield from _host(target, path)
        yield from _backups(target, path)
        yield from _services(target, path)
        yield from _canary(target, path)
        for at, what, hint in hook_contradictions(target):
            yield Doubt(path=(*path, *at), what=what, hint=hint)
        known = seen.setdefault(target.dsn, target.name)
        if known != target.name and not places.failed((*path, "dsn")):
            yield Doubt(
                path=(*path, "dsn"),
                what=f"is the connection string of {quoted(known)}, too",
                hint="Two targets on one server open two incidents for every fault.",
                level="warning",
            )


def _host(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    found = contradiction(target.host)
    if found is not None:
        key, what, hint = found
        yield Doubt(path=(*path, "host", key), what=what, hint=hint)


def _backups(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    found = backup_contradiction(target.backups, target.host)
    if found is not None:
        key, what, hint = found
        yield Doubt(path=(*path, "backups", key), what=what, hint=hint)


def _services(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    for at, what, hint, is_error in sign_contradictions(target):
        yield Doubt(
            path=(*path, *at), what=what, hint=hint, level="error" if is_error else "warning"
        )


def _canary(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    if target.canary is not None and target.wake == "never":
        yield Doubt(
            path=(*path, "canary"),
            what="every write would wake a server that wake: never lets sleep",
            hint="Remove `canary`, or set `wake: always`.",
        )


def _secrets(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    for at, dsn in (
        (("dsn",), target.dsn),
        (("acting_dsn",), target.acting_dsn),
        (("app_dsn",), target.app_dsn),
        *(
            (("pools", pools.name, "dsn"), pools.dsn)
            for pools in target.pools
            if isinstance(pools, ConsolePools | QueryPools)
        ),
        *(
            (("pools", pools.name, "admin_dsn"), pools.admin_dsn)
            for pools in target.pools
            if isinstance(pools, ConsolePools)
        ),
    ):
        known = read_conninfo(dsn) if dsn else None
        if known is not None and known.has_secret:
            yield Doubt(
                path=(*path, *at),
                what="has a password in it",
                hint="Keep it in a passfile (~/.pgpass) or a connection service (`service=…`).",
                level="warning",
            )


def _actions(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    for action, mode in target.actions.items():
        if mode is Mode.OBSERVE:
            continue
        lack = _lack(target, action)
        if lack is not None:
            what, hint = lack
            yield Doubt(path=(*path, "actions", action), what=f"{mode.value}: {what}", hint=hint)
    if target.desired == "running" and target.mode("start_server") is Mode.OBSERVE:
        yield Doubt(
            path=(*path, "desired"),
            what="running is only noted: start_server is observe",
            hint="Set `actions: {start_server: advise}` or `act`.",
            level="warning",
        )


def _lack(target: TargetPolicy, action: str) -> tuple[str, str] | None:
    """What the file itself says makes an action impossible."""
    if action in SESSION_ACTIONS and not target.acting_dsn:
        ends = action in SIGNALLING_ACTIONS
        what = "sessions cannot be ended" if ends else "nothing can be changed"
        return f"{what} without acting_dsn", "Add `acting_dsn` (`stanch grants`)."
    if action in POOL_ACTIONS and not any(target.admin_console(p.name) for p in target.pools):
        what = "no pooler can be changed without admin_dsn"
        return what, "Add `admin_dsn` to a pool source of type pgbouncer."
    if action == "call_hook" and not target.hooks:
        return "there is no hook to call", "Name one under `hooks`."
    if action in NEEDS_HOST and target.host == "none":
        return "needs the server's machine, and host is none", "Set `host: auto` or `host: local`."
    if action in NEEDS_HOST and target.host == "managed":
        what = "needs the server's machine, which a managed server has not"
        return what, f"Set `actions: {{{action}: observe}}`; its provider does that."
    if action in CONTAINER_ACTIONS:
        return _lack_of_container(target.host, action)
    starts = action == "start_server" and isinstance(target.host, DockerHost)
    if action in NEEDS_HOST and not isinstance(target.host, str) and not starts:
        return "needs the server's machine, which is only watched", "Run Stanch on that machine."
    if action in TURNING and target.manager == "none":
        return "manager none means nobody starts the server, or stops it", "Set `manager: auto`."
    if action in TURNING and target.manager == "patroni" and target.patroni is None:
        return "manager patroni without a place to ask it", "Set `patroni: {url: …}`."
    if action == "free_space" and not _freeable(target):
        return (
            "free_space names nothing to free",
            "Add `ballast`, `old_logs_days`, or `keep_dumps` for `backups.dumps`.",
        )
    return None


def _lack_of_container(host: HostPolicy, action: str) -> tuple[str, str] | None:
    if not isinstance(host, DockerHost):
        return "needs the engine of the server's container", "Set `host: {docker: …}`."
    if action == "raise_container_memory" and not host.memory_max_bytes:
        return "nothing says how much it may have", "Add `memory_max` under `docker`."
    if action == "restart_compose_service" and not host.services:
        return "there is no service to restart", "Name one in `services` under `docker`."
    return None


def _freeable(target: TargetPolicy) -> bool:
    free = target.free_space
    dumps = free.keep_dumps is not None and target.backups.dumps != ""
    return bool(free.ballast) or free.old_logs_days is not None or dumps


def _rescue(target: TargetPolicy, path: PathTo) -> Iterator[Doubt]:
    rescue = target.rescue
    if rescue.check_every_s > rescue.window_s:
        yield Doubt(
            path=(*path, "rescue", "check_every"),
            what="is longer than the window it should fill",
            hint="Check several times within `window`.",
        )


def _rules(draft: Policy, places: Places) -> Iterator[Doubt]:
    for path, what, hint in rule_contradictions(draft, places):
        yield Doubt(path=path, what=what, hint=hint)


def _addresses(draft: Policy) -> Iterator[Doubt]:
    for name, address in (("listen", draft.listen), ("control_endpoint", draft.control_endpoint)):
        port = address.rpartition(":")[2]
        if port and int(port) > 65535:
            yield Doubt(path=(name,), what=f"port {port} is out of range", hint="At most 65535.")
    if draft.listen.rpartition(":")[0] not in {"127.0.0.1", "localhost", "[::1]", ""}:
        yield Doubt(
            path=("listen",),
            what="health and metrics can be read from the network",
            hint="Use 127.0.0.1 unless something else guards this port.",
            level="warning",
        )


def _signals(draft: Policy, places: Places) -> Iterator[Doubt]:
    for path, what, hint, is_error in signal_contradictions(draft, places):
        yield Doubt(path=path, what=what, hint=hint, level="error" if is_error else "warning")


def _clusters(draft: Policy, places: Places) -> Iterator[Doubt]:
    names = tuple(target.name for target in draft.targets)
    for path, what, hint in cluster_contradictions(draft.clusters, names, places):
        yield Doubt(path=path, what=what, hint=hint)


def _levels(draft: Policy, places: Places) -> Iterator[Doubt]:
    people = tuple(person.id for person in draft.people)
    found = list(level_contradictions(draft.levels, people, places))
    for target in draft.targets:
        # What it took over from the whole policy was looked at there.
        path = ("targets", target.name)
        if places.given((*path, "levels")):
            found += level_contradictions(target.levels, people, places, below=path)
    for at, what, hint in found:
        yield Doubt(path=at, what=what, hint=hint)


def _break_glass(draft: Policy, places: Places) -> Iterator[Doubt]:
    people = tuple(person.id for person in draft.people)
    for index, person in enumerate(draft.break_glass.page, 1):
        if person not in people and not places.given(("people", person)):
            hint = nearest(person, people) or "Define them under `people`."
            path = ("break_glass", "page", str(index))
            yield Doubt(path=path, what=f"unknown person {quoted(person)}", hint=hint)
    if draft.break_glass.people > len(people) > 0:
        hint = "Name a second person under `people`, or leave it at 1."
        yield Doubt(path=("break_glass", "people"), what="asks for more than there are", hint=hint)


def _silences(draft: Policy, places: Places) -> Iterator[Doubt]:
    for path, what, hint in silence_contradictions(draft.silences, draft.targets, places):
        yield Doubt(path=path, what=what, hint=hint)
