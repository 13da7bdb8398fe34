"""Files of the data directory that the log calls damaged, by the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stanch.diagnose.outside import Log

FILES_MAX = 20
INVALID_PAGE = "invalid_page"

PAGE = re.compile(
    r"^(?:invalid page in block (?P<block>\d+) of relation"
    r"|could not read blocks? (?P<first>\d+)(?:\.\.\d+)? in file|could not open file) "
    r"\"?(?P<path>(?:base|global|pg_tblspc)/[\w/.]{1,120})"
)
_IN_DATABASE = re.compile(r"^base/(?P<database>\d{1,10})/(?P<number>\d{1,10})(?:\.\d+)?$")


def damaged_files(log: Log) -> tuple[tuple[int, int], ...]:
    """Number of the database and of the file, each file once; of default tablespaces only."""
    return tuple(dict.fromkeys(_numbers(log)))[:FILES_MAX]


def number_in(path: str) -> str:
    """The number of a file, as `base/5/16402.1` has it; empty where it has none."""
    found = _IN_DATABASE.match(path)
    return found["number"] if found is not None else ""


def _numbers(log: Log) -> Iterator[tuple[int, int]]:
    for event in log.events:
        page = PAGE.match(event.text) if event.kind == INVALID_PAGE else None
        file = _IN_DATABASE.match(page["path"]) if page is not None else None
        if file is not None:
            yield int(file["database"]), int(file["number"])
