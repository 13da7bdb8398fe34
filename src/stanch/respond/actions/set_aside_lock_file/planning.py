"""What setting a lock file aside would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    directory = named(params.get("data_directory"), "the data directory")
    holder = named(cause.fact("holder_command"), "another program")
    pid = named(cause.fact("lock_pid"), "?")
    return (
        f"Rename {directory}/postmaster.pid (inode {named(params.get('lock_inode'), '?')}), "
        f"whose PID {pid} now belongs to {holder}."
    )


PLANNING = Planning(preview=preview)
