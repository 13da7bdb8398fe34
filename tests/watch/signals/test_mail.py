"""Mails that report something, and the many that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.model.signals import Refused, Signal
from stanch.watch.signals.mail import parse, read_subject

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SENDERS = ("ops@example.com", "@customer.example.com")


def mail(
    subject: str, *, sender: str = "Ops <ops@example.com>", **headers: str
) -> Signal | Refused:
    message = EmailMessage()
    message["From"] = sender
    message["Subject"] = subject
    message["Date"] = "Sun, 01 Mar 2026 11:59:00 +0000"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("The orders page says 500.\n\nPlease help, né?\n")
    header, _, text = message.as_bytes().partition(b"\n\n")
    return parse(header, text, senders=SENDERS, source="mail", received_at=AT)


def report(subject: str, **more: str) -> Signal:
    found = mail(subject, **more)
    assert isinstance(found, Signal), found
    return found


def because(found: Signal | Refused) -> str:
    assert isinstance(found, Refused), found
    return found.because


def test_a_subject_says_how_bad_what_and_whose() -> None:
    signal = report("P0: Database Down - Acme")
    assert (signal.severity, signal.title) == ("P0", "Database Down - Acme")
    assert signal.labels["about"] == "Acme"
    assert signal.reported
    assert signal.starts_at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    assert "The orders page says 500. Please help, né?" in signal.detail


@pytest.mark.parametrize(
    ("subject", "severity", "what", "about"),
    [
        ("P1: Performance Issues - Acme", "P1", "Performance Issues", "Acme"),
        ("[P0] DATA LOSS", "P0", "DATA LOSS", ""),
        (
            "SEV-1: checkout is down - read only - Acme",
            "SEV-1",
            "checkout is down - read only",
            "Acme",
        ),
        ("critical: no logins", "CRITICAL", "no logins", ""),
        ("Re: AW: P0: Database Down - [Acme]", "P0", "Database Down", "Acme"),
        ("p 0 : slow", "P0", "slow", ""),
    ],
)
def test_subjects_as_people_write_them(subject: str, severity: str, what: str, about: str) -> None:
    said = read_subject(subject)
    assert said is not None
    assert (said.severity, said.what, said.about, said.over) == (severity, what, about, False)


@pytest.mark.parametrize(
    "subject",
    ["", "Invoice 2026-03", "P0", "P0:", "P9: x", "Stop: low on coffee", "RE:", "P0 database down"],
)
def test_a_subject_without_a_severity_is_for_people(subject: str) -> None:
    assert read_subject(subject) is None
    assert because(mail(subject)) == "ignored"


def test_a_reply_and_the_end_belong_to_the_same_report() -> None:
    first = report("P0: Database Down - Acme")
    reply = report("Re: P0: Database  down - acme")
    over = report("Resolved: Database Down - Acme")
    assert first.key == reply.key == over.key
    assert (reply.status, over.status) == ("firing", "resolved")


def test_a_stranger_is_not_believed() -> None:
    assert because(mail("P0: x", sender="eve@elsewhere.example.com")) == "unauthorized"
    assert because(mail("P0: x", sender="")) == "unauthorized"


def test_everybody_of_a_named_domain_is_believed_and_nobody_of_one_below_it() -> None:
    assert report("P0: x", sender="Ann <ann@customer.example.com>").labels["from"]
    assert because(mail("P0: x", sender="a@evil.customer.example.com")) == "unauthorized"


def test_two_authors_are_none() -> None:
    two = "ops@example.com, eve@elsewhere.example.com"
    assert because(mail("P0: x", sender=two)) == "unauthorized"


def test_mails_of_stanch_itself_and_automatic_answers_start_nothing() -> None:
    assert because(mail("P0: x", X_Stanch_Incident="20260301-001")) == "ignored"
    assert because(mail("Re: P0: x", Auto_Submitted="auto-replied (vacation)")) == "ignored"
    # Other monitors send by themselves as well; those are what is wanted.
    assert report("P0: x", Auto_Submitted="auto-generated")


def test_an_encoded_subject_is_read() -> None:
    assert report("P0: Datenbank läuft nicht – Müller").labels["about"] == "Müller"


def test_a_mail_in_parts_shows_its_plain_text() -> None:
    message = EmailMessage()
    message["From"], message["Subject"] = "ops@example.com", "P0: x"
    message.set_content("plain words")
    message.add_alternative("<b>loud words</b>", subtype="html")
    header, _, text = message.as_bytes().partition(b"\n\n")
    found = parse(header, text, senders=SENDERS, source="mail", received_at=AT)
    assert isinstance(found, Signal)
    assert found.detail == "ops@example.com writes: plain words"


@settings(max_examples=80)
@given(header=st.binary(max_size=300), text=st.binary(max_size=300))
def test_any_mail_is_read_or_refused(header: bytes, text: bytes) -> None:
    whole = b"From: ops@example.com\r\nSubject: P0: x\r\n" + header
    found = parse(whole, text, senders=SENDERS, source="mail", received_at=AT)
    assert isinstance(found, Signal | Refused)
