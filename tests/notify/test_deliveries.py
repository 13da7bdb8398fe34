from dataclasses import replace
from datetime import timedelta

import pytest

from stanch.model.ids import ChannelName, MessageId, PersonId
from stanch.model.messages import UPDATE_ATTEMPTS_MAX, Handover, MessageKind
from stanch.model.ports.channels import HandoverResult
from stanch.notify.deliveries import (
    attempted,
    ended,
    page_deliveries,
    put_off_until,
    update_deliveries,
)
from stanch.policy.policy import Contact, Person, TerminalChannel, WebhookChannel
from timelines import ANN, BO, MAIL, POLICY, T0

HOOK, SCREEN = ChannelName("hook"), ChannelName("screen")
M1 = MessageId("m1")
SHARED = replace(
    POLICY,
    channels=(
        *POLICY.channels,
        WebhookChannel(name=HOOK, url="http://127.0.0.1/"),
        TerminalChannel(name=SCREEN),
    ),
)


def with_contacts(*contacts: Contact) -> object:
    ann = Person(id=ANN, name="Ann", contacts=contacts)
    return replace(SHARED, people=(ann, SHARED.people[1]))


def reached(deliveries: object) -> list[tuple[str, str, str | None]]:
    return [(d.channel, d.address, d.person) for d in deliveries]  # type: ignore[attr-defined]


def test_a_page_goes_to_every_contact_of_its_person_and_to_every_shared_channel() -> None:
    policy = with_contacts(
        Contact(channel=MAIL, address="ann@example.com"),
        Contact(channel=MAIL, address="ann.pager@example.com"),
    )
    assert reached(page_deliveries(policy, [ANN], message_id=M1)) == [  # type: ignore[arg-type]
        (MAIL, "ann@example.com", ANN),
        (MAIL, "ann.pager@example.com", ANN),
        (HOOK, "", None),
        (SCREEN, "", None),
    ]


def test_a_page_for_several_persons_tells_a_common_address_once() -> None:
    policy = with_contacts(Contact(channel=MAIL, address="bo@example.com"))
    mails = [d for d in page_deliveries(policy, [ANN, BO], message_id=M1) if d.channel == MAIL]  # type: ignore[arg-type]
    assert [d.address for d in mails] == ["bo@example.com"]


def test_every_delivery_has_its_own_id_which_is_the_same_when_asked_again() -> None:
    first = page_deliveries(SHARED, [ANN, BO], message_id=M1)
    assert len({d.id for d in first}) == len(first) == 4
    assert first == page_deliveries(SHARED, [ANN, BO], message_id=M1)
    assert {d.message_id for d in first} == {M1}


def test_a_shared_channel_named_as_a_contact_still_gets_one_message() -> None:
    policy = with_contacts(Contact(channel=SCREEN, address="tty1"))
    screens = [d for d in page_deliveries(policy, [ANN], message_id=M1) if d.channel == SCREEN]  # type: ignore[arg-type]
    assert reached(screens) == [(SCREEN, "", None)]


def test_a_person_or_channel_no_longer_in_the_policy_does_not_stop_the_rest() -> None:
    policy = with_contacts(Contact(channel=ChannelName("gone"), address="x"))
    told = page_deliveries(policy, [ANN, PersonId("left"), BO], message_id=M1)  # type: ignore[arg-type]
    assert [d.channel for d in told] == [MAIL, HOOK, SCREEN]


def test_an_update_spares_whoever_caused_the_news() -> None:
    told = update_deliveries(SHARED, [ANN, BO], message_id=M1, but_not={ANN})
    assert [d.person for d in told] == [BO, None, None]


def result(outcome: Handover, *, retryable: bool = True, after_s: float | None = None) -> object:
    return HandoverResult(outcome=outcome, detail="why", retryable=retryable, retry_after_s=after_s)


[DELIVERY, *_] = page_deliveries(POLICY, [ANN], message_id=M1)


@pytest.mark.parametrize("outcome", [Handover.FAILED, Handover.IN_DOUBT])
def test_an_update_is_given_up_visibly_after_its_last_attempt(outcome: Handover) -> None:
    last = ended(
        DELIVERY,
        result(outcome),  # type: ignore[arg-type]
        attempt=UPDATE_ATTEMPTS_MAX,
        kind=MessageKind.UPDATE,
    )
    assert not last.retryable
    assert last.detail == "why; given up after 10 attempts"


def test_an_update_is_not_given_up_one_attempt_earlier() -> None:
    event = ended(
        DELIVERY,
        result(Handover.FAILED),  # type: ignore[arg-type]
        attempt=UPDATE_ATTEMPTS_MAX - 1,
        kind=MessageKind.UPDATE,
    )
    assert event.retryable
    assert event.detail == "why"


def test_a_page_is_never_given_up_for_having_been_tried_often() -> None:
    event = ended(
        DELIVERY,
        result(Handover.FAILED),  # type: ignore[arg-type]
        attempt=10_000,
        kind=MessageKind.PAGE,
    )
    assert event.retryable


def test_an_update_taken_at_the_last_attempt_is_not_called_given_up() -> None:
    event = ended(
        DELIVERY,
        result(Handover.ACCEPTED),  # type: ignore[arg-type]
        attempt=UPDATE_ATTEMPTS_MAX,
        kind=MessageKind.UPDATE,
    )
    assert event.detail == "why"


def test_what_the_channel_calls_hopeless_stays_so_for_a_page_too() -> None:
    event = ended(
        DELIVERY,
        result(Handover.FAILED, retryable=False),  # type: ignore[arg-type]
        attempt=1,
        kind=MessageKind.PAGE,
    )
    assert not event.retryable


def test_an_attempt_is_written_down_with_its_number() -> None:
    event = attempted(DELIVERY, attempt=3, possible_repeat=True)
    assert (event.id, event.message_id, event.attempt) == (DELIVERY.id, M1, 3)
    assert event.possible_repeat


@pytest.mark.parametrize(
    ("kind", "after_s", "heeded_s"),
    [
        (MessageKind.PAGE, 7.0, 7.0),
        (MessageKind.PAGE, 86_400.0, 60.0),
        (MessageKind.UPDATE, 86_400.0, 3600.0),
        (MessageKind.UPDATE, -5.0, 0.0),
    ],
)
def test_nobody_may_put_a_page_off_for_long(
    kind: MessageKind, after_s: float, heeded_s: float
) -> None:
    put_off = put_off_until(result(Handover.FAILED, after_s=after_s), kind=kind, at=T0)  # type: ignore[arg-type]
    assert put_off == T0 + timedelta(seconds=heeded_s)


def test_without_a_wish_nothing_is_put_off() -> None:
    assert put_off_until(result(Handover.FAILED), kind=MessageKind.PAGE, at=T0) is None  # type: ignore[arg-type]
