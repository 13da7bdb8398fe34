"""What the benchmarks measure with must itself be right."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import report
from figures import figure
from receiver import Receiver

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_p99_is_the_largest_of_a_few_readings_and_leaves_one_in_a_hundred_out() -> None:
    assert figure("b", "c", [3.0, 1.0, 2.0], "s").p99 == 3.0
    hundred = figure("b", "c", [*[1.0] * 99, 50.0], "s")
    assert (hundred.p99, hundred.max, hundred.median) == (1.0, 50.0, 1.0)


def line(**changes: Any) -> dict[str, Any]:
    whole = {"bench": "b", "case": "c", "value": 1.0, "unit": "s", "median": 1.0, "p99": 2.0}
    rest = {"max": 2.0, "n": 3, "target": 1.0, "target_p99": 2.0, "peer": "", "ratio": None}
    return {**whole, **rest, "note": "", **changes}


def test_a_figure_on_its_target_is_met_and_one_beyond_it_is_told_as_a_miss() -> None:
    facts = {"at": "2026-03-01 12:00 UTC", "cores": "2", "load before": "0.1"}
    good = report.written([line()], facts, command="x")
    assert "every target was met" in good
    for beyond in ({"median": 1.1}, {"p99": 2.1}):
        text = report.written([line(case="slow", **beyond)], facts, command="x")
        assert "- b slow: median" in text
        assert "every target was met" not in text


def test_a_figure_without_a_target_is_neither_met_nor_missed() -> None:
    assert report.met(line(target=None)) is None


def test_a_busy_machine_and_a_benchmark_that_broke_off_are_told() -> None:
    facts = {"at": "2026-03-01 12:00 UTC", "cores": "2", "load before": "1.6"}
    broken = {"bench": "b", "case": "broken_off", "status": 1}
    text = report.written([broken], facts, command="x")
    assert "Somebody else was at work" in text
    assert "status 1" in text
    quiet = report.written([broken], {**facts, "load before": "1.4"}, command="x")
    assert "Somebody else" not in quiet


def test_the_receiver_hands_over_what_fits_and_nothing_else() -> None:
    with Receiver() as receiver:
        before = time.time()
        httpx.post(receiver.url("/here"), json={"kind": "page"})
        found = receiver.wait_for(lambda a: a.body["kind"] == "page", deadline_s=5)
        assert found is not None
        assert found.path == "/here"
        assert before <= found.at <= time.time()
        assert receiver.wait_for(lambda a: a.body["kind"] == "update", deadline_s=0.05) is None


@contextmanager
def slow_line(delay_ms: int, port: int) -> Iterator[int]:
    command = [sys.executable, str(BENCHMARKS / "slow_line.py"), str(delay_ms), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["ports"][0]
        finally:
            process.terminate()


def test_the_slow_line_brings_every_byte_late_and_in_order() -> None:
    sent = b"".join(b"%06d" % n for n in range(20_000))
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = int(server.getsockname()[1])

        def echo() -> None:
            peer, _ = server.accept()
            with peer:
                while data := peer.recv(65536):
                    peer.sendall(data)

        threading.Thread(target=echo, daemon=True).start()
        with slow_line(50, port) as front, socket.create_connection(("127.0.0.1", front)) as near:
            near.settimeout(20)
            began = time.monotonic()
            threading.Thread(target=lambda: near.sendall(sent), daemon=True).start()
            got = near.recv(1)
            assert time.monotonic() - began >= 0.1
            while len(got) < len(sent):
                got += near.recv(65536)
            assert got == sent


def test_the_slow_line_resets_where_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = int(server.getsockname()[1])
    with slow_line(10, port) as front, socket.create_connection(("127.0.0.1", front)) as near:
        near.settimeout(20)
        with pytest.raises(ConnectionResetError):
            near.recv(1)


def test_what_a_benchmark_logs_on_the_way_is_no_figure_and_costs_none(
    tmp_path: Path,
) -> None:
    program = (
        f"print('2026-11-22 [warning] incident opened')\nprint({json.dumps(json.dumps(line()))})"
    )
    (tmp_path / "append.py").write_text(program)
    lines = report.run("append", quick=False, folder=tmp_path)
    assert [found["case"] for found in lines] == [line()["case"]]
