"""What a fault is: a sentence, what it takes, how it is made, and which cause is the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from stanch.adapters.postgres.scratch_folder import Auth, Setting

if TYPE_CHECKING:
    from stanch.drill.lab.rig import Rig


class Area(StrEnum):
    """Where a fault is made."""

    PROCESS = "process and host"
    DISK = "disk and WAL"
    ACCESS = "connections, logins, network"
    LOCKS = "locks and transactions"
    WORK = "work and capacity"
    REPLICATION = "replication"
    DATA = "data and human error"
    BACKUPS = "backups and archive"
    SETTINGS = "configuration"
    SECURITY = "security signs"


RunBy = Literal["nobody", "patroni", "docker"]


class NotMade(Exception):
    """The fault could not be made this time; says why. Nothing is wrong with anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a fault takes; each rig is made for the faults that it is to have."""

    conf: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    """Settings from the start, as somebody who runs such a server has them."""
    auth: Auth = "trust"
    data_volume_mb: int | None = None
    wal_volume_mb: int | None = None
    standby: bool = False
    """A streaming standby of the server, made before the fault."""
    root: bool = False
    programs: tuple[str, ...] = ()
    """Found on the search path or in /usr/sbin."""
    major_min: int = 13
    run_by: RunBy = "nobody"
    """Who keeps the server running, where anybody does. Only faults made for it can be made then,
    and those by SQL alone; what `prepare` begins with brings it there."""
    prepare: tuple[Callable[[Rig], None], ...] = ()
    """What is there before anybody watches: tables of some age, a pooler, a certificate. They may
    set `rig.way` and `rig.policy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way in which a server breaks."""

    id: str
    """Lower-case words with hyphens."""
    area: Area
    story: str
    """What happened, as whoever did it would tell afterwards: one or two sentences."""
    causes: tuple[str, ...]
    """Ids of the causes that are the truth; the first is what has to be said first. Several where
    there are several roots, never what follows from a root."""
    or_else: tuple[str, ...] = ()
    """As right to say first: the same, by whoever knows more of what came before, or less."""
    make: Callable[[Rig], None]
    """Breaks it, and returns once it is broken: a condition was waited for, not a time. What it
    draws from `rig.rng` (names, sizes, numbers) differs from run to run. Raises: NotMade."""
    needs: Needs = field(default_factory=Needs)
    shows_after_s: float = 1.0
    """From then on somebody who looks can see it; what needs rates takes a few seconds."""
    answers: bool = True
    """The server still takes sessions: a second fault may be made on it."""
    is_over: bool = False
    """Nothing is wrong any more when somebody looks, as after a crash that was recovered from."""
    seen_on: Literal["server", "standby"] = "server"
    """Whom somebody asks who is told that something is wrong."""
    by_policy_alone: bool = False
    """What is broken lies where only a policy says, as backups, the consoles of poolers and the
    other servers of a cluster do: no stranger can look there."""
    on_staging: bool = False
    """It is made by SQL alone, as an ordinary application role, and taken back without a trace:
    may be made on a staging server that its owner allowed it on."""
