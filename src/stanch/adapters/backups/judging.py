"""Which backups of a place are whole: looked into from the newest on, until one is good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from stanch.adapters.backups.dump_files import shows_its_end
from stanch.model.backups import Backup

CHECKED_MAX: Final = 8
KNOWN_MAX: Final = 5_000


@dataclass(slots=True)
class Judge:
    """What was found whole is not read again while its size and time stay the same.

    Older backups behind the newest good one are taken for good by their size; nobody restores them
    first.
    """

    fault_of: Callable[[Backup], str]
    """Why one cannot be restored from; it reads the backup."""
    _known: dict[tuple[str, int, float], str] = field(
        default_factory=dict[tuple[str, int, float], str]
    )

    def judged(self, newest_first: Sequence[Backup]) -> tuple[Backup, ...]:
        checked: list[Backup] = []
        left, good = CHECKED_MAX, False
        for backup in newest_first:
            fault = "" if backup.size_bytes else "is empty"
            # One that may still be written is looked at, too: a whole one is done.
            if not fault and left and not good:
                left -= 1
                fault = self._fault(backup)
                proven = shows_its_end(backup.size_bytes, backup.kind)
                backup = replace(backup, running=backup.running and not (proven and not fault))
            done = replace(backup, fault="" if backup.running else fault)
            good = good or done.is_good
            checked.append(done)
        return tuple(checked)

    def _fault(self, backup: Backup) -> str:
        key = backup.name, backup.size_bytes, backup.at.timestamp()
        if key not in self._known:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = self.fault_of(backup)
        return self._known[key]
