"""Where in a data directory the server's log lies: files there are no data, whoever reads them.

A log shipper or a person with `tail -f` keeps log files open for as long as they are there, and a
server that starts is not disturbed by it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from stanch.adapters.hosts.files import OWNED_BY_POSTGRESQL
from stanch.adapters.hosts.log_files import LogSource, current_log
from stanch.model.diagnosis import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlaces:
    """By real paths; both empty where the log is elsewhere, or where nobody knows it."""

    folder: str = ""
    file: str = ""
    """The one log file, where it lies among the server's own files."""

    def hold(self, path: str) -> bool:
        """Whether this is the log folder, something in it, or the log file."""
        if self.folder and (path == self.folder or path.startswith(f"{self.folder}/")):
            return True
        return path == self.file and bool(path)


def log_places(source: LogSource) -> LogPlaces:
    """What of the data directory is log.

    Never: the data directory itself, or one of the folders in which PostgreSQL keeps data, whatever
    the settings say.
    """
    path = current_log(source)
    if isinstance(path, Missing):
        return LogPlaces()
    real, data = os.path.realpath(path), os.path.realpath(source.data_directory)
    if not real.startswith(f"{data}/"):
        return LogPlaces()
    first, _, rest = real.removeprefix(f"{data}/").partition("/")
    if first in OWNED_BY_POSTGRESQL:
        return LogPlaces()
    return LogPlaces(folder=os.path.dirname(real)) if rest else LogPlaces(file=real)
