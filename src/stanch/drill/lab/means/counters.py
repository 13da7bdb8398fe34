"""Servers that have been used for years: their counters of transactions are far on.

What takes months of work is done to a stopped server by pg_resetwal, with the files that such a
server would have at that place.
"""

from __future__ import annotations

from stanch.adapters.postgres.scratch import ScratchServer

PAGE_BYTES = 8192
SEGMENT_BYTES = 32 * PAGE_BYTES
XIDS_A_SEGMENT = SEGMENT_BYTES * 4
"""Two bits for each."""
MULTIXACTS_A_SEGMENT = SEGMENT_BYTES // 4
"""Four bytes for each."""


def advance_xids(server: ScratchServer, next_xid: int) -> None:
    """Start the server anew, with `next_xid` as its next transaction id."""
    _advance(server, "pg_xact", next_xid // XIDS_A_SEGMENT, "-x", str(next_xid))


def advance_multixacts(server: ScratchServer, next_multixact: int) -> None:
    """Start the server anew, with this as its next MultiXact id; the oldest stays the first."""
    segment = next_multixact // MULTIXACTS_A_SEGMENT
    _advance(server, "pg_multixact/offsets", segment, "-m", f"{next_multixact},1")


def _advance(server: ScratchServer, folder: str, segment: int, *options: str) -> None:
    server.stop()
    path = server.data_directory / folder / f"{segment:04X}"
    # The server reads the page that it is to write to next.
    server.folder.write_owned(path, "\0" * SEGMENT_BYTES)
    program = server.binaries.program("pg_resetwal")
    server.folder.must_run([program, *options, "-D", server.data_directory])
    server.start()
