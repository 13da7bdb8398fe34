"""Connection strings as far as a policy must understand them: shape, hosts, and inline passwords.

libpq has the last word on a connection string; `stanch check` asks it. Here is only what must be
known without one: whether the text can be a connection string at all, and whether it gives a
secret away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

SCHEMES = ("postgresql://", "postgres://")
SECRET_PARAMETERS = frozenset({"password", "sslpassword", "oauth_client_secret"})

_PAIR = re.compile(
    r"\s*(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>'(?:[^'\\]|\\.)*'|(?:[^\s'\\]|\\.)*)(?=\s|$)",
    re.DOTALL,
)
_URL = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)(?:(?P<user>[^@/:]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^/?#@]*)(?:/(?P<dbname>[^?#]*))?(?:\?(?P<query>[^#]*))?",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conninfo:
    """What a connection string names; values are unquoted."""

    parameters: Mapping[str, str]
    hosts: tuple[str, ...]
    has_secret: bool


def read_conninfo(dsn: str) -> Conninfo | None:
    """The parts of a connection string; None when the text cannot be one."""
    pairs = _url_parameters(dsn) if dsn.startswith(SCHEMES) else _pairs(dsn)
    if not pairs:
        return None
    named = pairs.get("hostaddr") or pairs.get("host") or ""
    return Conninfo(
        parameters=pairs,
        hosts=tuple(named.split(",")) if named else (),
        has_secret=any(pairs.get(name) for name in SECRET_PARAMETERS),
    )


def without_secrets(dsn: str) -> str:
    """The same connection string with every password left out: fit to be stored or shown.

    Empty where the text is no connection string, because nobody knows then what it gives away.
    """
    known = read_conninfo(dsn)
    if known is None:
        return ""
    if not known.has_secret:
        return dsn
    if dsn.startswith(SCHEMES):
        return _url_without_secrets(dsn)
    kept = [
        found.group(0).strip()
        for found in _PAIR.finditer(dsn)
        if found["key"].lower() not in SECRET_PARAMETERS
    ]
    return " ".join(kept)


def _pairs(dsn: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    at = 0
    while dsn[at:].strip():
        found = _PAIR.match(dsn, at)
        if found is None:
            return None
        pairs[found["key"].lower()] = _unquoted(found["value"])
        at = found.end()
    return pairs


def _unquoted(value: str) -> str:
    if value.startswith("'"):
        value = value[1:-1]
    return re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)


def _url_parameters(dsn: str) -> dict[str, str] | None:
    found = _URL.fullmatch(dsn)
    if found is None:
        return None
    hosts = [_host_of(part) for part in found["hosts"].split(",")] if found["hosts"] else []
    pairs = {
        "host": ",".join(hosts),
        "user": unquote(found["user"] or ""),
        "password": unquote(found["password"] or ""),
        "dbname": unquote(found["dbname"] or ""),
    }
    pairs = {key: value for key, value in pairs.items() if value}
    pairs |= {unquote(key).lower(): unquote(value) for key, value in _query(found["query"])}
    return pairs or {"host": ""}


def _query(text: str | None) -> list[tuple[str, str]]:
    # libpq decodes %20 but takes "+" literally, so the usual query parsers do not fit.
    parts = [part.partition("=") for part in (text or "").split("&") if part]
    return [(key, value) for key, _, value in parts]


def _host_of(part: str) -> str:
    if part.startswith("["):
        return part[1:].partition("]")[0]
    return unquote(part.partition(":")[0])


def _url_without_secrets(dsn: str) -> str:
    found = _URL.fullmatch(dsn)
    assert found is not None, "a connection string with a secret has been read before"
    user = f"{found['user']}@" if found["user"] else ""
    path = f"/{found['dbname']}" if found["dbname"] is not None else ""
    kept = "&".join(
        f"{key}={value}"
        for key, value in _query(found["query"])
        if unquote(key).lower() not in SECRET_PARAMETERS
    )
    return f"{found['scheme']}{user}{found['hosts']}{path}" + (f"?{kept}" if kept else "")
