"""The loop of one target on virtual time, with scripted eyes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from samplings import vitals
from stanch.model.errors import ProbeFailed
from stanch.model.host import Volume, VolumeUse
from stanch.model.ids import TargetName
from stanch.model.reach import Reach, ReachState
from stanch.model.samples import Sample
from stanch.model.vitals import Vitals
from stanch.testing.virtual_time import EPOCH, VirtualLoop, run_virtually
from stanch.watch.knocks.run import AT_ONCE_MAX, knocking_beside
from stanch.watch.run import Eyes, TargetWatch

VITALS = vitals()
VOLUME = Volume(
    use=VolumeUse.DATA,
    path="/data",
    mount_point="/data",
    device="/dev/sdb",
    fs_type="ext4",
    total_bytes=100,
    free_bytes=50,
    inodes_total=None,
    inodes_free=None,
    network=False,
    read_only=False,
)


def reach(state: ReachState) -> Reach:
    return Reach(state=state, layers=(), elapsed_ms=1.0)


class Server:
    """What the eyes see; tests change it while the watch looks."""

    def __init__(self) -> None:
        self.state = ReachState.UP
        self.answer_s = 0.001
        self.knocks_answered = True
        self.knock_fates: list[bool] = []
        """Of the next knocks, before the rule above holds again."""
        self.greetings_answered = True
        self.is_open = False
        self.round_trip_s = 0.001
        self.unheard: bool | None = None
        """What the kernels say about an open question; None as on a Unix socket."""
        self.knocks = 0
        self.error = ""
        """What a question is answered with in place of vitals."""
        self.login_takes_s = 0.0
        """For probes beside an open session: a server that greets and lets nobody log in."""
        self.probes = 0
        self.questions = 0
        self.greetings = 0
        self.lost_event = asyncio.Event()
        self.logins_ended = 0
        """So many of the next logins are ended with 57P01."""

    # WatchSession
    async def open(self, deadline_s: float) -> Reach:
        await asyncio.sleep(
            deadline_s if self.state in (ReachState.TIMEOUT, ReachState.HUNG) else 0.002
        )
        if self.logins_ended:
            self.logins_ended -= 1
            return replace(reach(ReachState.SHUTTING_DOWN), sqlstate="57P01")
        self.is_open = self.state is ReachState.UP
        if self.is_open:
            self.lost_event.clear()
        return reach(self.state)

    async def vitals(self, *, timeout_s: float) -> Vitals:
        self.questions += 1
        async with asyncio.timeout(timeout_s) as limit:
            try:
                await asyncio.sleep(self.answer_s)
            except asyncio.CancelledError:
                if limit.expired():
                    self.lose()
                raise
        return VITALS

    async def lost(self) -> datetime:
        await self.lost_event.wait()
        return now()

    async def lost_within(self, wait_s: float) -> datetime | None:
        await asyncio.wait({waiting := asyncio.ensure_future(self.lost())}, timeout=wait_s)
        waiting.cancel()
        return waiting.result() if waiting.done() else None

    async def close(self) -> None:
        self.is_open = False

    def lose(self) -> None:
        self.is_open = False
        self.lost_event.set()

    # other eyes
    async def probe(self, deadline_s: float) -> Reach:
        self.probes += 1
        if self.login_takes_s:
            await asyncio.sleep(min(deadline_s, self.login_takes_s))
            hung = self.login_takes_s >= deadline_s
            return reach(ReachState.HUNG if hung else self.state)
        silent = self.state in (ReachState.TIMEOUT, ReachState.HUNG)
        await asyncio.sleep(deadline_s if silent else 0.002)
        return reach(self.state)

    async def knock(self, deadline_s: float) -> bool:
        self.knocks += 1
        answered = self.knock_fates.pop(0) if self.knock_fates else self.knocks_answered
        await asyncio.sleep(0.001 if answered else deadline_s)
        return answered

    async def greet(self, deadline_s: float) -> bool:
        self.greetings += 1
        answered = self.greetings_answered
        await asyncio.sleep(0.001 if answered else deadline_s)
        return answered


class Silent(Server):
    """As `Server`, but a question that times out fails the way the real session says it."""

    async def vitals(self, *, timeout_s: float) -> Vitals:
        if self.error:
            self.questions += 1
            raise ProbeFailed(self.error)
        try:
            return await super().vitals(timeout_s=timeout_s)
        except TimeoutError as error:
            raise ProbeFailed("no answer") from error


def now() -> datetime:
    return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())


Script = Callable[[Silent, list[Sample]], Awaitable[None]]


async def no_volumes() -> None:
    return None


def watched(
    script: Script,
    *,
    doubts: tuple[str, ...] = (),
    volumes: Callable[[], Awaitable[tuple[Volume, ...] | None]] = no_volumes,
    has_volumes: Callable[[], bool] = lambda: True,
    gives_way: Callable[[], bool] = lambda: False,
    every_s: float = 1.0,
) -> tuple[list[Sample], Silent]:
    """Everything told while the script runs beside the watch."""

    async def main() -> tuple[list[Sample], Silent]:
        server, told = Silent(), list[Sample]()

        async def emit(sample: Sample) -> None:
            told.append(sample)

        async def doubting() -> tuple[str, ...]:
            return doubts

        eyes = Eyes(
            session=server,
            probe=server.probe,
            knock=server.knock,
            greet=server.greet,
            volumes=volumes,
            has_volumes=has_volumes,
            doubts=doubting,
            now=now,
            gives_way=gives_way,
        )
        watch = TargetWatch(TargetName("orders"), eyes, emit, every_s=every_s)
        running = asyncio.create_task(watch.run())
        await script(server, told)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return told, server

    return run_virtually(main())[0]


def seconds(sample: Sample) -> float:
    return (sample.at - EPOCH).total_seconds()


def verdicts(told: list[Sample]) -> list[tuple[ReachState, float]]:
    """Confirmed states and when they were told, in seconds."""
    return [
        (s.reach.state, (s.at - EPOCH).total_seconds())
        for s in told
        if s.reach is not None and s.confirmed and not s.reach.answers
    ]


def test_a_healthy_server_is_asked_once_a_second() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(10.5)

    told, server = watched(script)
    assert 10 <= server.questions <= 12
    assert verdicts(told) == []


async def ten_seconds(server: Silent, told: list[Sample]) -> None:
    await asyncio.sleep(10.5)


def gaps_s(told: list[Sample]) -> list[float]:
    return [seconds(late) - seconds(early) for early, late in pairwise(told)]


def test_a_healthy_server_that_gives_way_is_passed_over_every_other_time() -> None:
    told, server = watched(ten_seconds, gives_way=lambda: True)
    assert 5 <= server.questions <= 6
    assert max(gaps_s(told)) <= 2.1


def test_who_is_looked_at_more_seldom_is_never_passed_over() -> None:
    told, _ = watched(ten_seconds, gives_way=lambda: True, every_s=2.0)
    assert max(gaps_s(told)) <= 2.1


def test_a_server_whose_questions_fail_gives_no_way() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.error = "out of memory"
        await asyncio.sleep(5.5)

    _, server = watched(script, gives_way=lambda: True)
    assert server.questions >= 5


def test_a_session_lost_while_a_look_is_left_out_is_told_at_once() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(1.3)
        server.state = ReachState.REFUSED
        server.lose()
        await asyncio.sleep(1)

    told, _ = watched(script, gives_way=lambda: True)
    _, at_s = verdicts(told)[0]
    assert at_s < 1.5


def test_a_lost_session_and_a_refusal_are_told_at_once_and_confirmed() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.3)
        server.state = ReachState.REFUSED
        server.lose()
        await asyncio.sleep(1)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.REFUSED
    assert at_s - 5.3 < 0.05


def test_an_ended_sentinel_on_a_living_server_is_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.3)
        server.lose()
        await asyncio.sleep(5)

    told, server = watched(script)
    assert verdicts(told) == []
    assert server.questions > 8


async def stopped_for(seconds: float) -> None:
    """This process is stopped and continued."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.jump(seconds)


