"""What is told of a certificate that was seen, and of one that was not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stanch.model.certificates import CertificateSeen
from stanch.model.diagnosis import Missing
from stanch.watch.reachability.certificates import certificate_readings

AT = datetime(2026, 11, 21, tzinfo=UTC)
NAMES = ["tls_days_left", "tls_chain_ok", "tls_name_ok"]


def test_days_chain_and_name_are_told_of_whoever_shows_it() -> None:
    ends = AT + timedelta(days=13, hours=12)
    seen = CertificateSeen(ends=ends, chain_ok=False, name_ok=True, detail="self-signed")
    told = certificate_readings(seen, subject="shop", at=AT)
    assert {r.subject for r in told} == {"shop"}
    assert [(r.name, r.value) for r in told] == list(zip(NAMES, [13.5, 0.0, 1.0], strict=True))
    assert told[1].detail == "self-signed"


def test_one_that_could_not_be_seen_is_neither_good_nor_bad() -> None:
    told = certificate_readings(Missing(what="certificate", reason="late"), subject="", at=AT)
    assert [(r.name, r.value) for r in told] == [(name, None) for name in NAMES]


def test_where_nothing_is_encrypted_nothing_is_told() -> None:
    assert certificate_readings(None, subject="", at=AT) == ()
