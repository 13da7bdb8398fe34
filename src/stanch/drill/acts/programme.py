"""All acts, in the order they are played."""

from __future__ import annotations

from stanch.drill.acts.act import Act
from stanch.drill.acts.blocked import BLOCKED
from stanch.drill.acts.disk_full import DISK_FULL
from stanch.drill.acts.killed import KILLED
from stanch.drill.acts.leaked import LEAKED
from stanch.drill.acts.stale_lock import STALE_LOCK
from stanch.drill.acts.stopped import STOPPED

PROGRAMME: tuple[Act, ...] = (KILLED, STOPPED, STALE_LOCK, LEAKED, BLOCKED, DISK_FULL)
