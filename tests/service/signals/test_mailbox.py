"""Reports by mail, through a real IMAP server on loopback."""

from __future__ import annotations

import asyncio
import imaplib
import os
import pwd
import shutil
import signal as signals
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from signals_at import SignalHouse, policy_with
from stanch.adapters.channels.imap import ImapMailbox, Place
from stanch.adapters.postgres.scratch import free_port
from stanch.model.errors import ChannelError
from stanch.policy.signals import SignalMailbox, Signals
from stanch.service.readiness.inbound import try_inbound
from stanch.service.signals.mailbox import read_mailbox

DEADLINE_S = 20.0

pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(
        shutil.which("dovecot") is None or os.geteuid() != 0, reason="needs Dovecot, and root"
    ),
]

CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
default_internal_user = {user}
default_login_user = {user}
default_internal_group = {group}
mail_location = maildir:{folder}/mail
first_valid_uid = 1
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running server with one mailbox, and a person who puts mails into it."""

    folder: Path
    port: int

    @property
    def mailbox(self) -> SignalMailbox:
        return SignalMailbox(
            host="127.0.0.1",
            port=self.port,
            tls="none",
            username="alarm",
            password_file=str(self.folder / "password"),
            senders=("ops@example.com",),
        )

    def login(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=10)
        client.login("alarm", "secret")
        return client

    def put(self, subject: str, *, size: int = 20) -> None:
        head = f"From: Ops <ops@example.com>\r\nSubject: {subject}\r\n\r\n"
        client = self.login()
        client.append("INBOX", "", "", head.encode() + b"help " * (size // 5))
        client.logout()

    def unseen(self) -> int:
        client = self.login()
        client.select("INBOX", readonly=True)
        found = client.search(None, "UNSEEN")[1][0].split()
        client.logout()
        return len(found)


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    owner = pwd.getpwnam("postgres")
    with tempfile.TemporaryDirectory(prefix="stanch-m-", dir="/tmp") as name:
        folder, port = Path(name), free_port()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        (folder / "password").write_text("secret\n")
        config = folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(
                folder=folder,
                port=port,
                user="postgres",
                group="postgres",
                uid=owner.pw_uid,
                gid=owner.pw_gid,
            )
        )
        process = subprocess.Popen(
            ["dovecot", "-F", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        server = Dovecot(folder, port)
        try:
            _wait_until_up(server, process)
            yield server
        finally:
            process.send_signal(signals.SIGTERM)
            process.wait(10)


def _wait_until_up(server: Dovecot, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            server.login().logout()
            return
        except OSError:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end, (server.folder / "log").read_text()
            time.sleep(0.05)


class Following:
    """A house that follows the mailbox."""

    def __init__(self, house: SignalHouse, counted: Counter[str]) -> None:
        self.house = house
        self.counted = counted

    async def titles(self) -> list[str]:
        rows = await self.house.rows.listed(firing_only=False, limit=99)
        return sorted(row.signal.title for row in rows)

    async def standing(self) -> list[str]:
        """The symptoms of every incident."""
        await self.house.tell()
        return sorted(key for one in await self.house.incidents() for key in one.symptoms)

    async def until(self, holds: Callable[[list[str]], bool]) -> list[str]:
        async with asyncio.timeout(DEADLINE_S):
            while not holds(found := await self.titles()):
                await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def following(
    mailbox: SignalMailbox, *, house: SignalHouse | None = None
) -> AsyncIterator[Following]:
    house = house or await SignalHouse(policy_with(Signals(mailbox=mailbox))).open()
    counted: Counter[str] = Counter()

    def count(source: str, outcome: str, times: int) -> None:
        counted[outcome] += times

    tasks = [
        asyncio.create_task(house.intake.run()),
        asyncio.create_task(
            read_mailbox(lambda: mailbox, house.rows, house.intake, clock=house, count=count)
        ),
    ]
    try:
        yield Following(house, counted)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_report_is_stored_as_it_comes_and_people_still_find_it_unread(
    dovecot: Dovecot,
) -> None:
    async with following(dovecot.mailbox) as box:
        await asyncio.to_thread(dovecot.put, "P0: before - Acme")
        await box.until(lambda found: found == ["before - Acme"])
        assert await box.standing() == ["reported:mail:before - acme"]
        # By now it waits with IDLE, and is told.
        began = time.monotonic()
        await asyncio.to_thread(dovecot.put, "P1: after - Acme", size=5_000_000)
        await box.until(lambda found: "after - Acme" in found)
        assert time.monotonic() - began < 15
        assert await box.standing() == [
            "reported:mail:after - acme",
            "reported:mail:before - acme",
        ]
        await asyncio.to_thread(dovecot.put, "Invoice")
        await asyncio.to_thread(dovecot.put, "Resolved: before - Acme")
        async with asyncio.timeout(DEADLINE_S):
            while box.counted["stored"] < 3:
                await asyncio.sleep(0.05)
        assert box.counted["ignored"] == 1
        assert await box.standing() == ["reported:mail:after - acme"]
    assert await asyncio.to_thread(dovecot.unseen) == 4


async def test_after_a_restart_only_what_is_new_is_read(dovecot: Dovecot) -> None:
    mailbox = replace(dovecot.mailbox, folder="INBOX")
    house = await SignalHouse(policy_with(Signals(mailbox=mailbox))).open()
    async with following(mailbox, house=house) as box:
        await asyncio.to_thread(dovecot.put, "P0: once")
        await box.until(lambda found: "once" in found)
    await asyncio.to_thread(dovecot.put, "P0: while away")
    async with following(mailbox, house=house) as box:
        await box.until(lambda found: "while away" in found)
        rows = await house.rows.listed(firing_only=False, limit=99)
        assert {row.signal.title: row.count for row in rows}["once"] == 1


async def test_a_wrong_password_is_one_clear_failure(dovecot: Dovecot) -> None:
    (dovecot.folder / "wrong").write_text("guess\n")
    box = ImapMailbox(replace(dovecot.mailbox, password_file=str(dovecot.folder / "wrong")))
    with pytest.raises(ChannelError, match="AUTHENTICATIONFAILED"):
        await box.open()
    box.interrupt()


async def test_ending_does_not_wait_for_mail(dovecot: Dovecot) -> None:
    box = ImapMailbox(dovecot.mailbox)
    await box.open()
    waiting = asyncio.create_task(box.wait())
    await asyncio.sleep(0.2)
    began = time.monotonic()
    box.interrupt()
    with pytest.raises(ChannelError):
        await waiting
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", [None, "", "x", "1:", "1:2:3", "-1:2"])
def test_a_place_that_cannot_be_read_is_none(text: str | None) -> None:
    assert Place.of(text) is None


def test_a_place_reads_back() -> None:
    place = Place(validity=7, uid=9)
    assert Place.of(place.text()) == place


async def test_check_opens_the_mailbox_and_changes_nothing_in_it(dovecot: Dovecot) -> None:
    unseen = dovecot.unseen()
    [(on, tried)] = await try_inbound(Signals(mailbox=dovecot.mailbox))
    assert (on, tried.ok) == ("signals mailbox", True)
    assert "INBOX of alarm at 127.0.0.1" in tried.detail
    assert dovecot.unseen() == unseen


async def test_check_says_what_is_wrong_with_a_mailbox(dovecot: Dovecot) -> None:
    lost = replace(dovecot.mailbox, folder="Alerts")
    [(_, tried)] = await try_inbound(Signals(mailbox=lost))
    assert not tried.ok
    assert "Alerts of alarm" in tried.detail
    keyless = replace(dovecot.mailbox, password_file="/nowhere/password")
    [(_, tried)] = await try_inbound(Signals(mailbox=keyless))
    assert not tried.ok
    assert "/nowhere/password" in tried.detail


async def test_check_does_not_wait_for_a_mail_server_that_says_nothing(dovecot: Dovecot) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = replace(dovecot.mailbox, port=silent.getsockname()[1])
        [(_, tried)] = await try_inbound(Signals(mailbox=mute), deadline_s=0.3)
    assert not tried.ok
    assert "no answer within" in tried.detail
