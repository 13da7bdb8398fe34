"""`stanch check`: everything a policy promises, tried for real before it is needed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stanch.adapters.channels.trying import Tried, try_channel
from stanch.model.errors import SetupError, StoreError
from stanch.model.messages import Handover
from stanch.model.plans import Mode
from stanch.policy.policy import Channel, Contact, Person, Policy, SmtpChannel, TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.service.readiness.capabilities import Capability, TargetReport, report_target
from stanch.service.readiness.inbound import try_inbound
from stanch.service.readiness.places import try_places
from stanch.service.readiness.sources import try_sources
from stanch.service.readiness.trial_page import new_code, send_trial
from stanch.service.watched.doubting import CONTROL_DEADLINE_S, knock_at
from stanch.service.watched.identity import Identity
from stanch.service.watched.noting import Kept, address_of, note_path, read_note
from stanch.store.mounts import Mount, mounts_here
from stanch.store.statedir import refuse_network

CHANNEL_DEADLINE_S = 15.0
TARGETS_AT_ONCE = 16
UNSENT = "No page can leave this way."
UNHEARD = "What comes in this way is refused, and nobody hears of it."
UNBELIEVED = (
    "While it is silent no silence of a target is believed. Name something that answers whenever "
    "this machine's network works, or leave `control_endpoint` out."
)
SILENT = "Until it answers, the rules that read it have no verdict."
TOLD = "`stanch run` tells this as a symptom for as long as it stays so."
TOLD_OF = frozenset({"pools", "services", "backups", "WAL"})
"""Sources whose silence, or whose bad news, is a symptom by itself."""

Looked = tuple[TargetReport, Kept | None, tuple[tuple[str, Tried], ...]]
"""One target: its table, what was noted of it, and the places of its backups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that would fail in an incident."""

    on: str
    what: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What trying everything said."""

    targets: tuple[TargetReport, ...]
    channels: tuple[tuple[str, Tried], ...]
    sources: tuple[tuple[str, Tried], ...]
    """What is asked beside the servers, and what may come in, by its place in the policy."""
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


async def check_policy(
    policy: Policy, *, send_test: bool, mounts: Sequence[Mount] | None = None
) -> CheckReport:
    """Try every target, privilege, source and channel at once; nothing is changed anywhere.

    With `send_test` every channel also carries a real test page.
    """
    slots = asyncio.Semaphore(TARGETS_AT_ONCE)

    async def one(target: TargetPolicy) -> Looked:
        async with slots:
            note = await asyncio.to_thread(_noted, policy, target)
            noted_s = note.recovery_s if note is not None else None
            cluster = policy.cluster_of(target.name)
            report = await report_target(
                target,
                heartbeat=policy.heartbeat,
                recovery_s=noted_s,
                cluster=cluster.name if cluster is not None else "",
            )
            # Not beside it: on a server that is nearly full, two sessions at once would hurt.
            return report, note, await try_places(target, now=_now)

    async def beside(target: TargetPolicy) -> tuple[tuple[str, Tried], ...]:
        async with slots:
            return await try_sources(target, now=_now)

    looked, asked, inbound, control, channels = await asyncio.gather(
        asyncio.gather(*(one(target) for target in policy.targets)),
        asyncio.gather(*(beside(target) for target in policy.targets)),
        try_inbound(policy.signals),
        _control_endpoint(policy.control_endpoint),
        asyncio.gather(*(_channel(policy, c, send_test=send_test) for c in policy.channels)),
    )
    tried = tuple(
        (channel.name, said) for channel, said in zip(policy.channels, channels, strict=True)
    )
    places = (place for _, _, of_target in looked for place in of_target)
    sources = (*(source for of_target in asked for source in of_target), *places)
    problems = [
        *_state_directory(policy, mounts_here() if mounts is None else mounts),
        *(p for report, note, _ in looked for p in _target_problems(policy, report, note)),
        *_failed(((f"channel {name}", said) for name, said in tried), UNSENT),
        *(p for source in sources for p in _failed([source], source_hint(source[0]))),
        *_failed(inbound, UNHEARD),
        *_failed(control, UNBELIEVED),
    ]
    targets = tuple(report for report, _, _ in looked)
    return CheckReport(
        targets=targets,
        channels=tried,
        sources=(*sources, *inbound, *control),
        problems=tuple(problems),
    )


def _failed(tried: Iterable[tuple[str, Tried]], hint: str) -> Iterator[Problem]:
    return (Problem(on=on, what=said.detail, hint=hint) for on, said in tried if not said.ok)


async def _control_endpoint(endpoint: str) -> tuple[tuple[str, Tried], ...]:
    """Knocked at as `stanch run` does; nothing where none is named."""
    if not endpoint:
        return ()
    answers = await knock_at(endpoint, CONTROL_DEADLINE_S)
    silent = f"does not answer within {CONTROL_DEADLINE_S:.0f} s"
    tried = Tried(ok=answers, detail="answers" if answers else silent)
    return ((f"control_endpoint {endpoint}", tried),)