@pytest.mark.parametrize(("logins_ended", "down"), [(1, False), (2, True)])
def test_who_ends_sessions_may_end_the_next_login_too_and_who_leaves_ends_them_all(
    logins_ended: int, down: bool
) -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.3)
        server.logins_ended = logins_ended
        server.lose()
        await asyncio.sleep(5)

    told, _ = watched(script)
    assert [state for state, _ in verdicts(told)] == [ReachState.SHUTTING_DOWN] * down


def test_after_a_stop_of_our_own_nobody_is_asked_what_became_of_an_answer() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(2.2)
        asked, server.answer_s = server.questions, 3.4
        while server.questions == asked:
            await asyncio.sleep(0.01)
        await stopped_for(3)
        # The answer has its turn only after others.
        await asyncio.sleep(0.5)
        server.answer_s = 0.001
        assert server.knocks == 0
        await asyncio.sleep(5)

    told, _ = watched(script)
    assert verdicts(told) == []


def test_a_black_hole_is_a_verdict_within_three_seconds() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state, server.answer_s, server.knocks_answered = ReachState.TIMEOUT, 1e9, False
        await asyncio.sleep(6)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.TIMEOUT
    assert at_s - 5.01 <= 1.0 + 2.5
    assert not any(s.doubted for s in told)


