"""Where on a far machine a server lives, from what one script saw there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stanch.facts.machines.far_processes import (
    FarProcess,
    is_server,
    named_folder,
    parse_processes,
)
from stanch.model.diagnosis import Missing

_SETTING = re.compile(
    r"/etc/postgresql/([^/:]{1,40})/([^/:]{1,80})/postgresql\.conf:\s*(port|data_directory)"
    r"\s*(?:=|\s)\s*(?:'([^'\n]*)'|([^\s#']+)).*"
)
_ZONEINFO = "/zoneinfo/"
HIDDEN = "other users' processes are hidden there (hidepid)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One server as Debian keeps it."""

    version: str
    name: str
    data_directory: str
    port: int

    @property
    def log(self) -> str:
        return f"/var/log/postgresql/postgresql-{self.version}-{self.name}.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that speaks for a place."""

    processes: tuple[FarProcess, ...]
    clusters: tuple[Cluster, ...]
    left: str
    """The data directory that a socket's lock file names, where its owner wrote it."""
    pgdata: str
    zone: str
    user: str
    hidden: bool
    """Processes of other users do not show."""
    whole: bool
    """The list came to its end; else nobody may be called absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """A data directory there, and from what it was concluded."""

    data_directory: str
    source: str
    log: str = ""
    """Its log as far as it is known without reading its settings; may be empty."""
    zone: str = ""
    programs: str = ""


def parse_seen(parts: Mapping[str, str], *, boot_at: datetime | None) -> Seen:
    """The parts of the script's output."""
    listed, links = parts.get("processes", ""), parts.get("links", "")
    zone = parts.get("zone", "").strip()
    return Seen(
        processes=parse_processes(listed, links, boot_at=boot_at),
        clusters=_clusters(parts.get("clusters", "")),
        left=_left(parts.get("sockets", "")),
        pgdata=_folder(parts.get("pgdata", "").strip()),
        zone=zone.partition(_ZONEINFO)[2],
        user=parts.get("user", "").strip()[:64],
        hidden=parts.get("self", "").strip() == "hidden",
        whole="end" in parts,
    )


def _folder(path: str) -> str:
    return path if path.startswith("/") else ""


def _clusters(text: str) -> tuple[Cluster, ...]:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for line in text.splitlines():
        match = _SETTING.fullmatch(line)
        if match is not None:
            settings = found.setdefault((match[1], match[2]), {})
            settings[match[3]] = match[4] or match[5] or ""
    return tuple(
        Cluster(version=version, name=name, data_directory=data, port=port)
        for (version, name), settings in sorted(found.items())
        if (data := _folder(settings.get("data_directory", "")))
        and (port := _port(settings.get("port", "5432"))) is not None
    )


def _port(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else None


def _left(text: str) -> str:
    """Anybody may write into /tmp: only the data directory's owner may name it."""
    for line in text.splitlines():
        owner, of_data, folder = (*line.split("|", 2), "", "")[:3]
        if owner and owner == of_data and folder.startswith("/"):
            return folder
    return ""


def whereabouts(seen: Seen, *, port: int, given: str, own: bool) -> Whereabouts | Missing:
    """The data directory of the server of a port.

    `given` is what somebody says it is; `own`: the machine is the server's alone, a container,
    whose port outside is most often another one.
    """
    heads = [p for p in seen.processes if is_server(p) and not p.is_child]
    running = [(head, folder) for head in heads if (folder := _data_of(head))]
    if given:
        return _at(seen, given, source="named")
    for head, folder in running:
        if _port_of(head, folder, seen.clusters) == port:
            source = f"process {head.info.pid} works in it and its lock file names port {port}"
            if head.port is None:
                source = f"process {head.info.pid} was started with it, for port {port}"
            return _at(seen, folder, source=source, head=head)
    cluster = next((c for c in seen.clusters if c.port == port), None)
    if cluster is not None:
        name = f"/etc/postgresql/{cluster.version}/{cluster.name}/postgresql.conf"
        return _at(seen, cluster.data_directory, source=f"{name} names it and port {port}")
    if seen.left:
        return _at(seen, seen.left, source="the lock file of its socket was left and names it")
    if own and seen.whole and len(running) == 1:
        head, folder = running[0]
        source = f"process {head.info.pid} is the only server there"
        return _at(seen, folder, source=source, head=head)
    if own and seen.pgdata:
        return _at(seen, seen.pgdata, source="PGDATA of the container")
    return Missing(what="place", reason=_why_not(seen, running, port))


def _why_not(seen: Seen, running: Sequence[tuple[FarProcess, str]], port: int) -> str:
    what = f"no server of port {port} was found there"
    if running:
        others = ", ".join(folder for _, folder in running[:3])
        what += f" (servers run in {others})"
    elif seen.hidden:
        what += f": {HIDDEN}"
    return f"{what}; --data-directory names its data directory"


def _data_of(head: FarProcess) -> str:
    return _folder(head.info.cwd or "") or _folder(named_folder(head))


def _port_of(head: FarProcess, folder: str, clusters: Sequence[Cluster]) -> int | None:
    """From its lock file, its command line, or Debian's settings of that folder."""
    if head.port is not None:
        return head.port
    words = head.info.title.split(" ")
    for n, word in enumerate(words[:-1]):
        if word == "-p":
            return _port(words[n + 1])
    same = (c.port for c in clusters if _same(c.data_directory, folder))
    return next(same, None)


def _at(seen: Seen, folder: str, *, source: str, head: FarProcess | None = None) -> Whereabouts:
    if head is None:
        head = next((p for p in seen.processes if _same(_data_of(p), folder)), None)
    cluster = next((c for c in seen.clusters if _same(c.data_directory, folder)), None)
    exe = head.info.exe if head is not None else None
    return Whereabouts(
        data_directory=folder,
        source=source,
        log=(head.output if head is not None else "") or (cluster.log if cluster else ""),
        zone=seen.zone,
        programs=posixpath.dirname(exe) if exe else "",
    )


def _same(one: str, other: str) -> bool:
    return bool(one) and posixpath.normpath(one) == posixpath.normpath(other)
