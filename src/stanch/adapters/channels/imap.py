"""A mailbox over IMAP, read without changing anything in it, and waited on with IDLE.

What was read is remembered by its place (UIDVALIDITY and UID), not by a flag: people go on seeing
what they have not read. Parts of a mail are asked for up to a size, so a huge one costs no more.
"""

from __future__ import annotations

import imaplib
import re
import select
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from stanch.adapters.channels.threads import in_own_thread
from stanch.model.errors import ChannelError
from stanch.policy.quoting import printable
from stanch.policy.signals import SignalMailbox

T = TypeVar("T")

ANSWER_S = 20.0
IDLE_S = 20.0
"""New mail that arrives in the very moment of going idle may be seen only after this."""
HEADER_BYTES_MAX = 64 * 1024
TEXT_BYTES_MAX = 16 * 1024
AT_ONCE_MAX = 50
RANGE_MAX = 2_000
"""UIDs asked about in one search."""
FIRST_LOOK = timedelta(days=1)
"""A mailbox seen for the first time: what is unread, and not older than this, counts as new."""

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a mailbox was read."""

    validity: int
    uid: int

    def text(self) -> str:
        return f"{self.validity}:{self.uid}"

    @staticmethod
    def of(text: str | None) -> Place | None:
        found = re.fullmatch(r"(\d{1,19}):(\d{1,19})", text or "")
        return Place(validity=int(found[1]), uid=int(found[2])) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawMail:
    """The beginning of a mail."""

    uid: int
    header: bytes
    text: bytes


class ImapMailbox:
    """One connection. Its methods block in threads of their own; `interrupt` ends any of them."""

    def __init__(self, mailbox: SignalMailbox, *, tls: ssl.SSLContext | None = None) -> None:
        self._mailbox = mailbox
        self._tls = tls
        self._client: imaplib.IMAP4 | None = None
        self._validity = 0
        self._number = 0

    async def open(self) -> None:
        """Connect, log in, select the folder read-only. Raises ChannelError."""
        await self._in_thread(self._open)

    async def read(self, after: Place | None, *, now: datetime) -> tuple[list[RawMail], Place]:
        """New mails, oldest first, at most AT_ONCE_MAX, and how far that comes."""
        return await self._in_thread(lambda: self._read(after, now))

    async def wait(self) -> None:
        """Until something new may be there. Raises ChannelError."""
        await self._in_thread(self._wait)

    def interrupt(self) -> None:
        """Whatever waits ends with an error; the connection is of no more use."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(OSError):
                client.socket().shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                client.socket().close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await in_own_thread(work, name="stanch-mailbox")
        except imaplib.IMAP4.abort as error:
            raise self._failed(f"the connection ended: {error}") from error
        except imaplib.IMAP4.error as error:
            raise self._failed(str(error)) from error
        except (OSError, ValueError) as error:
            raise self._failed(str(error) or type(error).__name__) from error

    def _failed(self, what: str) -> ChannelError:
        on = f"{self._mailbox.username} at {self._mailbox.host}:{self._mailbox.port}"
        return ChannelError(printable(what[:300]), on=on)

    # --- in the thread ---

    def _open(self) -> None:
        box = self._mailbox
        password = Path(box.password_file).read_text("utf-8").rstrip("\r\n")
        tls = self._tls or ssl.create_default_context()
        if box.tls == "tls":
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                box.host, box.port, ssl_context=tls, timeout=ANSWER_S
            )
        else:
            client = imaplib.IMAP4(box.host, box.port, timeout=ANSWER_S)
        self._client = client
        if box.tls == "starttls":
            client.starttls(tls)
        client.login(box.username, password)
        self._said(*client.select(_quoted(box.folder), readonly=True))
        validity = client.response("UIDVALIDITY")[1]
        self._validity = int(validity[0]) if validity and validity[0] else 0

    def _connected(self) -> imaplib.IMAP4:
        if self._client is None:
            raise OSError("not connected")
        return self._client

    def _read(self, after: Place | None, now: datetime) -> tuple[list[RawMail], Place]:
        client = self._connected()
        known = after is not None and after.validity == self._validity
        if known and after is not None:
            uids = self._search(f"UID {after.uid + 1}:{after.uid + RANGE_MAX}")
            # A range past the end means the last mail of all.
            new = [uid for uid in uids if uid > after.uid]
            end = after.uid
            if not new and self._search(f"UID {after.uid + RANGE_MAX + 1}:*")[-1:] > [after.uid]:
                end = after.uid + RANGE_MAX
        else:
            since = now - FIRST_LOOK
            day = f"{since.day}-{_MONTHS[since.month - 1]}-{since.year}"
            new = self._search(f"UNSEEN SINCE {day}")
            end = max(self._search("UID *:*"), default=0) if not new else 0
        taken = sorted(new)[:AT_ONCE_MAX]
        mails = [mail for uid in taken if (mail := self._fetch(client, uid)) is not None]
        return mails, Place(validity=self._validity, uid=max([end, *taken]))

    def _search(self, what: str) -> list[int]:
        found = self._said(*self._connected().uid("SEARCH", *what.split(" ")))
        return [int(uid) for uid in (found[0] or b"").split()] if found else []

    def _fetch(self, client: imaplib.IMAP4, uid: int) -> RawMail | None:
        """None where it is gone by now."""
        parts = f"(BODY.PEEK[HEADER]<0.{HEADER_BYTES_MAX}> BODY.PEEK[TEXT]<0.{TEXT_BYTES_MAX}>)"
        found = self._said(*client.uid("FETCH", str(uid), parts))
        literals = dict(_literals(found))
        if "HEADER" not in literals:
            return None
        return RawMail(uid=uid, header=literals["HEADER"], text=literals.get("TEXT", b""))

    def _wait(self) -> None:
        """IDLE (RFC 2177), by hand: this Python's imaplib has no word for it."""
        client = self._connected()
        self._number += 1
        tag = b"STANCH%d" % self._number
        client.send(tag + b" IDLE\r\n")
        news = False
        for line in self._lines(client):
            if line.startswith(b"+"):
                break
            if line.startswith(tag):
                raise OSError("the server knows no IDLE")
            news = news or b"EXISTS" in line
        if not news:
            select.select([client.socket()], [], [], IDLE_S)
        client.send(b"DONE\r\n")
        for line in self._lines(client):
            if line.startswith(tag):
                return

    @staticmethod
    def _lines(client: imaplib.IMAP4) -> Iterator[bytes]:
        while line := client.readline():
            yield line
        raise imaplib.IMAP4.abort("the server closed it")

    def _said(self, status: str, data: list[Any]) -> list[Any]:
        if status != "OK":
            raise OSError(f"the server answers {status} {data!r:.200}")
        return data


def _literals(found: list[Any]) -> Iterator[tuple[str, bytes]]:
    """`HEADER` and `TEXT` with their bytes, in whatever order the server gives them."""
    for part in found:
        if not isinstance(part, tuple):
            continue
        said, literal = cast("tuple[bytes, bytes]", part)
        name = re.search(rb"BODY\[(HEADER|TEXT)\]", said)
        if name:
            yield name[1].decode(), literal


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
