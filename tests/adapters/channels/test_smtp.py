import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stanch.adapters.channels.smtp import Smtp
from stanch.model.ids import ChannelName
from stanch.model.messages import Delivery, Handover, Message
from stanch.policy.policy import SmtpChannel
from stanch.testing.mailbox import Close, Fault, Hang, Mailbox, Reply


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as running:
        yield running


def channel(mailbox: Mailbox, **changes: object) -> SmtpChannel:
    plain = SmtpChannel(
        name=ChannelName("mail"),
        host=mailbox.host,
        port=mailbox.port,
        sender="stanch@example.com",
        timeout_s=5,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


async def test_a_page_arrives_whole_in_the_mailbox(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    result = await Smtp(channel(mailbox)).send(page, to_ann, deadline_s=5)
    [mail] = mailbox.mails
    assert result.outcome is Handover.ACCEPTED
    assert mail.recipients == ("ann@example.com",)
    assert mail.subject == page.subject
    assert mail.text.splitlines() == [page.short, "", *page.body.splitlines()]


@pytest.mark.parametrize(
    ("fault", "outcome", "retryable"),
    [
        (Reply(at="mail", line="421 closing"), Handover.FAILED, True),
        (Reply(at="rcpt", line="451 try later"), Handover.FAILED, True),
        (Reply(at="rcpt", line="550 no such user"), Handover.FAILED, False),
        (Reply(at="data", line="451 disk full here"), Handover.FAILED, True),
        (Reply(at="data", line="554 not wanted"), Handover.FAILED, False),
        (Reply(at="data", line="nonsense"), Handover.IN_DOUBT, True),
        (Close(at="rcpt"), Handover.FAILED, True),
        (Close(at="data"), Handover.IN_DOUBT, True),
        (Hang(at="mail"), Handover.FAILED, True),
        (Hang(at="rcpt"), Handover.FAILED, True),
        (Hang(at="data"), Handover.IN_DOUBT, True),
    ],
    ids=str,
)
async def test_only_what_follows_the_final_dot_can_be_in_doubt(
    mailbox: Mailbox,
    page: Message,
    to_ann: Delivery,
    fault: Fault,
    outcome: Handover,
    retryable: bool,
) -> None:
    mailbox.fail_next(fault)
    result = await Smtp(channel(mailbox, timeout_s=0.3)).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (outcome, retryable)
    assert result.detail.isprintable()
    assert mailbox.mails == ()


async def test_the_server_s_own_words_are_kept_and_say_at_which_step(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    mailbox.fail_next(Reply(at="rcpt", line="550 no such user \x1b[31mhere"))
    result = await Smtp(channel(mailbox)).send(page, to_ann, deadline_s=5)
    assert "550 no such user" in result.detail
    assert "naming the recipient" in result.detail
    assert "\x1b" not in result.detail


async def test_a_mail_taken_without_an_answer_is_sent_again_under_the_same_message_id(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    mailbox.fail_next(Hang(at="data", keep=True))
    port = Smtp(channel(mailbox))
    first = await port.send(page, to_ann, deadline_s=0.3)
    again = await port.send(replace(page, possible_repeat=True), to_ann, deadline_s=5)
    assert (first.outcome, again.outcome) == (Handover.IN_DOUBT, Handover.ACCEPTED)
    kept, repeat = mailbox.mails
    assert kept.message_id == repeat.message_id
    assert repeat.subject.startswith("[possible repeat]")


async def test_the_deadline_holds_although_the_server_keeps_talking(
    page: Message, to_ann: Delivery
) -> None:
    with DrippingServer() as server:
        port = Smtp(SmtpChannel(name=ChannelName("mail"), host="127.0.0.1", port=server.port))
        begun = time.monotonic()
        result = await port.send(page, to_ann, deadline_s=0.4)
        assert time.monotonic() - begun < 2
        assert result.outcome is Handover.FAILED
        assert server.closed.wait(5), "the connection was left open"


async def test_nothing_is_sent_after_the_caller_has_been_cancelled(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    released = threading.Event()
    mailbox.fail_next(Hang(at="rcpt", until=released))
    task = asyncio.create_task(Smtp(channel(mailbox)).send(page, to_ann, deadline_s=30))
    while mailbox.faults_left:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    released.set()
    for thread in [t for t in threading.enumerate() if t.name == "stanch-smtp"]:
        await asyncio.to_thread(thread.join, 5)
        assert not thread.is_alive()
    assert mailbox.mails == ()


async def test_a_closed_port_is_a_failure_that_is_tried_again(
    page: Message, to_ann: Delivery
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        nobody = SmtpChannel(
            name=ChannelName("mail"), host="127.0.0.1", port=reserved.getsockname()[1]
        )
        result = await Smtp(nobody).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, True)
    assert "refused" in result.detail


async def test_an_address_with_a_command_in_it_never_reaches_the_server(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    sly = replace(to_ann, address="ann@example.com>\r\nRCPT TO:<eve@example.com")
    result = await Smtp(channel(mailbox)).send(page, sly, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, False)
    assert mailbox.connections == 0


async def test_an_international_address_is_used_where_the_server_takes_it(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    to = replace(to_ann, address="jürgen@bücher.example.com")
    result = await Smtp(channel(mailbox)).send(page, to, deadline_s=5)
    assert result.outcome is Handover.ACCEPTED
    assert mailbox.mails[0].recipients == ("jürgen@bücher.example.com",)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mail_goes_over_tls_with_a_login(
    tls: str,
    page: Message,
    to_ann: Delivery,
    tmp_path: Path,
    server_tls: ssl.SSLContext,
    trusting_tls: ssl.SSLContext,
) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    login = {"tls": tls, "username": "stanch", "password_file": str(password)}
    with Mailbox(login=("stanch", "s3cret"), tls_context=server_tls, tls=tls) as box:  # type: ignore[arg-type]
        port = Smtp(channel(box, **login), tls=trusting_tls)
        assert (await port.send(page, to_ann, deadline_s=5)).outcome is Handover.ACCEPTED
        password.write_text("wrong")
        refused = await port.send(page, to_ann, deadline_s=5)
    assert (refused.outcome, refused.retryable) == (Handover.FAILED, False)
    assert "wrong" not in refused.detail
    assert len(box.mails) == 1


async def test_a_certificate_nobody_vouches_for_is_refused(
    page: Message, to_ann: Delivery, server_tls: ssl.SSLContext
) -> None:
    with Mailbox(tls_context=server_tls, tls="starttls") as box:
        result = await Smtp(channel(box, tls="starttls")).send(page, to_ann, deadline_s=5)
    assert result.outcome is Handover.FAILED
    assert "certificate" in result.detail
    assert box.mails == ()


async def test_a_server_without_starttls_gets_nothing_in_the_clear(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    result = await Smtp(channel(mailbox, tls="starttls")).send(page, to_ann, deadline_s=5)
    assert result.outcome is Handover.FAILED
    assert mailbox.mails == ()


async def test_a_missing_password_file_is_named(
    mailbox: Mailbox, page: Message, to_ann: Delivery, tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone")
    port = Smtp(channel(mailbox, username="stanch", password_file=gone))
    result = await port.send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, True)
    assert gone in result.detail


async def test_twenty_pages_at_once_all_arrive(
    mailbox: Mailbox, page: Message, to_ann: Delivery
) -> None:
    port = Smtp(channel(mailbox))
    sends = [
        port.send(page, replace(to_ann, address=f"p{n}@example.com"), deadline_s=10)
        for n in range(20)
    ]
    assert {r.outcome for r in await asyncio.gather(*sends)} == {Handover.ACCEPTED}
    assert len({mail.recipients for mail in mailbox.mails}) == 20


class DrippingServer:
    """Sends its greeting a byte at a time and never ends it: no single read ever times out."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            try:
                while not self.closed.wait(0.02):
                    connection.sendall(b"2")
            except OSError:
                self.closed.set()

    def __enter__(self) -> "DrippingServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()
        self.thread.join(timeout=5)
        self.listener.close()
