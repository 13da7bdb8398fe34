"""Whether a channel would take a message, found out without sending one."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stanch.adapters.channels.threads import in_own_thread
from stanch.model.shown import shortened
from stanch.policy.policy import Channel, SmtpChannel, WebhookChannel
from stanch.policy.quoting import printable

DETAIL_CHARS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What trying a channel said."""

    ok: bool
    detail: str


async def try_channel(channel: Channel, addresses: Sequence[str], *, deadline_s: float) -> Tried:
    """Go as far as a message would go, and stop before there is one.

    Mail: log in, name the sender and each of `addresses` as recipient, then take it all back
    (RSET). Webhook: connect, with TLS where the URL says so; nothing is posted.
    Never: raises for trouble with the channel.
    """
    if isinstance(channel, SmtpChannel):
        attempt = in_own_thread(lambda: _mail(channel, addresses), name="stanch-try-smtp")
    elif isinstance(channel, WebhookChannel):
        attempt = _webhook(channel)
    else:
        return Tried(ok=True, detail="lines on standard error of `stanch run`")
    try:
        async with asyncio.timeout(deadline_s):
            return await attempt
    except TimeoutError:
        return Tried(ok=False, detail=f"no answer within {deadline_s:g} s")
    except (OSError, ValueError, smtplib.SMTPException) as error:
        return Tried(ok=False, detail=_one_line(f"{type(error).__name__}: {error}"))


def _mail(channel: SmtpChannel, addresses: Sequence[str]) -> Tried:
    with _connected(channel) as client:
        client.ehlo_or_helo_if_needed()
        if channel.tls == "starttls":
            client.starttls(context=ssl.create_default_context())
            client.ehlo()
        if channel.username:
            password = Path(channel.password_file).read_text("utf-8").rstrip("\r\n")
            client.login(channel.username, password)
        code, said = client.mail(channel.sender)
        if code != 250:
            return Tried(ok=False, detail=_one_line(f"sender refused: {code} {_text(said)}"))
        for address in addresses:
            code, said = client.rcpt(address)
            if code // 100 != 2:
                what = f"{address} refused: {code} {_text(said)}"
                return Tried(ok=False, detail=_one_line(what))
        client.rset()
    whom = f" and {len(addresses)} recipients" if addresses else ""
    return Tried(ok=True, detail=f"{channel.host}:{channel.port} takes mail from the sender{whom}")


def _connected(channel: SmtpChannel) -> smtplib.SMTP:
    # The greeting name is given, because finding one's own full name would ask DNS.
    where = (channel.host, channel.port)
    name, limit_s = socket.gethostname(), channel.timeout_s
    if channel.tls == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(*where, local_hostname=name, timeout=limit_s, context=context)
    return smtplib.SMTP(*where, local_hostname=name, timeout=limit_s)


async def _webhook(channel: WebhookChannel) -> Tried:
    if channel.secret_file and not await asyncio.to_thread(_secret, channel.secret_file):
        return Tried(ok=False, detail=f"secret file {printable(channel.secret_file)} is empty")
    url = urlsplit(channel.url)
    encrypted = url.scheme == "https"
    port = url.port or (443 if encrypted else 80)
    context = ssl.create_default_context() if encrypted else None
    async with asyncio.timeout(channel.timeout_s):
        _, writer = await asyncio.open_connection(url.hostname, port, ssl=context)
    writer.close()
    signed = "signed" if channel.secret_file else "not signed: no secret_file"
    return Tried(ok=True, detail=f"{printable(str(url.hostname))}:{port} accepts; {signed}")


def _secret(path: str) -> bytes:
    return Path(path).read_bytes().strip()


def _text(said: bytes) -> str:
    return said.decode("utf-8", "backslashreplace")


def _one_line(text: str) -> str:
    return shortened(printable(text), DETAIL_CHARS_MAX)
