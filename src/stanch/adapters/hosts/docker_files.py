"""Files of a container that does not run: its daemon hands them out, those on volumes as well."""

from __future__ import annotations

import asyncio
import io
import posixpath
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import httpx

from stanch.adapters.hosts.docker_link import DockerLink
from stanch.facts.control_file import READ_BYTES, as_printed
from stanch.facts.machines.far_files import FarFiles
from stanch.facts.machines.json_values import Object, part, text
from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead
from stanch.model.ports.traces import StartFiles

FILE_BYTES_MAX = 64 * 1024
REQUEST_S = 5.0
NOT_RUNNING = "the container does not run"
PGDATA = "PGDATA="


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    content: bytes
    uid: int
    modified_at: datetime


class DockerFiles:
    """Reads single files of one container, running or not. Never: a write, or a process in it."""

    def __init__(self, link: DockerLink) -> None:
        self._link = link

    async def stopped(self) -> Object | None:
        """The container where there is one and nothing can be run in it."""
        container = await self._link.container()
        if container is None or isinstance(container, Missing):
            return None
        return None if text(part(container, "State"), "Status") == "running" else container

    async def files(self, container: Object, data_directory: str) -> FarFiles | Missing:
        """What of the data directory tells how its server ended."""
        names = ("PG_VERSION", "postmaster.pid", "global/pg_control", "backup_label")
        name = text(container, "Id")
        version, lock, control, label, aside = await asyncio.gather(
            *(self._read(name, f"{data_directory}/{file}") for file in names),
            self._read(name, f"{data_directory}/global/pg_control.old"),
        )
        if isinstance(version, Missing):
            return Missing(what="files", reason=version.reason)
        if version is None:
            reason = f"{data_directory} of the container is no data directory"
            return Missing(what="files", reason=reason)
        gone = Missing(what="process", reason=NOT_RUNNING)
        return FarFiles(
            owner_uid=version.uid,
            folder=None,
            boot_id=Missing(what="boot id", reason=NOT_RUNNING),
            lock_file=_lock_file(lock, data_directory),
            # Its PIDs ended with it, and mean nothing outside.
            holder=None,
            controldata=_control(control),
            start=StartFiles(
                version=version.content.decode("ascii", "replace").strip()[:80],
                control_file=isinstance(control, _File),
                control_set_aside=isinstance(aside, _File),
                backup_label=isinstance(label, _File),
            )
            if not isinstance(control, Missing)
            else Missing(what="files", reason=control.reason),
            segment=None,
            slots={},
            same_pids=False,
            segments=Missing(what="shared memory", reason=gone.reason),
        )

    async def control(self, container: str, data_directory: str) -> str | Missing:
        """What `pg_controldata` would print of one container, by its id."""
        return _control(await self._read(container, f"{data_directory}/global/pg_control"))

    async def _read(self, container: str, path: str) -> _File | Missing | None:
        """One file; None: there is none of this name."""
        answer, asked = bytearray(), f"/containers/{container}/archive"
        try:
            async with (
                asyncio.timeout(REQUEST_S),
                self._link.stream("GET", asked, {"path": path}) as said,
            ):
                if said.status_code == 404:
                    return None
                if said.status_code >= 400:
                    return Missing(what="files", reason=f"{path}: HTTP {said.status_code}")
                async for piece in said.aiter_bytes():
                    answer += piece
                    if len(answer) > FILE_BYTES_MAX:
                        break
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            return self._link.failed(error)
        return _unpacked(bytes(answer), path)


def data_directory_of(container: Object) -> str:
    """PGDATA of the container, as its image or whoever started it set it; empty: neither did."""
    listed = part(container, "Config").get("Env")
    words = [str(word) for word in cast("list[object]", listed)] if isinstance(listed, list) else []
    named = (word.removeprefix(PGDATA) for word in words if word.startswith(PGDATA))
    return next((posixpath.normpath(path) for path in named if path.startswith("/")), "")


def _unpacked(packed: bytes, path: str) -> _File | Missing:
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            entry = tar.next()
            content = tar.extractfile(entry) if entry is not None and entry.isfile() else None
            if entry is None or content is None:
                return Missing(what="files", reason=f"{path} is no file")
            return _File(
                content=content.read(FILE_BYTES_MAX),
                uid=entry.uid,
                modified_at=datetime.fromtimestamp(int(entry.mtime), UTC),
            )
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        return Missing(what="files", reason=f"{path}: {str(error)[:200]}")


def _lock_file(lock: _File | Missing | None, folder: str) -> LockFileRead | Missing | None:
    if lock is None or isinstance(lock, Missing):
        return lock
    return LockFileRead(
        path=posixpath.join(folder, "postmaster.pid"),
        content=lock.content,
        device=0,
        inode=0,
        modified_at=lock.modified_at,
    )


def _control(control: _File | Missing | None) -> str | Missing:
    if control is None:
        return Missing(what="controldata", reason="global/pg_control is not there")
    if isinstance(control, Missing):
        return control
    return as_printed(control.content[:READ_BYTES])
