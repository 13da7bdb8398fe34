"""Every command the pages show is run, in their order, against a throw-away server.

A block that is not run says why in its info string, and the reason is listed here:

    ```sh skip="asks questions"     not run
    ```sh exit=1                    run; ends with this exit code
    ```sh background                runs until the page ends; waited for until it is ready
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fix_servers import MakeServer
from pages import Block, blocks, pages

PAGES = pages()
SHELL = [b for page, text in PAGES.items() for b in blocks(page, text) if b.language == "sh"]
DEFAULT_PORT = "8432"
READY_S = 30.0
BLOCK_S = 60.0

NOT_RUN = {
    ("README.md", "breaks servers for a minute; its acts have tests of their own"),
    ("docs/demo.md", "breaks servers for a minute; its acts have tests of their own"),
    ("README.md", "runs the tests, this one among them"),
    ("README.md", "asks two questions and waits for the code that was paged"),
    ("CONTRIBUTING.md", "installs packages"),
    ("docs/lab.md", "needs a staging server and its list"),
    ("docs/hosts.md", "needs a machine and a container of yours"),
    ("docs/hosts.md", "needs a managed server of yours"),
    ("docs/webhook.md", "posts to a receiver of yours"),
    ("docs/running.md", "overrides a guard that has to refuse just now, and waits for an approval"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody who types what the pages say: a home of their own, a service file, a server."""

    home: Path
    env: dict[str, str]
    port: str
    stack: ExitStack

    def follow(self, page: list[Block]) -> Iterator[tuple[Block, int, str]]:
        for block in page:
            text = block.text.replace(DEFAULT_PORT, self.port)
            if "background" in block.flags:
                yield block, self._leave_running(text), ""
            else:
                yield block, *self._run(text)

    def _run(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.home,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BLOCK_S,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def _leave_running(self, text: str) -> int:
        """Start it, on a port that is free here, and wait until it is ready."""
        policy = self.home / "stanch.yaml"
        policy.write_text(f"{policy.read_text()}\nlisten: 127.0.0.1:{self.port}\n")
        log = self.stack.enter_context((self.home / "background.log").open("w"))
        process = subprocess.Popen(
            ["bash", "-c", f"exec {text}"], cwd=self.home, env=self.env, stdout=log, stderr=log
        )
        self.stack.callback(process.wait, timeout=READY_S)
        self.stack.callback(process.terminate)
        until = time.monotonic() + READY_S
        while time.monotonic() < until and process.poll() is None:
            if _ready(self.port):
                return 0
            time.sleep(0.1)
        return process.poll() or -1


def _ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def reader(make_server: MakeServer, tmp_path: Path) -> Iterator[Reader]:
    server = make_server(conf={"fsync": True})
    server.start()
    if shutil.which("psql") is None and not (server.binaries.bin_dir / "psql").exists():
        pytest.skip("no psql here, which the pages use")
    entries = {"orders": "stanch_watch", "orders_admin": "postgres"}
    services = tmp_path / "services.conf"
    services.write_text(
        "".join(
            f"[{name}]\n" + "".join(f"{part}\n" for part in server.dsn(role).split())
            for name, role in entries.items()
        )
    )
    path = [str(Path(sys.executable).parent), str(server.binaries.bin_dir), os.environ["PATH"]]
    env = {
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(path),
        "PGSERVICEFILE": str(services),
    }
    with ExitStack() as stack:
        yield Reader(home=tmp_path, env=env, port=_free_port(), stack=stack)


def shown(page: str) -> list[Block]:
    return [b for b in SHELL if b.page == page and "skip" not in b.options]


PREPARED = 'stanch init --yes --dsn service=orders --contact terminal --state-directory "$HOME/s"\n'


@pytest.mark.story
@pytest.mark.parametrize("pg_major", [15], indirect=True)
@pytest.mark.parametrize("page", sorted({b.page for b in SHELL if "skip" not in b.options}))
def test_what_a_page_tells_people_to_type_works_in_its_order(page: str, reader: Reader) -> None:
    steps = shown(page)
    if not any("stanch init" in step.text for step in steps):
        # A page that begins where a policy is written already.
        steps = [Block(page=page, line=0, language="sh", text=PREPARED), *steps]
    for block, code, said in reader.follow(steps):
        assert code == int(block.options.get("exit", "0")), f"{page}:{block.line}\n{said}"


def test_blocks_that_are_not_run_are_known_and_say_why() -> None:
    skipped = {(b.page, b.options["skip"]) for b in SHELL if "skip" in b.options}
    assert skipped == NOT_RUN


def test_the_first_ten_minutes_are_run_and_not_skipped() -> None:
    typed = "".join(b.text for b in shown("README.md"))
    for words in ("ping", "diagnose", "grants", "init", "check", "run", "declare", "ack", "show"):
        assert f"stanch {words}" in typed, words


def test_every_command_block_is_marked_as_shell() -> None:
    """A command in a block of another language would be shown and never run."""
    hidden = [
        f"{block.page}:{block.line}"
        for page, text in PAGES.items()
        for block in blocks(page, text)
        if block.language != "sh" and block.text.startswith(("stanch ", "$ stanch", "make "))
    ]
    assert hidden == []


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_page_with_a_command_that_fails_is_noticed(reader: Reader) -> None:
    wrong = Block(page="x", line=1, language="sh", text="stanch ping service=nowhere\necho on\n")
    [(_, code, said)] = reader.follow([wrong])
    assert code == 2
    assert "nowhere" in said
    assert "on\n" not in said.splitlines(keepends=True)
