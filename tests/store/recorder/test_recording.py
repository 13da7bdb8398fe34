"""A recording survives the end of its writer at any byte, holds its minutes, and never grows."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stanch.model.errors import StoreUnsuitable
from stanch.model.ids import TargetName
from stanch.model.reach import Layer, Reach, ReachState
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.vitals import (
    ServerSettings,
    SessionGroup,
    SessionVitals,
    Vitals,
    WorkCounters,
)
from stanch.store.recorder.columns import OTHERS_MAX
from stanch.store.recorder.frozen import packed, read_frozen
from stanch.store.recorder.layout import (
    FILE_BYTES,
    HEADER_BYTES,
    SEGMENT_BYTES,
    SEGMENT_HEAD_BYTES,
    put_number,
    read_segment,
    records,
    take_number,
)
from stanch.store.recorder.reading import parse_recording, read_recording
from stanch.store.recorder.recorder import WAITING_MAX, Recorder, Recorders, recording_path
from stanch.store.recorder.ring import Ring
from stanch.store.recorder.tape import Tape

START = datetime(2026, 3, 1, 3, tzinfo=UTC)
LIFE = START - timedelta(days=1)


def vitals(n: int, *, groups: tuple[SessionGroup, ...] = ()) -> Vitals:
    sessions = SessionVitals(
        client_backends=20 + n % 7,
        active=n % 5,
        active_without_wait=n % 3,
        waiting_on_lock=n % 2,
        oldest_xact_age_s=n * 1.5,
        by_state=(("idle in transaction", 2), ("idle", 9), ("idle in transaction (aborted)", 1)),
        groups=groups,
    )
    return Vitals(
        at=START,
        postmaster_start=LIFE,
        version_num=150004,
        in_recovery=False,
        transaction_read_only=True,
        sees_sessions=True,
        settings=ServerSettings(max_connections=100, superuser_reserved_connections=3),
        backends=21 + n % 7,
        sessions=sessions,
        work=WorkCounters(
            commits=1_000_000 + n * 137,
            rollbacks=n,
            deadlocks=0,
            temp_files=0,
            temp_bytes=0,
            rows_updated=10**9 + n * 91,
            rows_deleted=n * 7,
            sessions=n * 3,
        ),
        wal_position_bytes=10**12 + n * 1_234_567,
    )


def look(n: int, *readings: Reading, **more: object) -> Sample:
    at = START + timedelta(seconds=n)
    told = vitals(n)
    sample = Sample(target=TargetName("orders"), at=at, vitals=told, readings=readings)
    return replace(sample, **more)  # type: ignore[arg-type]


def down(n: float, state: ReachState = ReachState.REFUSED) -> Sample:
    at = START + timedelta(seconds=n)
    layers = (Layer(name="tcp", ok=False, ms=1.0, detail="connection refused"),)
    reach = Reach(state=state, layers=layers, elapsed_ms=1.0, at=at)
    return Sample(target=TargetName("orders"), at=at, reach=reach, confirmed=True)


def tape(path: Path) -> Tape:
    return Tape(path, "orders", at_ms=0, began="process 1 records")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.ring"


# --- what is in it ------------------------------------------------------------------------------


def test_every_look_comes_back_with_its_values(path: Path) -> None:
    one = tape(path)
    for n in range(100):
        one.take(look(n))
    frames = read_recording(path).frames
    assert [frame.at for frame in frames] == [START + timedelta(seconds=n) for n in range(100)]
    for n, frame in enumerate(frames):
        assert frame.values["client_backends", ""] == 20 + n % 7
        assert frame.values["oldest_xact_age_s", ""] == n * 1.5
        assert frame.values["wal_bytes_total", ""] == 10**12 + n * 1_234_567
        assert frame.values["rows_deleted_total", ""] == n * 7
        assert frame.values["sessions_total", ""] == n * 3
        assert frame.values["idle_in_transaction_sessions", ""] == 3
        assert ("replay_lag_bytes_max", "") not in frame.values


def test_a_target_that_is_gone_has_no_values_rather_than_its_last_ones(path: Path) -> None:
    one = tape(path)
    one.take(look(0))
    one.take(down(1))
    one.take(look(2))
    recording = read_recording(path)
    assert [len(frame.values) > 0 for frame in recording.frames] == [True, False, True]
    states = [said.value["state"] for said in recording.states]  # type: ignore[index]
    assert states == ["up", "refused", "up"]


def test_a_reading_that_is_not_told_any_more_is_gone_and_one_not_asked_stays(path: Path) -> None:
    one = tape(path)
    slots = [Reading(name="slot_retained_bytes", subject=s, value=5.0) for s in ("a", "b")]
    one.take(look(0, *slots, Reading(name="pool_usage_pct", subject="web", value=12.5)))
    one.take(look(10, slots[0]))
    before, after = (frame.values for frame in read_recording(path).frames)
    assert before["slot_retained_bytes", "b"] == 5
    assert ("slot_retained_bytes", "b") not in after
    assert after["slot_retained_bytes", "a"] == 5
    assert after["pool_usage_pct", "web"] == 12.5


def test_what_is_no_number_is_missing(path: Path) -> None:
    one = tape(path)
    values = (None, float("nan"), float("inf"), 1e300, -1e300)
    one.take(look(0, *(Reading(name="x", subject=str(v), value=v) for v in values)))
    [frame] = read_recording(path).frames
    assert [key for key in frame.values if key[0] == "x"] == []


def test_probes_that_follow_quickly_are_one_look_and_a_change_of_state_is_always_told(
    path: Path,
) -> None:
    one = tape(path)
    for n in range(20):
        one.take(down(n * 0.05))
    assert len(read_recording(path).frames) == 2
    one.take(down(0.97, ReachState.STARTING_UP))
    states = [said.value["state"] for said in read_recording(path).states]  # type: ignore[index]
    assert states == ["refused", "starting_up"]


def test_a_clock_that_was_set_back_does_not_stop_the_recording(path: Path) -> None:
    one = tape(path)
    one.take(look(1000))
    one.take(look(3))
    assert [frame.at for frame in read_recording(path).frames][-1] == START + timedelta(seconds=3)


@pytest.mark.parametrize("text", ["\x00\x1b[2J", "<script>", "é" * 63, "x" * 100_000, "\ud800"])
def test_other_peoples_words_are_kept_as_words(path: Path, text: str) -> None:
    group = SessionGroup(
        application_name=text, usename=text, datname=text, state="idle", sessions=3
    )
    one = tape(path)
    reading = Reading(name="volume_free_pct", subject=text, value=4.0)
    one.take(look(0, reading, vitals=vitals(0, groups=(group,))))
    recording = read_recording(path)
    [said] = recording.activity
    assert said.value[0][0] == text[:32]  # type: ignore[index]
    assert recording.frames[0].values["volume_free_pct", text[:48]] == 4


# --- how much of it -----------------------------------------------------------------------------


def hostile(n: int, subjects: list[str], chance: random.Random) -> Sample:
    def word() -> str:
        return "".join(chance.choices(string.printable, k=63))

    groups = tuple(
        SessionGroup(
            application_name=word(), usename=word(), datname=word(), state="active", sessions=k
        )
        for k in range(20)
    )
    readings = tuple(
        Reading(name=f"reading_{k % 8}_pct", subject=subject, value=chance.random() * 100)
        for k, subject in enumerate(subjects)
    )
    return look(n, *readings, vitals=vitals(n, groups=groups))


def test_fifteen_minutes_fit_whatever_the_names_and_the_file_never_grows(path: Path) -> None:
    chance = random.Random(3)
    subjects = ["".join(chance.choices(string.printable, k=60)) for _ in range(OTHERS_MAX)]
    one = tape(path)
    for n in range(1600):
        one.take(hostile(n, subjects, chance))
    frames = read_recording(path).frames
    assert (frames[-1].at - frames[0].at).total_seconds() >= 900
    assert len(frames) >= 900
    assert path.stat().st_size == FILE_BYTES == 512 * 1024


def test_readings_beyond_the_bound_are_left_out_and_those_before_stay(path: Path) -> None:
    readings = tuple(Reading(name="x", subject=str(k), value=k) for k in range(OTHERS_MAX + 50))
    one = tape(path)
    one.take(look(0, *readings))
    [frame] = read_recording(path).frames
    assert sum(name == "x" for name, _ in frame.values) == OTHERS_MAX


def test_the_file_is_taken_whole_at_once(path: Path) -> None:
    tape(path)
    assert path.stat().st_blocks * 512 >= FILE_BYTES
    assert path.stat().st_mode & 0o777 == 0o600


# --- damage -------------------------------------------------------------------------------------


def recorded(path: Path, looks: int = 400) -> bytes:
    one = tape(path)
    for n in range(looks):
        one.take(look(n))
    return path.read_bytes()


def ends(raw: bytes) -> Iterator[int]:
    """Where each record of the first segment ends, in the file."""
    at = HEADER_BYTES + SEGMENT_BYTES
    head = read_segment(raw[at : at + SEGMENT_BYTES])
    assert head is not None
    for record in records(raw[at : at + SEGMENT_BYTES], head.number):
        yield at + record.end


def test_a_file_cut_anywhere_still_tells_all_that_lies_before_the_cut(path: Path) -> None:
    raw = recorded(path, 60)
    whole = parse_recording(raw, on="x").frames
    boundaries = list(ends(raw))
    last = 0
    for cut in sorted({*boundaries, *(b - 1 for b in boundaries), *(b + 3 for b in boundaries)}):
        frames = parse_recording(raw[:cut], on="x").frames
        assert frames == whole[: len(frames)]
        assert len(frames) >= last
        last = len(frames)
    assert last == len(whole) == 60


def test_any_damaged_byte_costs_at_most_what_follows_it_up_to_the_next_full_record(
    path: Path,
) -> None:
    raw = recorded(path, 200)
    whole = {frame.at: frame for frame in parse_recording(raw, on="x").frames}
    begin = HEADER_BYTES + SEGMENT_BYTES + SEGMENT_HEAD_BYTES
    _names, *rest = ends(raw)
    for at in range(_names, rest[-1], 61):
        damaged = bytearray(raw)
        damaged[at] ^= 0x55
        frames = parse_recording(bytes(damaged), on="x").frames
        assert all(whole[frame.at] == frame for frame in frames)
        assert len(frames) >= len(whole) - 31
    assert begin < rest[-1]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, FILE_BYTES - 1), st.binary(min_size=1, max_size=300)), max_size=6
    )
)
@example([(HEADER_BYTES + SEGMENT_BYTES + SEGMENT_HEAD_BYTES, bytes(4))])
def test_whatever_is_in_the_file_nothing_false_is_read_and_nothing_is_raised(
    recorded_bytes: bytes, spots: list[tuple[int, bytes]]
) -> None:
    damaged = bytearray(recorded_bytes)
    for at, content in spots:
        damaged[at : at + len(content)] = content[: FILE_BYTES - at]
    whole = {frame.at: frame for frame in parse_recording(recorded_bytes, on="x").frames}
    try:
        found = parse_recording(bytes(damaged), on="x")
    except StoreUnsuitable:
        assert damaged[:HEADER_BYTES] != recorded_bytes[:HEADER_BYTES]
        return
    assert all(whole[frame.at] == frame for frame in found.frames)


@pytest.fixture(scope="module")
def recorded_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recorded(tmp_path_factory.mktemp("r") / "orders.ring", 300)


@given(st.binary(max_size=2000))
def test_bytes_that_are_no_recording_are_said_to_be_none(content: bytes) -> None:
    with pytest.raises(StoreUnsuitable, match="no recording"):
        parse_recording(content, on="x")


@given(st.integers(-(2**62), 2**62))
def test_numbers_come_back(number: int) -> None:
    out = bytearray(b"x")
    put_number(out, number)
    assert take_number(bytes(out), 1) == (number, len(out))


# --- going on -----------------------------------------------------------------------------------


def test_a_restart_goes_on_behind_the_last_whole_record(path: Path) -> None:
    raw = recorded(path, 50)
    cut = list(ends(raw))[-1]
    torn = bytearray(raw)
    torn[cut - 5 : cut] = bytes(5)  # the last write did not come to its end
    path.write_bytes(torn)
    again = tape(path)
    for n in range(50, 60):
        again.take(look(n))
    frames = read_recording(path).frames
    assert [frame.at for frame in frames] == [
        START + timedelta(seconds=n) for n in range(60) if n != 49
    ]
    assert frames[-1].values["wal_bytes_total", ""] == 10**12 + 59 * 1_234_567


def test_many_restarts_do_not_push_out_the_minutes_before(path: Path) -> None:
    recorded(path, 30)
    for n in range(30, 130):
        tape(path).take(look(n))
    frames = read_recording(path).frames
    assert len(frames) == 130


def test_after_going_round_the_oldest_are_gone_and_nothing_else(path: Path) -> None:
    one = tape(path)
    subjects = [str(k) * 12 for k in range(120)]
    chance = random.Random(1)
    for n in range(4500):
        one.take(hostile(n, subjects, chance) if n % 3 == 0 else look(n))
    frames = read_recording(path).frames
    moments = [frame.at for frame in frames]
    assert moments[-1] == START + timedelta(seconds=4499)
    assert moments[0] > START
    passed = {after - before for before, after in itertools.pairwise(moments)}
    assert passed == {timedelta(seconds=1)}


def test_a_file_of_another_target_is_not_gone_on_with(path: Path) -> None:
    recorded(path, 30)
    other = Tape(path, "billing", at_ms=0, began="x")
    other.take(look(0))
    recording = read_recording(path)
    assert (recording.target, len(recording.frames)) == ("billing", 1)


def test_a_link_in_the_place_of_the_file_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        Ring(path, "orders", at_ms=0)
    assert victim.read_text() == "precious"


WRITER = """
import sys, itertools
sys.path[:0] = [sys.argv[2]]
from pathlib import Path
from test_recording import look, tape
one = tape(Path(sys.argv[1]))
print("ready", flush=True)
for n in itertools.count():
    one.take(look(n))
