"""The certificates that a server and its services show, judged as a client that verifies would."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit

from stanch.adapters.postgres import tls
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.layers import Ended, Trace
from stanch.adapters.postgres.protocol import NotPostgres
from stanch.adapters.postgres.startup import ClosedEarly, SessionRefused
from stanch.adapters.postgres.way import find, transport
from stanch.model.certificates import CertificateSeen
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.readings import Reading
from stanch.policy.quoting import printable
from stanch.policy.signs import HealthCheck
from stanch.watch.reachability.certificates import certificate_readings

DEADLINE_S = 5.0
JUDGED_FOR = timedelta(days=1)
"""A certificate that stays the same is judged again after so long: a handshake that we break off
puts a line into the log of a PostgreSQL server."""

WRONG_NAME = frozenset({62, 63, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and its kin, from OpenSSL's x509_vfy.h."""
DETAIL_CHARS_MAX = 200


class ShowsCertificate(Protocol):
    """Somebody who encrypts."""

    async def handshake(self, context: ssl.SSLContext) -> bytes | None:
        """One connection, ended after the handshake; the certificate as DER, None where nothing is
        encrypted. Raises: ssl.SSLError, and what `look` takes for no answer.
        """
        ...

    def trust(self, *, name: bool) -> ssl.SSLContext:
        """A context that verifies, with or without the name. Raises: OSError, ssl.SSLError."""
        ...


class CertificateWatch:
    """A `SignSource` for one certificate.

    Cost: one connection and one handshake a look, no login; up to three more when the certificate
    is new, and once a day.
    """

    def __init__(
        self, shown_by: ShowsCertificate, *, subject: str, now: Callable[[], datetime]
    ) -> None:
        self._shown_by = shown_by
        self._subject = subject
        self._now = now
        self._known: tuple[bytes, datetime, CertificateSeen] | None = None

    async def look(self) -> tuple[Reading, ...]:
        at = self._now()
        try:
            async with asyncio.timeout(DEADLINE_S):
                seen = await self._seen(at)
        except TimeoutError:
            seen = _missing(f"no answer within {DEADLINE_S:g} s")
        except (Ended, ClosedEarly, NotPostgres, SessionRefused) as failed:
            seen = _missing(str(failed) or "the connection was closed")
        except (OSError, ValueError, ProbeFailed, SetupError) as failed:
            seen = _missing(str(failed))
        return certificate_readings(seen, subject=self._subject, at=at)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _seen(self, at: datetime) -> CertificateSeen | None:
        der = await self._shown_by.handshake(_looking())
        if der is None:
            return None
        if self._known is not None:
            same, judged_at, seen = self._known
            if same == der and at - judged_at < JUDGED_FOR and not _ended(seen, at):
                return seen
        seen = await judged(self._shown_by, der)
        self._known = (der, at, seen)
        return seen


async def judged(shown_by: ShowsCertificate, der: bytes) -> CertificateSeen:
    """What a client that verifies would say of chain and name, each for itself.

    OpenSSL stops at the first thing that is wrong, so that what is wrong with the other is asked
    by a second handshake: for the chain without the name, for the name with the certificate itself
    as the authority.
    """
    validity = tls.certificate_validity(der)
    ends = validity.not_after if validity is not None else None
    code, words = await _verify(shown_by, lambda: shown_by.trust(name=True))
    if not code:
        return CertificateSeen(ends=ends, chain_ok=True, name_ok=True)
    if code in WRONG_NAME:
        other, more = await _verify(shown_by, lambda: shown_by.trust(name=False))
        chain_ok, name_ok = not other, False
    else:
        other, more = await _verify(shown_by, lambda: _trusting_itself(der, shown_by))
        chain_ok, name_ok = False, other not in WRONG_NAME
        more = "" if name_ok else more
    detail = printable("; ".join(part for part in (words, more) if part))[:DETAIL_CHARS_MAX]
    return CertificateSeen(ends=ends, chain_ok=chain_ok, name_ok=name_ok, detail=detail)


async def _verify(
    shown_by: ShowsCertificate, context: Callable[[], ssl.SSLContext]
) -> tuple[int, str]:
    """OpenSSL's number for what is wrong, with its words; zero where nothing is."""
    # Reading the authorities of a whole system takes longer than the loop may stand still.
    made = await asyncio.to_thread(context)
    try:
        await shown_by.handshake(made)
    except ssl.SSLCertVerificationError as refused:
        return refused.verify_code, refused.verify_message
    return 0, ""


def _looking() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting_itself(der: bytes, shown_by: ShowsCertificate) -> ssl.SSLContext:
    context = shown_by.trust(name=True)
    context.load_verify_locations(cadata=der)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _verifying(cafile: str | None, *, name: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=cafile)
    context.check_hostname = name
    return context


class ServerCertificate:
    """The one that a PostgreSQL server shows, whatever sslmode makes of it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def handshake(self, context: ssl.SSLContext) -> bytes | None:
        conninfo = resolve(self._dsn)
        mode = tls.effective_sslmode(conninfo)
        if conninfo.is_socket or mode == "disable":
            return None
        direct = conninfo.settings.get("sslnegotiation") == "direct"
        if direct:
            context.set_alpn_protocols(["postgresql"])
        trace = Trace()
        async with await transport(await find(conninfo, trace), trace) as wire:
            if not direct and not await wire.offers_tls():
                return None
            return await wire.start_tls(context, conninfo.host or conninfo.hostaddr)

    def trust(self, *, name: bool) -> ssl.SSLContext:
        """With `sslrootcert` of the string or libpq's own file, else as this machine trusts."""
        root = tls.root_file(resolve(self._dsn))
        context = _verifying(None if root is None else str(root), name=name)
        # As libpq does for certificates that name no alternatives.
        context.hostname_checks_common_name = True
        return context


class ServiceCertificate:
    """The one that a service shows to its health check."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._parts = urlsplit(check.url)

    async def handshake(self, context: ssl.SSLContext) -> bytes | None:
        host = self._parts.hostname or ""
        if self._parts.scheme != "https":
            return None
        port = self._parts.port or 443
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        shown = writer.get_extra_info("ssl_object")
        der = shown.getpeercert(binary_form=True) if shown is not None else None
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return der or b""

    def trust(self, *, name: bool) -> ssl.SSLContext:
        return _verifying(self._check.ca_file or None, name=name)


def _ended(seen: CertificateSeen, at: datetime) -> bool:
    """It expired since it was judged."""
    return seen.chain_ok and seen.ends is not None and at > seen.ends


def _missing(reason: str) -> Missing:
    return Missing(what="certificate", reason=printable(reason)[:DETAIL_CHARS_MAX])
