import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.channels.signature import sign, verify

SECRET, BODY, SENT = b"secret", b'{"a":1}', 1_700_000_000


def test_what_the_holder_of_the_secret_signed_is_taken() -> None:
    header = sign(SECRET, sent_at_unix=SENT, body=BODY)
    assert verify(header, BODY, secret=SECRET, at_unix=SENT + 299)


@pytest.mark.parametrize(
    ("secret", "body", "at_unix"),
    [
        (b"other", BODY, SENT),
        (SECRET, BODY + b" ", SENT),
        (SECRET, BODY, SENT + 301),
        (SECRET, BODY, SENT - 301),
    ],
    ids=["another secret", "a changed body", "replayed later", "from the future"],
)
def test_anything_else_is_refused(secret: bytes, body: bytes, at_unix: int) -> None:
    header = sign(SECRET, sent_at_unix=SENT, body=BODY)
    assert not verify(header, body, secret=secret, at_unix=at_unix)


def test_a_changed_time_breaks_the_signature() -> None:
    header = sign(SECRET, sent_at_unix=SENT, body=BODY).replace(str(SENT), str(SENT + 1))
    assert not verify(header, BODY, secret=SECRET, at_unix=SENT)


def test_one_fitting_value_is_enough_while_a_secret_is_being_changed() -> None:
    old = sign(b"old", sent_at_unix=SENT, body=BODY)
    both = old + "," + sign(SECRET, sent_at_unix=SENT, body=BODY).split(",")[1] + ",v2=00"
    assert verify(both, BODY, secret=SECRET, at_unix=SENT)
    assert not verify(old, BODY, secret=SECRET, at_unix=SENT)


def test_two_times_in_one_header_are_refused() -> None:
    header = sign(SECRET, sent_at_unix=SENT, body=BODY)
    assert not verify(f"{header},t={SENT}", BODY, secret=SECRET, at_unix=SENT)


@given(st.text())
def test_no_header_from_anywhere_passes_or_breaks_the_check(header: str) -> None:
    assert not verify(header, BODY, secret=SECRET, at_unix=SENT)


@given(st.integers(min_value=0, max_value=10**90))
def test_no_time_however_large_breaks_the_check(sent_at: int) -> None:
    assert not verify(f"t={sent_at},v1=00", BODY, secret=SECRET, at_unix=SENT)