def _now() -> datetime:
    return datetime.now(UTC)


def _noted(policy: Policy, target: TargetPolicy) -> Kept | None:
    """What `stanch run` noted of this very server, as far as this OS user may read it."""
    note = read_note(note_path(Path(policy.state_directory).expanduser(), target))
    try:
        same = note is not None and note.address == address_of(target)
    except SetupError:
        # A connection string that cannot be used is told by trying it.
        same = False
    return note if same else None


def _state_directory(policy: Policy, mounts: Sequence[Mount]) -> list[Problem]:
    """Why timelines could not be kept there; looked at, not touched."""
    path = Path(policy.state_directory)
    on = f"state_directory {path}"
    try:
        refuse_network(path, mounts=mounts)
    except StoreError as error:
        return [Problem(on=on, what=error.what, hint=error.hint)]
    nearest = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
    if not nearest.is_dir():
        hint = "Name a directory as the state directory."
        return [Problem(on=on, what=f"{nearest} is not a directory", hint=hint)]
    if not os.access(nearest, os.W_OK | os.X_OK):
        hint = "Give it to the OS user that runs Stanch."
        return [Problem(on=on, what=f"{nearest} cannot be written to", hint=hint)]
    return []


def _target_problems(policy: Policy, report: TargetReport, note: Kept | None) -> list[Problem]:
    on = f"target {report.target}"
    target = policy.target(report.target)
    assert target is not None
    needed = ["watch", "see every session and setting"]
    needed += [
        CATALOGUE[a].stands_on for a, mode in target.actions.items() if mode is not Mode.OBSERVE
    ]
    rows = {row.feature: row for row in report.capabilities}
    watch = rows["watch"]
    if not watch.can:
        # The rest follows from it and would only hide it.
        return [_problem(on, watch)]
    problems = _another_cluster(target, report, note)
    problems += [_problem(on, rows[name]) for name in dict.fromkeys(needed) if not rows[name].can]
    if report.canary:
        hint = f"Run what `stanch grants --target {report.target} --only canary` prints."
        problems.append(Problem(on=on, what=f"the canary cannot write: {report.canary}", hint=hint))
    rescue = rows["prove a rescue by the application's login and a write"]
    if target.app_dsn and rescue.can is False:
        problems.append(_problem(on, rescue))
    if report.shares_host is not False and policy.heartbeat is None:
        sure = "" if report.shares_host else "perhaps "
        problems.append(
            Problem(
                on=on,
                what=f"Stanch {sure}shares this server's machine, and no outside heartbeat is set: "
                "when the machine dies, nobody is told",
                hint="Add `heartbeat: {url: …}` of a watcher outside this machine.",
            )
        )
    return problems


def _another_cluster(
    target: TargetPolicy, report: TargetReport, note: Kept | None
) -> list[Problem]:
    """Who answers is not who is watched: nothing would be done there, and all of it paged."""
    noted = note.clusters[-1][1] if note is not None and note.clusters else ""
    identity = Identity(expected=target.system_identifier or noted, answering=report.cluster)
    if not identity.is_another:
        return []
    source = "the policy names" if target.system_identifier else "the one watched here until now is"
    return [
        Problem(
            on=f"target {report.target}",
            what=f"another database cluster answers: its system identifier is {report.cluster}, "
            f"and {source} {identity.expected}",
            hint=f"Correct `dsn`; or, where it is meant (an upgrade, a restore), set "
            f'`system_identifier: "{report.cluster}"`.',
        )
    ]


def _problem(on: str, row: Capability) -> Problem:
    return Problem(on=on, what=f"cannot {row.feature}: {row.why}", hint=row.change)


async def _channel(policy: Policy, channel: Channel, *, send_test: bool) -> Tried:
    contacts = [
        (person, contact)
        for person in policy.people
        for contact in person.contacts
        if contact.channel == channel.name
    ]
    addresses = [contact.address for _, contact in contacts]
    tried = await try_channel(channel, addresses, deadline_s=CHANNEL_DEADLINE_S)
    if not (tried.ok and send_test):
        return tried
    broadcast = [] if isinstance(channel, SmtpChannel) else [(policy.people[0], None)]
    for person, contact in [*contacts, *broadcast]:
        tried = await _trial(channel, person, contact)
        if not tried.ok:
            break
    return tried


async def _trial(channel: Channel, person: Person, contact: Contact | None) -> Tried:
    said = await send_trial(
        channel,
        person=person,
        contact=contact,
        code=new_code(),
        deadline_s=CHANNEL_DEADLINE_S,
    )
    ok = said.outcome is Handover.ACCEPTED
    return Tried(ok=ok, detail=f"test page {said.outcome.value}: {said.detail}")


def source_hint(on: str) -> str:
    """What it means at night that this source did not answer well; `on` as `check` shows it."""
    _, _, place = on.partition(" ")
    return TOLD if place.split(" ")[0] in TOLD_OF else SILENT