def test_a_black_hole_is_suspected_a_second_before_it_is_a_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state, server.answer_s, server.knocks_answered = ReachState.TIMEOUT, 1e9, False
        await asyncio.sleep(6)

    told, _ = watched(script)
    first = next(s for s in told if s.reach is not None and s.reach.state is ReachState.TIMEOUT)
    _, verdict_s = verdicts(told)[0]
    assert not first.confirmed
    assert verdict_s - (first.at - EPOCH).total_seconds() >= 1.0


# --- what the kernels say about an open question ---


def fall_silent(server: Silent, *, unheard: bool | None) -> None:
    server.state, server.answer_s, server.knocks_answered = ReachState.TIMEOUT, 1e9, False
    server.unheard = unheard


def test_a_black_hole_that_confirms_nothing_is_a_verdict_sooner_and_suspected_in_time() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        fall_silent(server, unheard=True)
        await asyncio.sleep(6)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    first = next(s for s in told if s.reach is not None and s.reach.state is ReachState.TIMEOUT)
    assert state is ReachState.TIMEOUT
    assert at_s - 5.01 <= 1.0 + 1.75
    assert not first.confirmed
    assert at_s - seconds(first) >= 1.05


def test_silence_after_a_confirmation_is_borne_longer() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        fall_silent(server, unheard=True)
        # A retransmission of the question came through, and nothing else.
        await asyncio.sleep(1.8)
        server.unheard = False
        await asyncio.sleep(6)

    told, _ = watched(script)
    assert verdicts(told)[0][1] >= 6.0 + 2.2


def test_a_way_that_is_silent_for_a_second_and_a_half_is_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        for _ in range(5):
            await asyncio.sleep(3.0)
            server.unheard, server.answer_s, server.knocks_answered = True, 1.5, False
            await asyncio.sleep(1.5)
            server.unheard, server.answer_s, server.knocks_answered = None, 0.001, True

    told, _ = watched(script)
    assert verdicts(told) == []


@pytest.mark.parametrize("unheard", [None, False])
def test_a_server_that_thinks_for_half_a_second_is_not_knocked_at(unheard: bool | None) -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.answer_s, server.unheard = 0.5, unheard
        await asyncio.sleep(20)

    _, server = watched(script)
    assert server.questions > 10
    assert server.knocks == 0


def test_a_lost_question_is_knocked_for_until_one_knock_is_answered() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.answer_s, server.unheard = 0.5, True
        await asyncio.sleep(20)

    told, server = watched(script)
    assert verdicts(told) == []
    assert server.questions - 1 <= server.knocks <= server.questions


def test_a_slow_answer_of_a_living_server_is_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.answer_s = 3.5
        await asyncio.sleep(30)

    told, _ = watched(script)
    assert verdicts(told) == []
    assert told[-1].vitals is not None


def test_silence_is_not_believed_while_our_own_eyes_are_in_doubt() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(2)
        server.state, server.answer_s, server.knocks_answered = ReachState.TIMEOUT, 1e9, False
        await asyncio.sleep(20)

    told, _ = watched(script, doubts=("our own loop was late by 300 ms",))
    assert verdicts(told) == []
    in_doubt = [s for s in told if s.doubts]
    # First a suspicion, then what would be a verdict but for the doubts, again and again.
    assert not in_doubt[0].doubted
    assert sum(s.doubted for s in in_doubt) > 3


