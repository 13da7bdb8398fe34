"""What is wrong with a file a person wrote, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to correct in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int
    path: str
    """The place in the file's own terms: `targets.orders.page_after`. Empty: the whole file."""
    what: str
    hint: str = ""
    level: Level = "error"
    """A warning is worth reading and fails nothing."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: {self.level}: "
        where = f"{self.path}: " if self.path else ""
        return f"{place}{where}{self.what}"
