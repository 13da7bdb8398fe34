"""Who may post, and who only says so."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from stanch.adapters.channels.secrets import Unreadable
from stanch.adapters.channels.signature import sign
from stanch.policy.signals import SignalFormat, SignalSource
from stanch.service.signals.proof import (
    GRAFANA_TIMESTAMP,
    Proofs,
    known_by_header,
    read_proofs,
    signed,
)

BODY = b'{"a": 1}'
NOW = 1_772_366_400.0
SECRET = Proofs(secret=b"shared")
HEX = hmac.new(b"shared", BODY, hashlib.sha256).hexdigest()


def basic(text: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": "Bearer t0ken"}, True),
        ({"authorization": "bearer  t0ken "}, True),
        ({"authorization": "Bearer t0ke"}, False),
        ({"authorization": "Bearer "}, False),
        ({"authorization": "t0ken"}, False),
        ({"authorization": "Basic t0ken"}, False),
        ({}, False),
    ],
)
def test_a_token_has_to_be_the_one_of_the_file(headers: dict[str, str], expected: bool) -> None:
    assert known_by_header(Proofs(token=b"t0ken"), headers) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (basic("am:pa:ss"), True),
        (basic("am:wrong"), False),
        (basic("other:pa:ss"), False),
        ({"authorization": "Basic !!!"}, False),
        ({"authorization": "Bearer pa:ss"}, False),
        ({}, False),
    ],
)
def test_a_login_has_to_be_name_and_password(headers: dict[str, str], expected: bool) -> None:
    proofs = Proofs(username=b"am", password=b"pa:ss")
    assert known_by_header(proofs, headers) is expected


def is_signed(kind: SignalFormat, headers: dict[str, str], body: bytes = BODY, **more: Any) -> bool:
    source = SignalSource(name="s", format=kind, secret_file="/s", **more)
    low = {name.lower(): value for name, value in headers.items()}
    return signed(source, SECRET, low, body, ats_unix=(NOW, NOW + 10_000))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"v1={HEX}", True),
        (f"v1={'0' * 64},v1={HEX}", True),
        (f"v1={'0' * 64}", False),
        ("", False),
        ("v1=é", False),
    ],
)
def test_pagerduty_signs_the_body_perhaps_with_two_secrets(value: str, expected: bool) -> None:
    assert is_signed("pagerduty", {"X-PagerDuty-Signature": value}) is expected


def test_grafana_signs_the_body_alone_or_with_a_moment() -> None:
    stamped = hmac.new(b"shared", b"%d:" % NOW + BODY, hashlib.sha256).hexdigest()
    name = "X-Grafana-Alerting-Signature"
    assert is_signed("grafana", {name: HEX})
    assert is_signed("grafana", {name: stamped, GRAFANA_TIMESTAMP: f"{NOW:.0f}"})
    # A moment cannot be left out, added, or changed afterwards.
    assert not is_signed("grafana", {name: stamped})
    assert not is_signed("grafana", {name: HEX, GRAFANA_TIMESTAMP: f"{NOW:.0f}"})
    assert not is_signed("grafana", {name: stamped, GRAFANA_TIMESTAMP: f"{NOW + 1:.0f}"})


@pytest.mark.parametrize(("away_s", "expected"), [(0, True), (-290, True), (-600, False)])
def test_a_recorded_post_of_grafana_is_not_taken_again_later(away_s: float, expected: bool) -> None:
    stamp = f"{NOW + away_s:.0f}"
    made = hmac.new(b"shared", stamp.encode() + b":" + BODY, hashlib.sha256).hexdigest()
    headers = {"X-Grafana-Alerting-Signature": made, GRAFANA_TIMESTAMP: stamp}
    assert is_signed("grafana", headers) is expected


def test_the_own_form_is_signed_with_the_moment_of_sending() -> None:
    fresh = sign(b"shared", sent_at_unix=int(NOW), body=BODY)
    old = sign(b"shared", sent_at_unix=int(NOW) - 3600, body=BODY)
    assert is_signed("stanch", {"Stanch-Signature": fresh})
    assert not is_signed("stanch", {"Stanch-Signature": old})
    assert not is_signed("stanch", {"Stanch-Signature": fresh}, body=b"{}")


def test_a_moment_is_fresh_by_either_clock() -> None:
    later = sign(b"shared", sent_at_unix=int(NOW) + 10_000, body=BODY)
    assert is_signed("stanch", {"Stanch-Signature": later})


@pytest.mark.parametrize("value", [HEX, HEX.upper(), f"sha256={HEX}"])
def test_any_other_program_names_its_header(value: str) -> None:
    named = "Sentry-Hook-Signature"
    assert is_signed("json", {named: value}, signature_header=named)
    assert not is_signed("json", {"Other": value}, signature_header=named)


def test_a_source_without_a_secret_needs_no_signature() -> None:
    source = SignalSource(name="s", format="stanch", token_file="/t")
    assert signed(source, Proofs(token=b"t"), {}, BODY, ats_unix=(NOW,))


def test_a_file_that_is_missing_or_empty_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "token").write_text("  t0ken \nmore\n")
    read = SignalSource(name="s", format="stanch", token_file=str(tmp_path / "token"))
    assert read_proofs(read) == Proofs(token=b"t0ken")
    for name in ("empty", "gone"):
        with pytest.raises(Unreadable, match=name):
            read_proofs(SignalSource(name="s", format="stanch", secret_file=str(tmp_path / name)))
