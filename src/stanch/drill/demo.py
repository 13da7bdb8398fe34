"""`make demo`: breaks a throw-away server, act by act, and shows how Stanch rescues it.

Exit status: 0 when every act that could be played ended as it must; 1 when one was not noticed,
wrongly diagnosed or not rescued; 2 when the demonstration could not be set up; 130 when ended by
Ctrl-C. Everything is taken away again, whichever it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from stanch.adapters.postgres.binaries import Binaries, find_binaries
from stanch.drill.acts.act import Act
from stanch.drill.acts.programme import PROGRAMME
from stanch.drill.judging import Status
from stanch.drill.narrator import Narrator
from stanch.drill.result import Result, as_json
from stanch.drill.scene import ORDERS, RULES, Scene
from stanch.drill.stage import Stage
from stanch.model.errors import StanchError

EXIT_FAILED = 1
EXIT_NOT_SET_UP = 2
EXIT_INTERRUPTED = 130
PIPED_COLUMNS = 100
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play what was asked for; answers the exit status."""
    asked = _parser().parse_args(arguments)
    if asked.list:
        for act in PROGRAMME:
            print(f"{act.name:<12} {act.title}")
        return 0
    acts = tuple(act for act in PROGRAMME if not asked.only or act.name in asked.only)
    console = _console(quiet=asked.json, record=bool(asked.record))
    try:
        with _signals_interrupt():
            return _perform(acts, asked, console)
    except KeyboardInterrupt:
        print("ended before its time; everything was taken away again", file=sys.stderr)
        return EXIT_INTERRUPTED
    except StanchError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return EXIT_NOT_SET_UP


def _perform(acts: Sequence[Act], asked: argparse.Namespace, console: Console) -> int:
    narrator = Narrator(console)
    began = time.monotonic()
    binaries = _binaries(asked.pg_bin)
    cannot = {act.name: act.cannot() for act in acts}
    targets = {ORDERS} | {act.target for act in acts if not cannot[act.name]}
    narrator.setting_up(f"Setting up {len(targets)} PostgreSQL {binaries.version} ...")
    with Scene(binaries, sorted(targets, reverse=True)) as scene, _deaf_while_leaving():
        narrator.opening(_facts(scene, time.monotonic() - began), RULES)
        results = _play(acts, cannot, stage=Stage(scene, narrator), asked=asked, told=narrator)
        narrator.summary(results)
        narrator.closing(_what_is_left(scene, results))
        if asked.record:
            _save_recording(console, asked.record)
        if asked.keep:
            _keep_running(scene, narrator)
    return EXIT_FAILED if any(r.status is Status.FAILED for r in results) else 0


def _play(
    acts: Sequence[Act],
    cannot: dict[str, str],
    *,
    stage: Stage,
    asked: argparse.Namespace,
    told: Narrator,
) -> list[Result]:
    results: list[Result] = []
    for number, act in enumerate(acts, start=1):
        told.act_begins(act, number, len(acts))
        results.append(stage.play(act, cannot[act.name]))
        if asked.json:
            print(json.dumps(as_json(results[-1]), ensure_ascii=False), flush=True)
    return results


def _facts(scene: Scene, took_s: float) -> list[tuple[str, str]]:
    facts = [
        (name, f"PostgreSQL {place.server.binaries.version}, port {place.server.port}, 3 writers")
        for name, place in scene.places.items()
    ]
    return [
        *facts,
        ("stanch run", f"process {scene.responder.pid}, up and watching"),
        ("mails", f"go to 127.0.0.1:{scene.mailbox.port} by SMTP"),
        ("folder", f"{scene.folder}: nothing outside it is touched"),
        ("set up in", f"{took_s:.1f} s"),
    ]


def _what_is_left(scene: Scene, results: Sequence[Result]) -> list[tuple[str, str]]:
    written = [result for result in results if result.post_mortem]
    if not written:
        return []
    more = [("", f"and {len(written) - 1} more beside it")] if len(written) > 1 else []
    return [
        ("read", written[0].post_mortem),
        *more,
        ("mails", str(scene.folder / "mails")),
        ("remove", f"rm -r {scene.folder}"),
    ]


def _keep_running(scene: Scene, narrator: Narrator) -> None:
    """Servers, load, mails and responder go on until Ctrl-C."""
    program = f"{sys.executable} -m stanch"
    config = f"-c {scene.responder.config}"
    narrator.closing(
        [
            ("running", "everything goes on until Ctrl-C here; then it is taken away"),
            ("look", f"{program} incidents --all {config}"),
            ("", f"{program} show 1 {config}"),
            *(
                ("break it", f"kill -9 $(head -1 {place.server.data_directory}/postmaster.pid)")
                for place in scene.places.values()
                if place.name == ORDERS
            ),
            ("log", f"tail -f {scene.responder.log}"),
            ("end", f"Ctrl-C, or kill {os.getpid()}"),
        ]
    )
    sys.stdout.flush()
    while True:
        signal.pause()


def _save_recording(console: Console, path: str) -> None:
    """The run as plain text and as a picture, `<path>.txt` and `<path>.svg`."""
    text = console.export_text(clear=False)
    Path(f"{path}.txt").write_text(
        "".join(f"{line.rstrip()}\n" for line in text.splitlines()), encoding="utf-8"
    )
    picture = console.export_svg(title="make demo")
    # A picture must not fetch anything: fonts come from the reader's own machine.
    picture = re.sub(r',\s*url\("[^"]*"\) format\("[^"]*"\)', "", picture)
    Path(f"{path}.svg").write_text(picture, encoding="utf-8")


def _binaries(pg_bin: str | None) -> Binaries:
    return find_binaries(env={**os.environ, "PG_BIN": pg_bin}) if pg_bin else find_binaries()


def _console(*, quiet: bool, record: bool) -> Console:
    piped = not sys.stdout.isatty()
    width = PIPED_COLUMNS if piped or record else None
    return Console(quiet=quiet, record=record, width=width, highlight=False)


@contextmanager
def _signals_interrupt() -> Generator[None]:
    """A closed terminal and a `kill` end the demonstration the way Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in ENDING}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextmanager
def _deaf_while_leaving() -> Generator[None]:
    """A second Ctrl-C must not interrupt the taking away."""
    try:
        yield
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stanch.drill.demo", description="Break a throw-away server, act by act."
    )
    names = [act.name for act in PROGRAMME]
    parser.add_argument("--list", action="store_true", help="list the acts and end")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="ACT", help="this act; may be repeated"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument("--pg-bin", metavar="FOLDER", help="the server programs to use")
    parser.add_argument("--json", action="store_true", help="one JSON line an act, nothing else")
    parser.add_argument(
        "--record", metavar="PATH", help="save the run as PATH.txt and PATH.svg as well"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
