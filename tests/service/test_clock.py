from datetime import UTC, datetime, timedelta

import pytest

from stanch.service.clock import JUMP_S, MachineBootClock, SteadyClock

T0 = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


class Machine:
    """The two clocks of a machine; setting one leaves the other alone."""

    def __init__(self) -> None:
        self.wall = T0
        self.boot_ns = 5_000_000_000

    def pass_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.boot_ns += int(seconds * 1e9)

    def set_wall(self, by_s: float) -> None:
        self.wall += timedelta(seconds=by_s)

    def clock(self, not_before: datetime | None = None) -> SteadyClock:
        return SteadyClock(
            wall=lambda: self.wall, boot_ns=lambda: self.boot_ns, not_before=not_before
        )


def test_time_passes_as_it_does() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_time(61.5)
    assert clock.now() == T0 + timedelta(seconds=61.5)
    assert clock.jump_s() == 0


@pytest.mark.parametrize("by_s", [86_400.0, -86_400.0, 60.0, -60.0])
def test_setting_the_wall_clock_moves_no_deadline_and_is_told(by_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_time(10)
    machine.set_wall(by_s)
    assert clock.now() == T0 + timedelta(seconds=10)
    assert clock.jump_s() == by_s


@pytest.mark.parametrize("by_s", [JUMP_S, -JUMP_S, 0.5])
def test_what_slewing_does_is_no_jump(by_s: float) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.set_wall(by_s)
    assert clock.jump_s() == 0


def test_time_spent_asleep_counts() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_time(8 * 3600)
    assert clock.now() - T0 == timedelta(hours=8)


def test_a_responder_started_with_its_clock_set_back_goes_on_after_its_newest_entry() -> None:
    machine = Machine()
    newest = T0 + timedelta(hours=1)
    clock = machine.clock(not_before=newest)
    assert clock.now() == newest
    machine.pass_time(5)
    assert clock.now() == newest + timedelta(seconds=5)
    assert clock.jump_s() == -3600


def test_a_newest_entry_in_the_past_changes_nothing() -> None:
    assert Machine().clock(not_before=T0 - timedelta(days=1)).now() == T0


def test_this_machines_boot_has_one_name_and_a_clock_that_goes_on() -> None:
    one, two = MachineBootClock(), MachineBootClock()
    assert one.boot_id == two.boot_id
    assert one.boot_id
    before = one.now_ns()
    assert two.now_ns() >= before
