"""Recordings for whoever asks: of a file, of a target, of an incident; without any responder."""

from __future__ import annotations

from pathlib import Path

from stanch.model.errors import PolicyInvalid, StoreUnsuitable
from stanch.model.events import EvidenceKept
from stanch.service.house import (
    open_house,
    open_store_reading,
    read_policy_file,
    state_path,
    state_path_of_invalid,
)
from stanch.service.requests import BadRequest
from stanch.store.recorder.frozen import AT_OPENING, NAME, unpacked
from stanch.store.recorder.layout import FILE_BYTES
from stanch.store.recorder.recorder import recording_path


async def recording_bytes(config: Path, wanted: str, *, name: str = AT_OPENING) -> bytes:
    """The bytes of a recording: a file's, else a target's, else what an incident kept as `name`.

    Raises: StoreError, PolicyInvalid. Never: asks a responder or a database.
    """
    path = _file(config, wanted)
    if path is not None:
        return _read(path)
    return await _of_incident(config, wanted, name)


def _file(config: Path, wanted: str) -> Path | None:
    file = Path(wanted)
    if file.is_file():
        return file
    path = recording_path(_state_of(config), wanted)
    return path if "/" not in wanted and path.is_file() else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES)
    except OSError as error:
        raise StoreUnsuitable(
            f"cannot be read: {error.strerror}",
            on=str(path),
            hint="Recordings belong to the OS user of `stanch run`.",
        ) from error


def _state_of(config: Path) -> Path:
    try:
        return state_path(read_policy_file(config))
    except PolicyInvalid:
        path = state_path_of_invalid(config)
        if path is None:
            raise
        return path


async def _of_incident(config: Path, wanted: str, name: str) -> bytes:
    policies = read_policy_file(config)
    store = open_store_reading(policies)
    try:
        house = await open_house(policies, store, writable=False, attended=False)
        incident, timeline = await house.operations.timeline(wanted)
        kept = {e.name: e for r in timeline if isinstance(e := r.event, EvidenceKept)}
        if name not in kept:
            has = [known for known in kept if known.startswith(NAME)]
            raise StoreUnsuitable(
                f"keeps no {name}",
                on=incident.id,
                hint=f"It keeps: {', '.join(has) or 'no recording'}.",
            )
        content = (await store.blob(kept[name].blob)).content
        if content is None:
            raise StoreUnsuitable("the recording was erased", on=incident.id)
        return unpacked(content, on=incident.id)
    except BadRequest as error:
        raise StoreUnsuitable(
            "is no file, no recorded target and no incident",
            on=wanted,
            hint="`stanch incidents --all` lists incidents; recordings of targets lie under"
            f" {recording_path(state_path(policies), '').parent}.",
        ) from error
    finally:
        await store.close()
