"""What the database driver raises, told as what has failed.

Apart from `failures`, so that reading a recording does not load the driver: on a machine for which
somebody calls `stanch diagnose`, that can take seconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from stanch.model.errors import StoreUnavailable
from stanch.store.failures import corrupt, from_driver


@contextmanager
def told_apart(on: str) -> Generator[None]:
    """Raise StoreUnavailable or StoreCorrupt in place of what the database driver raises."""
    try:
        yield
    except DBAPIError as error:
        raise from_driver(error.orig, on=on) from error
    except sqlite3.Error as error:
        raise from_driver(error, on=on) from error
    except UnicodeError as error:
        # What callers hand in is made storable first, so such text comes out of the file; the
        # driver stumbles even over names in a damaged schema while it words its complaint.
        raise corrupt("the database file is damaged: it holds broken text", on=on) from error
    except PoolTimeout as error:
        raise StoreUnavailable("no connection for reading is free", on=on) from error
