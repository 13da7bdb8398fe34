"""Where Patroni is asked about a target, and the keys of it."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.policy.http_keys import PASSWORD_LOGIN, url_key
from stanch.policy.shapes import Section
from stanch.policy.signs import HttpSource


@dataclass(frozen=True, slots=True, kw_only=True)
class PatroniSource(HttpSource):
    """The REST API of the Patroni that runs this server."""

    name: str = "patroni"


PATRONI = Section(
    title="patroni",
    make=PatroniSource,
    keys=(
        url_key(
            "Its REST API, asked by each diagnosis for `/patroni` and `/cluster`. Only "
            "`restart_server` changes anything over it, by `/restart`.",
            "http://orders-1.example.com:8008",
        ),
        *PASSWORD_LOGIN,
    ),
)