def test_a_server_that_lets_nobody_new_in_is_a_verdict_within_five_seconds() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state, server.greetings_answered = ReachState.HUNG, False
        await asyncio.sleep(6)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.HUNG
    assert at_s - 5.01 <= 5.0
    assert not told[-1].lets_in


def test_a_question_that_is_never_answered_is_told_before_its_session_is_given_up() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        # Greeted at once all the time, so that only the question can tell.
        server.state, server.answer_s = ReachState.HUNG, 1e9
        await asyncio.sleep(8)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.HUNG
    assert at_s - 5.01 <= 1.0 + 4.2 + 0.2


def test_one_unanswered_greeting_is_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        for _ in range(10):
            server.greetings_answered = False
            await asyncio.sleep(1.2)
            server.greetings_answered = True
            await asyncio.sleep(1.3)

    told, _ = watched(script)
    assert verdicts(told) == []
    assert all(s.lets_in for s in told)


def test_a_down_server_is_probed_with_growing_waits_and_seen_when_it_is_back() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(2.5)
        server.state = ReachState.REFUSED
        server.lose()
        await asyncio.sleep(30)
        server.state = ReachState.UP
        await asyncio.sleep(3)

    told, _ = watched(script)
    probes = [s for s in told if s.reach is not None and s.reach.state is ReachState.REFUSED]
    assert 25 < len(probes) < 45
    assert told[-1].vitals is not None


def test_a_server_that_refuses_us_is_looked_at_each_second_and_its_end_is_told() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.state = ReachState.AUTH_FAILED
        await asyncio.sleep(300.5)
        # The session knows that it may not try the credentials yet, and looks without them.
        server.state = ReachState.REFUSED
        await asyncio.sleep(5)

    told, _ = watched(script)
    refused = [s for s in told if s.reach is not None and s.reach.state is ReachState.AUTH_FAILED]
    assert 290 < len(refused) < 310
    _, at_s = next(v for v in verdicts(told) if v[0] is ReachState.REFUSED)
    assert at_s - 300.5 < 2.5


# --- an open session that cannot be read ---


def test_questions_that_fail_while_no_login_ends_are_a_server_down() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.error, server.login_takes_s = "ERROR 55P03: lock timeout", 1e9
        await asyncio.sleep(40)

    told, server = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.HUNG
    assert at_s - 5.01 <= 8.0
    assert not told[-1].lets_in
    assert seconds(told[-1]) > 44, "it goes on telling"
    assert server.probes <= 12, "each of them may leave a process at the server"


def test_questions_that_fail_on_a_server_that_lets_us_in_are_told_as_unread_and_not_as_down() -> (
    None
):
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.error = "ERROR 42501: permission denied\x1b[31m"
        await asyncio.sleep(60)

    told, server = watched(script)
    unread = [s for s in told if s.unread]
    assert verdicts(told) == []
    assert len(unread) > 50
    assert "42501" in unread[0].unread
    assert unread[0].unread.isprintable()
    assert unread[0].lost_at is not None
    assert (unread[0].lost_at - EPOCH).total_seconds() < 7.1
    assert server.probes < 10


def test_one_failed_question_or_two_are_no_news() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        for _ in range(10):
            await asyncio.sleep(2.2)
            server.error = "ERROR 57014: canceling statement due to statement timeout"
            await asyncio.sleep(1.9)
            server.error = ""

    told, _ = watched(script)
    assert verdicts(told) == []
    assert not any(s.unread for s in told)


def test_readings_that_come_again_end_it_as_soon_as_a_login_does_too() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.error, server.login_takes_s = "ERROR 55P03: lock timeout", 1e9
        await asyncio.sleep(120)
        server.error, server.login_takes_s = "", 0.0
        await asyncio.sleep(8)

    told, _ = watched(script)
    assert verdicts(told)
    assert told[-1].vitals is not None
    assert told[-1].lets_in


# --- a server that greets and lets nobody log in ---