"""


def test_what_was_written_survives_a_kill_at_any_moment(path: Path) -> None:
    chance = random.Random(7)
    for _ in range(2):
        path.unlink(missing_ok=True)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        enough = 300 + chance.randrange(300)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if len(read_recording(path).frames) > enough:
                break
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        frames = read_recording(path).frames
        assert len(frames) > enough
        numbers = [round((frame.at - START).total_seconds()) for frame in frames]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert all(
            f.values["commits_total", ""] == 1_000_000 + n * 137
            for n, f in zip(numbers, frames, strict=True)
        )
        again = tape(path)
        again.take(look(numbers[-1] + 1))
        assert len(read_recording(path).frames) >= len(frames)


# --- the thread ---------------------------------------------------------------------------------


def test_recorders_write_each_target_to_its_own_file(tmp_path: Path) -> None:
    recorders = Recorders(tmp_path)
    for name in ("orders", "billing"):
        recorder = recorders.of(name)
        for n in range(5):
            recorder.take(look(n))
    recorders.close()
    for name in ("orders", "billing"):
        assert len(read_recording(recording_path(tmp_path, name)).frames) == 5
    assert recorders.lost == 0


def test_looks_of_a_healthy_target_gather_and_any_other_is_written_at_once(tmp_path: Path) -> None:
    recorders = Recorders(tmp_path, gather_s=3600)
    recorder = recorders.of("orders")
    written = recording_path(tmp_path, "orders")

    def frames() -> int:
        return len(read_recording(written).frames) if written.exists() else 0

    recorder.take(look(0))
    _until(lambda: frames() == 1)
    recorder.take(look(1))
    recorder.take(look(2))
    assert recorder.waiting == 2
    recorder.take(replace(look(3), vitals=None, unread="the answer makes no sense"))
    _until(lambda: frames() == 4)
    recorder.take(look(4))
    recorders.close()
    assert frames() == 5, "closing waits for nothing that gathers"


def _until(so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not so():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_a_disk_that_takes_nothing_is_counted_tried_again_later_and_raises_nowhere(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "recordings"
    blocked.write_text("a file where the folder should be")
    posted: list[Sample] = []
    recorder = Recorder(
        blocked / "orders.ring", "orders", lambda one, sample: posted.append(sample)
    )
    for n in (0, 1):
        recorder.take(look(n))
        recorder.write(posted[-1])
    assert recorder.lost == 2
    blocked.unlink()
    recorder.take(look(59))
    recorder.write(posted[-1])
    assert not recorder.path.exists()
    recorder.take(look(61))
    recorder.write(posted[-1])
    assert len(read_recording(recorder.path).frames) == 1


def test_a_disk_that_hangs_holds_up_nobody_and_what_waits_is_bounded(tmp_path: Path) -> None:
    waiting: list[Sample] = []
    recorder = Recorder(tmp_path / "x.ring", "orders", lambda one, sample: waiting.append(sample))
    for n in range(1000):
        recorder.take(look(n))
    assert len(waiting) == WAITING_MAX
    assert recorder.lost == 1000 - WAITING_MAX


def test_closing_waits_no_longer_than_told(tmp_path: Path) -> None:
    recorders = Recorders(tmp_path)
    held = threading.Event()
    stuck = Recorder(tmp_path / "x.ring", "x", lambda one, sample: None)
    recorders._queue.put((_Stuck(stuck, held), look(0)))  # type: ignore[arg-type]
    began = time.monotonic()
    recorders.close(wait_s=0.1)
    assert time.monotonic() - began < 2
    held.set()


class _Stuck:
    """A recorder whose disk hangs until it is let go."""

    def __init__(self, inner: Recorder, held: threading.Event) -> None:
        self.inner, self._held = inner, held

    def write(self, sample: Sample) -> None:
        self._held.wait(10)


# --- kept ---------------------------------------------------------------------------------------


def test_what_is_kept_with_an_incident_reads_like_the_file(path: Path) -> None:
    recorded(path, 100)
    content = packed(path)
    assert len(content) < 60_000
    assert read_frozen(content, on="x") == read_recording(path)


def test_content_that_is_no_packed_recording_is_said_to_be_none() -> None:
    with pytest.raises(StoreUnsuitable):
        read_frozen(b"anything", on="x")


def test_the_page_states_the_sizes_that_hold() -> None:
    page = (Path(__file__).parents[3] / "docs" / "recorder.md").read_text("utf-8")
    for number in (FILE_BYTES, HEADER_BYTES, SEGMENT_BYTES):
        assert f"{number:,}" in page
    assert json.dumps("STANCHR1").strip('"') in page
