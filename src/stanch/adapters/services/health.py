"""One health check over HTTP: a GET on a fresh connection, within a deadline, bounded."""

from __future__ import annotations

import asyncio
import ssl

import httpx

from stanch.adapters.channels.threads import in_own_thread
from stanch.adapters.services.asking import NOT_VERIFIED
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.quoting import printable
from stanch.policy.signs import HealthCheck
from stanch.watch.services.readings import BODY_BYTES_MAX, Answer, service_readings

HEAD = {
    "Accept": "application/json, */*",
    # A few compressed bytes can be very many.
    "Accept-Encoding": "identity",
    "User-Agent": "stanch",
    "Connection": "close",
}


class HttpHealth:
    """A `SignSource` for one service.

    Redirects are not followed, proxies of the environment are not used, certificates are always
    verified. A body is read only where a value in it is expected, and never more than 64 kB of it.
    Cost: one request a look, on a connection of its own: one kept open would hide that no new ones
    are taken.
    """

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._trust: ssl.SSLContext | None = None
        self._reading: asyncio.Task[ssl.SSLContext] | None = None

    async def look(self) -> tuple[Reading, ...]:
        return service_readings(self._check, await self._ask())

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _ask(self) -> Answer | Missing:
        loop, check = asyncio.get_running_loop(), self._check
        try:
            async with asyncio.timeout(check.timeout_s):
                trust = await self._trusted()
            began_s = loop.time()
            async with (
                asyncio.timeout(check.timeout_s),
                httpx.AsyncClient(verify=trust, trust_env=False, timeout=None) as client,  # noqa: S113 -- the whole look has a deadline
                client.stream("GET", check.url, headers=HEAD) as said,
            ):
                body, cut = await _body(said) if check.json else (b"", False)
                ms = (loop.time() - began_s) * 1000
        except TimeoutError:
            return self._missing(f"no answer within {check.timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            if NOT_VERIFIED in str(error):
                # Its authority may have changed, and the file with it: the next look reads it anew.
                self._trust = None
            return self._missing(str(error) or type(error).__name__)
        return Answer(status=said.status_code, ms=round(ms, 3), body=body, cut=cut)

    async def _trusted(self) -> ssl.SSLContext:
        """Raises: OSError for a file that cannot be read or holds no certificates."""
        if self._trust is not None:
            return self._trust
        if self._reading is None or self._reading.done():
            file = self._check.ca_file or None
            made = in_own_thread(
                lambda: ssl.create_default_context(cafile=file), name="stanch-trust"
            )
            self._reading = asyncio.create_task(made)
            # Where nobody waits any more, what came of it is of no interest.
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        # A file that cannot be had is waited for at the next look, not read again.
        self._trust = trust = await asyncio.shield(self._reading)
        return trust

    def _missing(self, reason: str) -> Missing:
        return Missing(what="health check", reason=printable(reason)[:200])


async def _body(said: httpx.Response) -> tuple[bytes, bool]:
    """As much as is read of it, and whether there was more."""
    body = bytearray()
    async for piece in said.aiter_raw():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            return bytes(body[:BODY_BYTES_MAX]), True
    return bytes(body), False
