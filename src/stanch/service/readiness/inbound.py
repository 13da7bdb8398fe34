"""What may come in from outside, tried once: the proofs of sources and heartbeats, the mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from stanch.adapters.channels.imap import ImapMailbox
from stanch.adapters.channels.secrets import Unreadable, first_line, is_public
from stanch.adapters.channels.trying import Tried
from stanch.model.errors import ChannelError
from stanch.model.shown import shortened, span
from stanch.policy.signals import SignalMailbox, Signals

MAILBOX_DEADLINE_S = 15.0
DETAIL_CHARS_MAX = 300

Named = tuple[str, Tried]


async def try_inbound(
    signals: Signals, *, deadline_s: float = MAILBOX_DEADLINE_S
) -> tuple[Named, ...]:
    """Every file with a proof is read, and the mailbox opened as far as reading it would go.

    Never: reads a mail, marks one, or shows a secret.
    """
    proofs = asyncio.to_thread(lambda: tuple(_proofs(signals)))
    if signals.mailbox is None:
        return await proofs
    known, mailbox = await asyncio.gather(proofs, _mailbox(signals.mailbox, deadline_s))
    return (*known, ("signals mailbox", mailbox))


def _proofs(signals: Signals) -> Iterator[Named]:
    for source in signals.sources:
        files = (source.token_file, source.password_file, source.secret_file)
        yield f"signals source {source.name}", _read(files)
    for beat in signals.heartbeats:
        yield f"signals heartbeat {beat.name}", _read((beat.token_file,))


def _read(files: Sequence[str]) -> Tried:
    named = [file for file in files if file]
    try:
        for file in named:
            first_line(file)
        public = [file for file in named if is_public(file)]
    except Unreadable as error:
        return Tried(ok=False, detail=str(error))
    except OSError as error:
        return Tried(ok=False, detail=f"cannot be read: {(error.strerror or '').lower()}")
    said = f"{', '.join(named)} can be read" if named else "asks for no proof"
    warned = f"; every user of this machine can read {', '.join(public)}" if public else ""
    return Tried(ok=True, detail=shortened(said + warned, DETAIL_CHARS_MAX))


async def _mailbox(mailbox: SignalMailbox, deadline_s: float) -> Tried:
    box = ImapMailbox(mailbox)
    where = f"{mailbox.folder} of {mailbox.username} at {mailbox.host}:{mailbox.port}"
    try:
        async with asyncio.timeout(deadline_s):
            await box.open()
    except ChannelError as error:
        return Tried(ok=False, detail=shortened(f"{where}: {error.what}", DETAIL_CHARS_MAX))
    except TimeoutError:
        return Tried(ok=False, detail=f"{where}: no answer within {span(deadline_s)}")
    finally:
        box.interrupt()
    return Tried(ok=True, detail=f"{where} can be read")
