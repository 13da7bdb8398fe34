"""`stanch init`: from two answers to a checked policy and a page that really arrived."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli import init as command
from stanch.model.errors import SetupError
from stanch.policy.parse import parse_policy
from stanch.testing.mailbox import Mailbox, Reply

CODE = re.compile(r"Code: ([A-Z2-9]{6})")


def invoke(*arguments: str, typed: str = "") -> tuple[int, str, str]:
    app = typer.Typer()
    command.register(app)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["init", *arguments], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@dataclass
class Person:
    """Somebody at the prompt of a real `stanch init` process."""

    process: subprocess.Popen[str]

    def types(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ends(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def at_the_prompt(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> Person:
        program = (
            "import typer; from stanch.cli import init; a = typer.Typer(); init.register(a); a()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        started.append(process)
        return Person(process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def code_in(mailbox: Mailbox) -> str:
    mail = mailbox.wait_for_mail(lambda m: "test page" in m.subject, deadline_s=20)
    assert mail is not None
    found = CODE.search(mail.text)
    assert found is not None
    return found[1]


def smtp(mailbox: Mailbox) -> str:
    return f"{mailbox.host}:{mailbox.port}"


def test_two_answers_and_the_code_from_the_mail_make_a_policy_and_a_table(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path, at_the_prompt: Any
) -> None:
    person = at_the_prompt("--smtp", smtp(mailbox), "--state-directory", str(tmp_path / "state"))
    person.types(shared_server.dsn("stanch_watch"))
    person.types("asha.example@example.com")
    code = code_in(mailbox)
    person.types("WRONG1")
    person.types("")
    person.types(f" {code[:3].lower()}-{code[3:]} ")
    status, out, err = person.ends()
    assert status == 0, err
    assert "that is not the code" in err
    assert "acknowledged: pages arrive" in err
    assert "What Stanch can do for postgres tonight" in out
    assert re.search(r"end sessions +no +the policy has no acting_dsn", out)
    file = tmp_path / "stanch.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    policy = parse_policy(file.read_text(), file="stanch.yaml")
    assert policy.people[0].name == "Asha Example"
    assert policy.targets[0].dsn == shared_server.dsn("stanch_watch")
    assert "## " in file.read_text()


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_without_the_code_the_page_counts_as_not_acknowledged(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path, at_the_prompt: Any
) -> None:
    person = at_the_prompt(
        "--dsn", shared_server.dsn("stanch_watch"), "--contact", "asha@example.com",
        "--smtp", smtp(mailbox), "--ack-timeout", "300ms",
    )  # fmt: skip
    person.types("WRONG1")
    code_in(mailbox)
    # Its input stays open: only the time can end the waiting.
    status = person.process.wait(timeout=30)
    _, out, err = person.ends()
    assert status == 3
    assert "not acknowledged" in err
    assert "What Stanch can do" in out
    assert (tmp_path / "stanch.yaml").exists()


def options(server: ScratchServer, tmp_path: Path, *more: str) -> list[str]:
    return [
        "--dsn", server.dsn("stanch_watch"), "--contact", "asha@example.com", "--yes",
        "--state-directory", str(tmp_path / "s"), "-o", str(tmp_path / "p.yaml"), *more,
    ]  # fmt: skip


def test_without_questions_a_page_is_sent_and_nobody_is_waited_for(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    arguments = options(shared_server, tmp_path, "--smtp", smtp(mailbox), "--json")
    status, out, err = invoke(*arguments, "--name", "orders")
    body = json.loads(out)
    assert (status, body["schema"]) == (0, "stanch.init/1")
    assert body["test_page"]["outcome"] == "accepted"
    assert body["test_page"]["acknowledged"] is False
    assert body["targets"]["orders"]["state"] == "up"
    assert "nobody is waited for" in err
    assert code_in(mailbox)


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_the_terminal_can_be_the_contact(shared_server: ScratchServer, tmp_path: Path) -> None:
    dsn, file = shared_server.dsn("stanch_watch"), tmp_path / "p.yaml"
    status, _, err = invoke("--dsn", dsn, "--contact", "terminal", "--yes", "-o", str(file))
    assert status == 0
    assert CODE.search(err) is not None
    assert [c.name for c in parse_policy(file.read_text(), file="p").channels] == ["console"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_an_existing_file_is_never_overwritten_unless_forced(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("mine")
    arguments = options(shared_server, tmp_path, "--smtp", smtp(mailbox))
    with pytest.raises(SetupError, match="exists already"):
        invoke(*arguments)
    assert file.read_text() == "mine"
    assert mailbox.connections == 0
    file.chmod(0o644)
    assert invoke(*arguments, "--force")[0] == 0
    assert "state_directory" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["p.yaml"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_page_that_cannot_leave_is_said_and_the_table_shown_all_the_same(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    mailbox.fail_next(Reply(at="rcpt", line="550 no such user"))
    status, out, err = invoke(*options(shared_server, tmp_path, "--smtp", smtp(mailbox)))
    assert status == 4
    assert "could not be sent: 550 no such user" in err
    assert "What Stanch can do" in out


def test_a_server_that_is_not_there_is_said_after_the_page_went_out(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dsn = f"host=127.0.0.1 port={taken.getsockname()[1]}"
        status, out, _ = invoke(
            "--dsn", dsn, "--contact", "a@example.com", "--yes",
            "--smtp", smtp(mailbox), "-o", str(tmp_path / "p.yaml"),
        )  # fmt: skip
    assert status == 5
    assert "connection refused" in out
    assert code_in(mailbox)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dsn", "orders on db1", "--contact", "a@example.com"], "not a connection string"),
        (["--dsn", "host=a,b", "--contact", "a@example.com"], "names 2 hosts"),
        (["--dsn", "service=x", "--contact", "nobody"], "is not a mail address"),
        (["--dsn", "service=x", "--contact", "a@example.com\r\nBcc: b@c.example"], "mail address"),
        (["--dsn", "service=x", "--contact", "a@example.com", "--smtp", "mail"], "not host:port"),
        (["--dsn", "service=x", "--contact", "a@example.com", "--smtp", "m:0"], "not host:port"),
        (["--dsn", "service=x", "--contact", "terminal", "--name", "a b"], "is not a name"),
        (["--dsn", "service=x", "--contact", "terminal", "--state-directory", "s"], "absolute"),
    ],
)
def test_answers_that_make_no_policy_write_nothing(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    from stanch.model.errors import StanchError

    with pytest.raises(StanchError, match=complaint):
        invoke(*arguments, "--yes", "-o", str(tmp_path / "p.yaml"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--yes", "--contact", "terminal"],
        ["--yes", "--dsn", "service=x"],
        ["--dsn", "service=x", "--contact", "terminal", "--ack-timeout", "5"],
    ],
)
def test_a_command_line_that_lacks_something_is_a_usage_error(
    tmp_path: Path, arguments: list[str]
) -> None:
    assert invoke(*arguments, "-o", str(tmp_path / "p.yaml"))[0] == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_folder_that_cannot_be_written_is_a_clear_error(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    arguments = options(shared_server, tmp_path)
    arguments[arguments.index("-o") + 1] = str(tmp_path / "nowhere" / "p.yaml")
    with pytest.raises(SetupError, match="cannot be written"):
        invoke(*arguments)


def test_a_password_in_the_connection_string_earns_a_warning(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    dsn = "host=127.0.0.1 port=1 password=hunter2"
    _, out, err = invoke(
        "--dsn", dsn, "--contact", "a@example.com", "--yes",
        "--smtp", smtp(mailbox), "-o", str(tmp_path / "p.yaml"),
    )  # fmt: skip
    assert "has a password in it" in err
    assert "hunter2" not in err + out