def test_a_server_that_greets_but_ends_no_login_is_a_verdict_within_twenty_seconds() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.login_takes_s = 1e9
        await asyncio.sleep(40)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.HUNG
    assert at_s - 5.01 <= 20.0
    assert not told[-1].lets_in
    assert told[-1].vitals is not None


def test_a_smart_shutdown_is_told_and_not_held_up_by_the_session_of_the_watch() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state = ReachState.SHUTTING_DOWN  # Open sessions are served as before.
        await asyncio.sleep(12)
        assert not server.is_open

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.SHUTTING_DOWN
    assert at_s - 5.01 <= 11.0
    assert told[-1].vitals is None


def test_a_login_that_hangs_once_is_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        for _ in range(8):
            before = server.probes
            server.login_takes_s = 1e9
            while server.probes == before:
                await asyncio.sleep(0.1)
            await asyncio.sleep(1.0)
            server.login_takes_s = 0.0
            await asyncio.sleep(5)

    told, _ = watched(script)
    assert verdicts(told) == []
    assert all(s.lets_in for s in told)


def test_logins_that_take_long_on_a_way_that_loses_packets_are_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.login_takes_s = 1e9
        for _ in range(600):
            # Every tenth greeting goes unanswered at first: so it is the way, not the server.
            server.greetings_answered = server.greetings % 10 != 9
            await asyncio.sleep(0.1)

    told, _ = watched(script)
    assert verdicts(told) == []


def test_a_watch_whose_credentials_are_refused_later_does_not_go_on_trying_them() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(1)
        server.state = ReachState.AUTH_FAILED
        await asyncio.sleep(300)

    told, server = watched(script)
    assert server.probes <= 6
    assert told[-1].vitals is not None
    assert told[-1].refusal is not None


def test_a_login_that_is_refused_beside_the_session_is_told_until_one_is_let_in() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5)
        assert {s.refusal for s in told} == {None}
        server.state = ReachState.NO_SUCH_DATABASE
        await asyncio.sleep(15)
        assert [s.refusal and s.refusal.state for s in told[-3:]] == [server.state] * 3
        server.state = ReachState.UP
        await asyncio.sleep(12)

    told, _ = watched(script)
    assert told[-1].refusal is None


# --- silences that this machine tells in no time ---


@pytest.mark.parametrize("state", [ReachState.DNS_FAILURE, ReachState.UNREACHABLE])
def test_local_errors_that_come_at_once_must_last_to_be_a_verdict(state: ReachState) -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state = state
        server.lose()
        await asyncio.sleep(6)

    told, _ = watched(script)
    first_state, at_s = verdicts(told)[0]
    assert first_state is state
    assert 2.2 <= at_s - 5.01 <= 2.6


def test_a_moment_without_names_or_ways_is_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        for state in (ReachState.DNS_FAILURE, ReachState.UNREACHABLE):
            server.state = state
            server.lose()
            await asyncio.sleep(1.9)
            server.state = ReachState.UP
            await asyncio.sleep(5)

    told, _ = watched(script)
    assert verdicts(told) == []
    assert told[-1].vitals is not None


def test_kinds_of_silence_agree_with_each_other() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state = ReachState.DNS_FAILURE
        server.lose()
        await asyncio.sleep(1.5)
        server.state = ReachState.UNREACHABLE
        await asyncio.sleep(2)

    told, _ = watched(script)
    assert verdicts(told)[0][1] - 5.01 <= 2.6


async def logins_lost(server: Silent, seconds: float, *, knocks_answered: bool) -> None:
    """The session ends, and every login from here on meets nobody."""
    await asyncio.sleep(5.3)
    server.state, server.knocks_answered = ReachState.TIMEOUT, knocks_answered
    server.knocks = 0
    server.lose()
    await asyncio.sleep(seconds)


def test_logins_lost_on_a_way_that_answers_knocks_are_no_verdict() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await logins_lost(server, 9, knocks_answered=True)
        server.state = ReachState.UP
        await asyncio.sleep(5)

    told, _ = watched(script)
    assert verdicts(told) == []


def test_logins_lost_where_one_knock_is_answered_and_one_is_not_are_knocked_at_no_more() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        server.knock_fates = [True, False] * 9
        await logins_lost(server, 9, knocks_answered=True)
        assert server.knocks <= 5 * 6, "a login of two seconds has room for nine"

    told, _ = watched(script)
    assert verdicts(told) == []


