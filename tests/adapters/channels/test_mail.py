import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.adapters.channels.mail import AddressInvalid, mail_bytes, plain_address
from stanch.model.ids import ChannelName, DeliveryId, IncidentId, MessageId
from stanch.model.messages import Delivery, Message, MessageKind

AT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SENDER = "Stanch <stanch@example.com>"
HEADERS = {
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "Importance",
    "X-Priority",
    "X-Stanch-Incident",
    "X-Stanch-Kind",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
}
anything = st.text(alphabet=st.characters(codec=None), max_size=400)


def headers_of(raw: bytes) -> list[str]:
    return list(email.message_from_bytes(raw, policy=email.policy.compat32).keys())


def message(**changes: object) -> Message:
    plain = Message(
        id=MessageId("m1"),
        incident_id=IncidentId("20260301-001"),
        kind=MessageKind.PAGE,
        subject="server down",
        short="short",
        body="body",
        thread="20260301-001",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def delivery(number: int = 1, address: str = "ann@example.com") -> Delivery:
    return Delivery(
        id=DeliveryId(f"m1.{number}"),
        message_id=MessageId("m1"),
        channel=ChannelName("mail"),
        address=address,
    )


def parsed(sent: Message, to: Delivery | None = None) -> EmailMessage:
    raw = mail_bytes(sent, to or delivery(), sender=SENDER, at=AT)
    return email.message_from_bytes(raw, policy=email.policy.default)


def test_a_repeat_has_the_same_message_id_and_says_that_it_may_be_one() -> None:
    first, again = parsed(message()), parsed(message(possible_repeat=True))
    assert first["Message-ID"] == again["Message-ID"]
    assert again["Subject"] == "[possible repeat] server down"
    assert "repeat" not in first["Subject"]


def test_another_address_or_another_message_has_another_message_id() -> None:
    ids = {
        parsed(message())["Message-ID"],
        parsed(message(), delivery(2))["Message-ID"],
        parsed(message(id=MessageId("m2")))["Message-ID"],
    }
    assert len(ids) == 3


def test_all_mails_of_an_incident_are_one_thread_and_other_incidents_another() -> None:
    page, update = parsed(message()), parsed(message(id=MessageId("m2")))
    other = parsed(message(thread="20260301-002"))
    assert page["References"] == update["In-Reply-To"] == page["In-Reply-To"]
    assert other["References"] != page["References"]


def test_no_vacation_note_answers_a_page() -> None:
    assert parsed(message())["Auto-Submitted"] == "auto-generated"


def test_only_a_page_claims_importance() -> None:
    assert parsed(message())["Importance"] == "high"
    assert parsed(message(kind=MessageKind.UPDATE))["Importance"] is None


def test_words_of_any_language_arrive_as_they_were() -> None:
    mail = parsed(message(subject="Größe 数据库 ✓", body="Zeile eins\nстрока два"))
    assert mail["Subject"] == "Größe 数据库 ✓"
    assert mail.get_content().splitlines()[2:] == ["Zeile eins", "строка два"]


def test_terminal_escapes_in_a_body_arrive_as_text() -> None:
    assert "\\x1b[2J" in parsed(message(body="\x1b[2Jgone")).get_content()


def test_a_huge_body_is_cut_and_says_so() -> None:
    raw = mail_bytes(message(body="x" * 5_000_000), delivery(), sender=SENDER, at=AT)
    assert len(raw) < 300_000
    assert b"too long for a mail" in raw


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com\nRCPT TO:<eve@example.com>",
        "ann@example.com, eve@example.com",
        "<ann@example.com> BODY=8BITMIME",
        "ann",
        "",
        "@example.com",
        "ann@exam ple.com",
        "ann@example.com\x00",
        "a" * 300 + "@example.com",
    ],
)
def test_an_address_that_is_more_than_an_address_is_refused(address: str) -> None:
    with pytest.raises(AddressInvalid):
        mail_bytes(message(), delivery(address=address), sender=SENDER, at=AT)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann <ann+pager@mail.example.com>", "ann+pager@mail.example.com"),
        ("root@localhost", "root@localhost"),
        ("jürgen@bücher.example.com", "jürgen@bücher.example.com"),
    ],
)
def test_ordinary_addresses_are_taken(text: str, address: str) -> None:
    assert plain_address(text) == address


@settings(max_examples=300, deadline=None)
@given(anything, anything, anything)
def test_no_text_from_anywhere_adds_or_breaks_a_header(subject: str, target: str, ids: str) -> None:
    hostile = message(
        subject=subject,
        target=target,
        thread=ids,
        id=MessageId(ids),
        incident_id=IncidentId(target),
        body=subject,
        short=target,
    )
    raw = mail_bytes(hostile, delivery(), sender=SENDER, at=AT)
    assert set(headers_of(raw)) == HEADERS
    assert len(headers_of(raw)) == len(HEADERS)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@settings(max_examples=200, deadline=None)
@given(anything)
def test_any_address_is_refused_or_leaves_the_headers_whole(address: str) -> None:
    try:
        raw = mail_bytes(message(), delivery(address=address), sender=SENDER, at=AT)
    except AddressInvalid:
        return
    assert set(headers_of(raw)) == HEADERS
