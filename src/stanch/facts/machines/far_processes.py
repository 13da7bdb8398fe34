"""Server processes as a far machine lists them, and which of them belong to a data directory."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.model.host import DataDirectoryProcesses, FileHolder, ProcessInfo

TITLE_CHARS = 400
PIDS_SHOWN = 5
DELETED = " (deleted)"
SERVER_PROGRAMS = frozenset({"postgres", "postmaster", "edb-postgres"})
USER_HZ = 100
STARTED = 19
"""Of the fields behind the name in /proc/PID/stat: when it began, in ticks since boot."""

_STAT = re.compile(r"(\d{1,10}) \((.{0,64}?)\) ([A-Za-z]) (\d{1,10})((?: -?\d{1,20}){18,60})")
_LINK = re.compile(r"l\S+ +\d+ +(\d{1,10}) +.*? /proc/(\d{1,10})/(cwd|exe|fd/2)(?: -> (.*))?")
_PLACE = re.compile(r"(\d{1,20}) (\d{1,20})(?: (\d{1,5}))?\s*")
_STATES = {"T": "stopped", "t": "tracing-stop", "D": "disk-sleep", "Z": "zombie", "R": "running"}
"""In psutil's words, as far as anybody asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarProcess:
    """One process, with where it works where that may be seen."""

    info: ProcessInfo
    name: str
    folder: tuple[int, int] | None = None
    """Device and inode of its working directory; asked of those that are no server's child."""
    port: int | None = None
    """As the lock file in its working directory says."""
    output: str = ""
    """The file that its standard error goes to."""

    @property
    def is_child(self) -> bool:
        return self.info.title.startswith("postgres:")


def parse_processes(listed: str, links: str, *, boot_at: datetime | None) -> tuple[FarProcess, ...]:
    """Three lines a process, and what `ls` says of their links."""
    found: list[FarProcess] = []
    seen = _links(links)
    lines = listed.splitlines()
    for stat, title, about in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        match = _STAT.match(stat)
        if match is not None:
            found.append(_process(match, title, about, seen=seen, boot_at=boot_at))
    return tuple(found)


def _process(
    match: re.Match[str],
    title: str,
    about: str,
    *,
    seen: dict[tuple[str, str], tuple[int, str]],
    boot_at: datetime | None,
) -> FarProcess:
    pid, name, state, ppid, rest = match.groups()
    uid, cwd = seen.get((pid, "cwd"), (None, ""))
    _, exe = seen.get((pid, "exe"), (None, ""))
    _, output = seen.get((pid, "fd/2"), (None, ""))
    ticks = int(rest.split()[STARTED - 2])
    at = _PLACE.fullmatch(about)
    return FarProcess(
        info=ProcessInfo(
            pid=int(pid),
            ppid=int(ppid),
            started_at=boot_at + timedelta(seconds=ticks / USER_HZ) if boot_at else None,
            exe=exe or None,
            cwd=cwd or None,
            title=(title.replace("\0", " ").strip() or name)[:TITLE_CHARS],
            state=_STATES.get(state, "sleeping"),
            uid=uid,
        ),
        name=name,
        folder=(int(at[1]), int(at[2])) if at else None,
        port=int(at[3]) if at and at[3] else None,
        output=output if output.startswith("/") else "",
    )


def _links(listed: str) -> dict[tuple[str, str], tuple[int, str]]:
    """Owner and aim of each link, the first word about it counting."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for line in listed.splitlines():
        match = _LINK.fullmatch(line)
        if match is not None:
            found.setdefault((match[2], match[3]), (int(match[1]), match[4] or ""))
    return found


def is_server(process: FarProcess) -> bool:
    """By its executable where that may be seen, else by the name it runs under."""
    exe = process.info.exe
    name = process.name if exe is None else posixpath.basename(exe.removesuffix(DELETED))
    return name in SERVER_PROGRAMS


def named_folder(process: FarProcess) -> str:
    """The data directory that a server was started with, where its command line names it."""
    words = process.info.title.split(" ")
    for n, word in enumerate(words):
        if word == "-D" and n + 1 < len(words):
            return words[n + 1]
        if word.startswith("-D/"):
            return word.removeprefix("-D")
    return ""


def of_directory(
    processes: Sequence[FarProcess],
    data_directory: str,
    *,
    folder: tuple[int, int] | None,
    lock_pid: int | None,
) -> DataDirectoryProcesses:
    """Who is at work in one data directory; `folder` is its device and inode.

    A server that does not show where it works, and whose command line does not say either, counts
    as not inspected: it may be this one.
    """
    servers = [p for p in processes if is_server(p) and p.info.state != "zombie"]
    pids = {p.info.pid for p in servers}
    heads = [p for p in servers if not p.is_child and p.info.ppid not in pids]
    ours, hidden = list[FarProcess](), list[FarProcess]()
    for head in heads:
        here = _works_here(head, data_directory, folder=folder, lock_pid=lock_pid)
        if here is None:
            hidden.append(head)
        elif here:
            ours.append(head)
    postmaster = min(ours, key=lambda p: p.info.pid, default=None)
    own = None if postmaster is None else postmaster.info.pid
    orphans = [p for p in ours if p is not postmaster]
    for child in servers:
        if child in heads or child.info.ppid in pids:
            continue
        here = _works_here(child, data_directory, folder=folder, lock_pid=None)
        if here is None:
            hidden.append(child)
        elif here:
            orphans.append(child)
    members = [p for p in servers if own is not None and p.info.ppid == own]
    known = [p for p in (postmaster, *members, *orphans) if p is not None]
    return DataDirectoryProcesses(
        postmaster=None if postmaster is None else postmaster.info,
        members=tuple(p.info for p in members),
        orphans=tuple(p.info for p in orphans),
        holders=tuple(
            FileHolder(pid=p.info.pid, title=p.info.title, files=(data_directory,)) for p in known
        ),
        unreadable=len(hidden),
        unreadable_pids=tuple(p.info.pid for p in hidden[:PIDS_SHOWN]),
    )


def _works_here(
    process: FarProcess,
    data_directory: str,
    *,
    folder: tuple[int, int] | None,
    lock_pid: int | None,
) -> bool | None:
    if process.folder is not None and folder is not None:
        return process.folder == folder
    if process.info.pid == lock_pid:
        return True
    named = named_folder(process) or process.info.cwd or ""
    if not named:
        return None
    return posixpath.normpath(named) == posixpath.normpath(data_directory)
