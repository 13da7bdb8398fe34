"""Connection strings as libpq understands them: service files, passfile, environment, URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import psycopg

from stanch.adapters.postgres.libpq import (
    PGconn,
    parse_conninfo,
    settings_of,
    start_connecting,
)
from stanch.model.errors import SetupError
from stanch.policy.quoting import printable

# libpq rejects this value after it has applied service file, environment and passfile and before
# it looks up a name or opens a socket: that makes it resolve a string without touching the world.
_RESOLVE_ONLY = "stanch-resolves-only"
_ROUTING = frozenset({"target_session_attrs", "load_balance_hosts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Conninfo:
    """Everything libpq would use for one host, resolved."""

    host: str
    """A name, an address, or the folder of a Unix socket (`/…`, or `@…` for an abstract one)."""
    hostaddr: str
    port: int
    user: str
    dbname: str
    password: str = field(repr=False)
    options: str
    """The `options` parameter: command-line switches for the server."""
    settings: Mapping[str, str] = field(repr=False)
    """Every other parameter by its libpq name, defaults included."""

    @property
    def is_socket(self) -> bool:
        """A Unix socket on this machine."""
        return not self.hostaddr and self.host.startswith(("/", "@"))

    @property
    def label(self) -> str:
        """`orders at 127.0.0.1:5432`, fit to be shown."""
        where = self.host or self.hostaddr
        if self.is_socket:
            return printable(f"{self.dbname} at {where} port {self.port}")
        where = f"[{where}]" if ":" in where else where
        return printable(f"{self.dbname} at {where}:{self.port}")


def resolve(dsn: str, *, dbname: str | None = None) -> Conninfo:
    """What libpq would connect to for this string; nothing is looked up or opened.

    Source: service file, PG* environment, passfile and defaults, in libpq's own order.
    Raises: SetupError when libpq cannot make sense of it, or it names several hosts.
    """
    given = _parse(dsn)
    if dbname is not None:
        given["dbname"] = dbname
    conn = _resolved(given)
    info = settings_of(conn)
    if "," in info.get("host", "") or "," in info.get("hostaddr", ""):
        raise SetupError(
            "a connection string with several hosts where one server is meant",
            hint="Name one host; each server of a cluster is a target of its own.",
        )
    return Conninfo(
        host=_text(conn.host) if info.get("host") or not info.get("hostaddr") else "",
        hostaddr=info.get("hostaddr", ""),
        port=_port(_text(conn.port)),
        user=_text(conn.user),
        dbname=_text(conn.db),
        password=_text(conn.password),
        options=info.get("options", ""),
        settings=MappingProxyType(
            {key: value for key, value in info.items() if key not in _NAMED_FIELDS}
        ),
    )


_NAMED_FIELDS = _ROUTING | {"host", "hostaddr", "port", "user", "dbname", "password", "options"}


def for_session(dsn: str, overrides: Mapping[str, str]) -> bytes:
    """The string handed to libpq for a session: the given one with some parameters replaced."""
    merged = {key: value for key, value in _parse(dsn).items() if key not in _ROUTING}
    return _text_of(merged | dict(overrides))


def given_parameters(dsn: str) -> frozenset[str]:
    """The names of the parameters that the string itself sets."""
    return frozenset(_parse(dsn))


def _text_of(parameters: Mapping[str, str]) -> bytes:
    """As key and value pairs. `make_conninfo` would parse what libpq parses right afterwards."""
    return " ".join(f"{key}={_escaped(value)}" for key, value in parameters.items()).encode()


def _escaped(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _resolved(given: Mapping[str, str]) -> PGconn:
    """Raises: SetupError with libpq's own complaint where it stops earlier than asked to."""
    wanted = dict(given) | {"target_session_attrs": _RESOLVE_ONLY}
    conn = start_connecting(_text_of(wanted))
    complaint = conn.error_message.decode("utf-8", "replace")
    if _RESOLVE_ONLY not in complaint:
        conn.finish()
        raise _invalid(complaint)
    return conn


def _parse(dsn: str) -> dict[str, str]:
    """The parameters that the string itself sets. Raises: SetupError."""
    if "\0" in dsn:
        raise SetupError("invalid connection string: it contains a zero byte")
    try:
        return parse_conninfo(dsn.encode())
    except UnicodeEncodeError as error:
        raise SetupError("invalid connection string: it is not valid UTF-8") from error
    except psycopg.OperationalError as error:
        # Without its cause: libpq quotes pieces of the string, and a piece may be a password.
        raise _invalid(str(error)) from None


_HARMLESS_QUOTE = re.compile(
    r'(option|parameter:|service|file|value:) "[^"]*"( not found| in connection|, line|$)'
)


def _invalid(complaint: str) -> SetupError:
    text = complaint.strip()
    if not _HARMLESS_QUOTE.search(text):
        text = re.sub(r'".*"', '"…"', text.replace('"="', "="), flags=re.DOTALL)
    return SetupError(
        f"invalid connection string: {printable(text)}",
        hint="Use service=NAME, postgresql://user@host:port/dbname, or host=… dbname=… pairs.",
    )


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise SetupError("invalid connection string: the port is no number from 1 to 65535")


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