@pytest.mark.parametrize("lossy", [True, False])
def test_knocks_lost_beside_logins_that_stall_are_a_bad_way_and_no_hung_server(lossy: bool) -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.3)
        server.state, server.knock_fates = ReachState.HUNG, [True, False] * 9 * lossy
        server.lose()
        await asyncio.sleep(7)
        server.state = ReachState.UP
        await asyncio.sleep(5)

    told, _ = watched(script)
    assert {state for state, _ in verdicts(told)} == (set() if lossy else {ReachState.HUNG})


def test_knocks_lost_beside_an_unanswered_question_are_a_bad_way_and_no_hung_server() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state, server.answer_s = ReachState.HUNG, 4.5
        server.knock_fates = [True, False, False, False, True] * 9
        await asyncio.sleep(6)

    told, _ = watched(script)
    assert verdicts(told) == []


def test_a_hung_server_whose_queue_is_full_by_now_is_told_in_time() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5.01)
        server.state, server.answer_s = ReachState.HUNG, 1e9
        server.knocks_answered, server.knock_fates = False, [True]
        await asyncio.sleep(6)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.HUNG
    assert at_s - 5.01 <= 1.0 + 4.5


def test_of_very_many_silent_logins_only_some_have_knocks_beside_them() -> None:
    knocking = Counter[int]()

    async def login() -> Reach:
        await asyncio.sleep(2)
        return reach(ReachState.TIMEOUT)

    async def one(number: int) -> None:
        async def knock(deadline_s: float) -> bool:
            knocking[number] += 1
            await asyncio.sleep(deadline_s)
            return False

        await knocking_beside(login(), knock)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(n) for n in range(AT_ONCE_MAX + 200)))
        assert len(knocking) == AT_ONCE_MAX
        await one(-1)
        assert knocking[-1] > 5, "there is room again"

    run_virtually(all_of_them())


def test_logins_lost_again_and_again_are_told_whatever_knocks_say() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await logins_lost(server, 25, knocks_answered=True)

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.TIMEOUT
    assert 16 < at_s - 5.3 < 22


def test_two_lost_logins_and_no_answered_knock_are_a_verdict_and_nobody_knocks_any_more() -> None:
    async def script(server: Silent, told: list[Sample]) -> None:
        await logins_lost(server, 6, knocks_answered=False)
        knocks = server.knocks
        await asyncio.sleep(10)
        assert server.knocks - knocks <= 1

    told, _ = watched(script)
    state, at_s = verdicts(told)[0]
    assert state is ReachState.TIMEOUT
    assert at_s - 5.3 < 4.2


def test_a_file_system_that_hangs_is_asked_once_and_holds_no_sample_back() -> None:
    asked: list[float] = []

    async def hanging() -> None:
        asked.append(asyncio.get_running_loop().time())
        await asyncio.Event().wait()

    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(60)
        server.state = ReachState.REFUSED
        server.lose()
        await asyncio.sleep(1)

    told, _ = watched(script, volumes=hanging)
    assert len(asked) == 1
    assert len([s for s in told if s.vitals is not None]) >= 59
    assert verdicts(told)[0] == (ReachState.REFUSED, pytest.approx(60, abs=0.1))


def test_what_a_slow_file_system_says_is_told_with_a_later_sample() -> None:
    answers = iter([2.0, 0.01])

    async def slow() -> tuple[Volume, ...]:
        await asyncio.sleep(next(answers, 0.01))
        return (VOLUME,)

    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(5)

    told, _ = watched(script, volumes=slow)
    first = next(sample for sample in told if sample.volumes)
    assert 2 <= seconds(first) <= 3.5


def test_volumes_are_asked_for_only_while_there_may_be_any() -> None:
    asked: list[float] = []
    here: list[bool] = []

    async def look() -> None:
        asked.append(asyncio.get_running_loop().time())

    async def script(server: Silent, told: list[Sample]) -> None:
        await asyncio.sleep(10.0)
        here.append(True)
        await asyncio.sleep(10.0)

    watched(script, volumes=look, has_volumes=lambda: bool(here))
    assert 10.0 <= min(asked) <= 11.5
