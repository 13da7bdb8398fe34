"""TLS as sslmode demands it, and reading a server certificate's dates without trusting it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stanch.adapters.postgres.conninfo import Conninfo

VERIFYING = frozenset({"verify-ca", "verify-full"})


class TlsSetupFailed(ValueError):
    """The client's own certificate files cannot be used; the text names the file."""


def effective_sslmode(conninfo: Conninfo) -> str:
    """libpq verifies the issuer under `require` too when the root certificate file exists."""
    mode = conninfo.settings.get("sslmode", "prefer")
    if mode == "require" and root_file(conninfo) is not None:
        return "verify-ca"
    return "verify-full" if conninfo.settings.get("sslrootcert") == "system" else mode


def client_context(conninfo: Conninfo, *, verify: bool = True) -> ssl.SSLContext:
    """A context with libpq's files and checks; `verify=False` only looks. Raises: TlsSetupFailed.

    Cost: reads the certificate files from disk, at most a few kilobytes.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if conninfo.settings.get("sslnegotiation") == "direct":
        context.set_alpn_protocols(["postgresql"])
    mode = effective_sslmode(conninfo)
    if verify and mode in VERIFYING:
        _trust(context, conninfo)
        context.verify_mode = ssl.CERT_REQUIRED
        context.check_hostname = mode == "verify-full"
    _offer_client_certificate(context, conninfo)
    return context


def _trust(context: ssl.SSLContext, conninfo: Conninfo) -> None:
    if conninfo.settings.get("sslrootcert") == "system":
        context.set_default_verify_paths()
        return
    root = root_file(conninfo)
    if root is None:
        named = conninfo.settings.get("sslrootcert") or "~/.postgresql/root.crt"
        raise TlsSetupFailed(f"root certificate file {named} does not exist")
    try:
        context.load_verify_locations(root)
    except (OSError, ssl.SSLError) as error:
        raise TlsSetupFailed(f"root certificate file {root} cannot be read: {error}") from error


def _offer_client_certificate(context: ssl.SSLContext, conninfo: Conninfo) -> None:
    if conninfo.settings.get("sslcertmode") == "disable":
        return
    folder = Path.home() / ".postgresql"
    named = conninfo.settings.get("sslcert")
    certificate = Path(named) if named else folder / "postgresql.crt"
    key = Path(conninfo.settings.get("sslkey") or folder / "postgresql.key")
    if not named and not certificate.exists():
        return
    secret = conninfo.settings.get("sslpassword", "")
    try:
        # A callback, because without one OpenSSL would ask on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: secret)
    except (OSError, ssl.SSLError) as error:
        raise TlsSetupFailed(f"client certificate {certificate} cannot be used: {error}") from error


def root_file(conninfo: Conninfo) -> Path | None:
    """The file with the authorities that libpq would trust; None where there is none."""
    named = conninfo.settings.get("sslrootcert")
    if named == "system":
        return None
    path = Path(named) if named else Path.home() / ".postgresql" / "root.crt"
    return path if path.exists() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """From when until when a certificate holds."""

    not_before: datetime
    not_after: datetime

    def in_words(self, at: datetime) -> str:
        """`expired 3 days ago, on 2026-11-18`."""
        if at > self.not_after:
            days = (at - self.not_after).days
            return f"expired {_days(days)} ago, on {self.not_after:%Y-%m-%d}"
        if at < self.not_before:
            days = (self.not_before - at).days
            return f"becomes valid in {_days(days)}, on {self.not_before:%Y-%m-%d}"
        return f"valid for {_days((self.not_after - at).days)} more"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


def certificate_validity(der: bytes) -> Validity | None:
    """The dates in a certificate that nobody has verified; None when it cannot be read.

    The standard library parses only certificates that it trusts, and the expired ones are exactly
    those. The fields before the dates are skipped by their lengths (X.509, RFC 5280 section 4.1).
    """
    try:
        _, certificate, _ = _element(der)
        _, body, _ = _element(certificate)
        tag, _, rest = _element(body)
        skipped = 3 if tag == 0xA0 else 2
        for _ in range(skipped):
            _, _, rest = _element(rest)
        tag, dates, _ = _element(rest)
        first_tag, first, after = _element(dates)
        last_tag, last, _ = _element(after)
        return Validity(not_before=_moment(first_tag, first), not_after=_moment(last_tag, last))
    except (IndexError, ValueError):
        return None


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content, and what follows, of the first DER element."""
    tag, length, at = data[0], data[1], 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[2 : 2 + count], "big")
        at += count
    if at + length > len(data):
        raise ValueError("an element longer than its container")
    return tag, data[at : at + length], data[at + length :]


def _moment(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == 0x17:
        # UTCTime has two digits for the year; RFC 5280 splits the centuries at 50.
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
