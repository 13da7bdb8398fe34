"""The unprivileged OS user that a server runs as when the caller is root.

PostgreSQL refuses to run as root; a caller that is not root runs its servers as itself.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from stanch.model.errors import SetupError

PREFERRED_USERS = ("postgres", "nobody")


class SubprocessUser(TypedDict, total=False):
    """The arguments of `subprocess` that drop privileges completely."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OsUser:
    """An account of the operating system."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give one path, never what a link points to, to this user."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


def as_user(user: OsUser | None) -> SubprocessUser:
    """How `subprocess` is told to become that user, without the caller's other groups."""
    if user is None:
        return SubprocessUser()
    return SubprocessUser(user=user.uid, group=user.gid, extra_groups=[])


def server_user() -> OsUser | None:
    """The account scratch servers run as; None when the caller itself is unprivileged.

    Raises: SetupError when root finds neither `postgres` nor `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for name in PREFERRED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return OsUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise SetupError(
        f"neither user {' nor '.join(PREFERRED_USERS)} exists, and a server may not run as root",
        hint="Run this as an ordinary user, or create a user named postgres.",
    )
