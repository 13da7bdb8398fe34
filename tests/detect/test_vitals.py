"""What vitals tell only over time, or only by one server about another."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from samplings import T0, vitals
from stanch.detect.vitals import MANY, Lasting
from stanch.model.vitals import SenderVitals, SlotVitals, StandbyVitals, Vitals

MB = 2**20
STUCK_S = 1800


def told(name: str, vitals: Vitals, lasting: Lasting | None = None) -> Mapping[str, float | None]:
    return dict(MANY[name](vitals, lasting or Lasting()) or ())


def at(second: float, *, restart: int, confirmed: int | None, written: int) -> Vitals:
    """A server that has written so many MB, with a slot that stands at these."""
    slot = SlotVitals(
        name="s",
        slot_type="physical" if confirmed is None else "logical",
        active=True,
        retained_bytes=(written - restart) * MB,
        unconfirmed_bytes=None if confirmed is None else (written - confirmed) * MB,
    )
    return vitals(at=T0 + timedelta(seconds=second), slots=(slot,), wal_position_bytes=written * MB)


@pytest.mark.parametrize(
    ("restart_moves", "confirmed_moves", "stuck"),
    [
        (False, None, True),
        (True, None, False),
        (False, False, True),
        (False, True, False),
    ],
)
def test_a_slot_is_stuck_only_if_what_its_consumer_confirms_stands_still(
    restart_moves: bool, confirmed_moves: bool | None, stuck: bool
) -> None:
    lasting, last = Lasting(), None
    for second in range(0, STUCK_S + 1, 60):
        last = at(
            second,
            restart=second if restart_moves else 0,
            confirmed=None if confirmed_moves is None else second if confirmed_moves else 0,
            written=second + 20,
        )
        lasting.note(last)
    assert last is not None
    assert (told("slot_stuck_s", last, lasting)["s"] == STUCK_S) == stuck


def test_what_the_server_knows_about_an_idle_slot_counts_from_the_first_look() -> None:
    left = SlotVitals(
        name="s",
        slot_type="physical",
        active=False,
        retained_bytes=MB,
        inactive_since=T0 - timedelta(hours=2),
    )
    look = vitals(at=T0, slots=(left,), wal_position_bytes=10 * MB)
    lasting = Lasting()
    lasting.note(look)
    assert told("slot_inactive_s", look, lasting) == {"s": 7200}


@pytest.mark.parametrize(
    ("behind_bytes", "lag_s", "late_s"),
    [(0, None, 0.0), (100, 9.0, 0.0), (MB, 40.0, 40.0), (MB, None, None)],
)
def test_a_standby_is_late_only_while_there_is_something_to_replay(
    behind_bytes: int, lag_s: float | None, late_s: float | None
) -> None:
    second = SenderVitals(
        pid=1, application_name="second", replay_lag_bytes=behind_bytes, replay_lag_s=lag_s
    )
    archive = SenderVitals(pid=2, application_name="pg_receivewal", sent_lag_bytes=0)
    look = vitals(sees_sessions=True, senders=(second, archive))
    assert told("replay_lag_s", look) == {"second": late_s}


@pytest.mark.parametrize(
    ("status", "to_replay_bytes", "late_s"),
    [("streaming", 0, 0.0), ("streaming", 100, 3600.0), (None, 0, None), ("streaming", None, None)],
)
def test_a_standby_without_a_receiver_does_not_know_how_late_it_is(
    status: str | None, to_replay_bytes: int | None, late_s: float | None
) -> None:
    standby = StandbyVitals(
        receiver_status=status,
        received_bytes_to_replay=to_replay_bytes,
        last_replayed_xact_age_s=3600.0,
    )
    assert told("replay_lag_s", vitals(sees_sessions=True, standby=standby)) == {"": late_s}
