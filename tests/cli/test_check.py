"""`stanch check` against real servers, a real mail server and a real web server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli import check as command
from stanch.policy.parse import parse_policy
from stanch.service.readiness.checking import check_policy
from stanch.store.mounts import Mount
from stanch.testing.mailbox import Mailbox, Reply

HEARTBEAT = "heartbeat: {url: https://heartbeat.example.com/x}\n"


def invoke(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    command.register(app)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["check", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def check_json(path: Path, *arguments: str) -> tuple[int, Any]:
    code, out, _ = invoke("-c", str(path), "--json", *arguments)
    return code, json.loads(out)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


def policy(
    path: Path,
    dsn: str,
    *,
    mail: Mailbox | None = None,
    channels: str = "",
    target: str = "",
    more: str = HEARTBEAT,
) -> Path:
    contacts = "contacts: [{channel: mail, address: asha@example.com}]" if mail else ""
    lines = [
        f"state_directory: {path / 'state'}",
        "people:",
        f"  asha: {{name: Asha Example, {contacts}}}",
        "ladder: [asha]",
        "channels:",
        "  console: {type: terminal}",
    ]
    if mail:
        lines.append(f"  mail: {{type: smtp, host: {mail.host}, port: {mail.port}}}")
    lines += [*channels.splitlines(), "targets:", "  orders:", f'    dsn: "{dsn}"']
    lines += target.splitlines()
    file = path / "stanch.yaml"
    file.write_text("\n".join(lines) + "\n" + more)
    return file


def test_a_policy_whose_promises_all_hold_passes(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    acts = f'    acting_dsn: "{shared_server.dsn("stanch_act")}"\n'
    acts += f'    app_dsn: "{shared_server.dsn("app")}"\n'
    acts += "    actions: {end_idle_sessions: act, start_server: advise}\n"
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), mail=mailbox, target=acts)
    code, out, err = invoke("-c", str(file))
    assert (code, err) == (0, "")
    assert "everything this policy promises works" in out
    assert "get in when the server is full" in out
    assert mailbox.mails == ()
    assert mailbox.connections == 1
    assert not (tmp_path / "state").exists()


def test_json_holds_the_whole_table(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path
) -> None:
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), mail=mailbox)
    code, body = check_json(file)
    assert code == 0
    assert body["schema"] == "stanch.check/1"
    assert body["ok"] is True
    target = body["targets"]["orders"]
    assert (target["state"], target["shares_host"]) == ("up", True)
    assert {"feature", "can", "why", "change"} == set(target["capabilities"][0])
    assert body["channels"]["mail"]["ok"] is True
    assert body["findings"] == body["problems"] == []


def test_every_error_of_the_file_is_shown_with_line_and_hint_and_nothing_is_tried(
    mailbox: Mailbox, tmp_path: Path
) -> None:
    file = policy(
        tmp_path, "service=x", mail=mailbox, target="    page_after: 5\n    colour: red\n"
    )
    code, out, err = invoke("-c", str(file))
    assert code == 3
    assert f"{file}:11:5: error: targets.orders.page_after: " in err
    assert f"{file}:12:5: error: targets.orders.colour: " in err
    assert err.count("hint: ") == 2
    assert "2 errors; nothing was tried" in err
    assert out == ""
    assert mailbox.connections == 0
    code, body = check_json(file)
    assert (code, body["ok"]) == (3, False)
    assert [(f["line"], f["level"]) for f in body["findings"]] == [(11, "error"), (12, "error")]


def noted(path: Path, server: ScratchServer, cluster: str) -> None:
    """As a responder would have left it that watched another cluster at this address."""
    note = {"pid": None, "address": f"127.0.0.1:{server.port}", "log": ""}
    note |= dict.fromkeys(("data_directory", "bin_directory"), "")
    note["clusters"] = [("2026-11-01T00:00:00+00:00", cluster)]
    (path / "state" / "notes").mkdir(parents=True)
    (path / "state" / "notes" / "orders.json").write_text(json.dumps(note))


@pytest.mark.parametrize("pg_major", [15], indirect=True)
@pytest.mark.parametrize("by", ["the policy", "watched here until now"])
def test_another_cluster_at_the_address_is_a_problem_that_names_both(
    shared_server: ScratchServer, tmp_path: Path, by: str
) -> None:
    [(ours,)] = shared_server.query("SELECT system_identifier::text FROM pg_control_system()")
    theirs, dsn = "7301234567890123456", shared_server.dsn("stanch_watch")
    if by == "the policy":
        named = f'    system_identifier: "{theirs}"\n'
    else:
        named = ""
        noted(tmp_path, shared_server, theirs)
    code, body = check_json(policy(tmp_path, dsn, target=named))
    assert code == 1
    [problem] = body["problems"]
    assert problem["on"] == "target orders"
    assert by in problem["what"]
    assert all(one in problem["what"] for one in (ours, theirs))
    assert f'system_identifier: "{ours}"' in problem["hint"]

    named = f'    system_identifier: "{ours}"\n'
    code, body = check_json(policy(tmp_path, dsn, target=named))
    assert (code, body["problems"]) == (0, []), "named on purpose, whatever was noted"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_canary_without_its_table_is_a_problem_with_the_command_that_prints_it(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    wanted = "    canary: {every: 10s}\n"
    code, body = check_json(policy(tmp_path, shared_server.dsn("stanch_watch"), target=wanted))
    assert code == 1
    [problem] = body["problems"]
    assert "there is no table stanch.canary" in problem["what"]
    assert "stanch grants --target orders --only canary" in problem["hint"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b""])
def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "stanch.yaml"
    if content is not None:
        file.write_bytes(content)
    code, _, err = invoke("-c", str(file))
    assert code == 3
    assert str(file) in err
    assert "hint: " in err


def test_sharing_the_machine_without_an_outside_heartbeat_fails_loudly(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), more="")
    code, _, err = invoke("-c", str(file))
    assert code == 1
    assert "PROBLEM target orders: Stanch shares this server's machine" in err
    assert "heartbeat" in err


def test_a_server_that_is_down_is_one_problem_and_not_ten(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.stop("fast")
    file = policy(tmp_path, server.dsn("stanch_watch"), more="")
    code, body = check_json(file)
    assert code == 1
    [problem] = body["problems"]
    assert problem["what"].startswith("cannot watch: ")
    assert body["targets"]["orders"]["state"] == "refused"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_an_action_without_the_privilege_for_it_is_a_problem_but_only_when_wanted(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    role = f'    acting_dsn: "{shared_server.dsn("app")}"\n'
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), target=role)
    assert check_json(file)[0] == 0
    wanted = role + "    actions: {end_blocking_session: advise}\n"
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), target=wanted)
    code, body = check_json(file)
    assert code == 1
    [problem] = body["problems"]
    assert "cannot end sessions" in problem["what"]
    assert problem["hint"] == "GRANT pg_signal_backend TO app;"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_watching_role_without_pg_monitor_is_a_problem_with_the_grant(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    code, body = check_json(policy(tmp_path, shared_server.dsn("app")))
    assert code == 1
    assert [p["hint"] for p in body["problems"]] == ["GRANT pg_monitor TO app;"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_an_application_role_that_cannot_write_is_a_problem(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server()
    server.query("ALTER ROLE app SET default_transaction_read_only = on")
    target = f'    app_dsn: "{server.dsn("app")}"\n'
    code, body = check_json(policy(tmp_path, server.dsn("stanch_watch"), target=target))
    assert code == 1
    assert "read-only" in body["problems"][0]["what"]


# --- the control endpoint -----------------------------------------------------------------------


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_control_endpoint_is_knocked_at_and_its_silence_is_a_problem(
    shared_server: ScratchServer, tmp_path: Path, full_port: int
) -> None:
    endpoint = f"127.0.0.1:{full_port}"
    more = f"{HEARTBEAT}control_endpoint: {endpoint}\n"
    code, body = check_json(policy(tmp_path, shared_server.dsn("stanch_watch"), more=more))
    assert code == 1
    assert [p["on"] for p in body["problems"]] == [f"control_endpoint {endpoint}"]
    assert "does not answer" in body["problems"][0]["what"]
    more = f"{HEARTBEAT}control_endpoint: 127.0.0.1:{shared_server.port}\n"
    code, body = check_json(policy(tmp_path, shared_server.dsn("stanch_watch"), more=more))
    assert code == 0
    assert body["sources"][f"control_endpoint 127.0.0.1:{shared_server.port}"]["ok"]


# --- channels -----------------------------------------------------------------------------------


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A port that is taken, so that nobody else takes it, and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_channels_that_do_not_answer_are_problems(
    shared_server: ScratchServer, refused_port: int, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{refused_port}/"
    channels = (
        f"  post: {{type: smtp, host: 127.0.0.1, port: {refused_port}}}\n"
        f"  hook: {{type: webhook, url: {url}}}\n"
        f"  blind: {{type: webhook, url: {url}, secret_file: /nowhere}}\n"
    )
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), channels=channels)
    code, body = check_json(file)
    assert code == 1
    assert {p["on"] for p in body["problems"]} == {"channel post", "channel hook", "channel blind"}
    assert "refused" in body["channels"]["post"]["detail"].lower()
    assert "/nowhere" in body["channels"]["blind"]["detail"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
@pytest.mark.parametrize("stage", ["mail", "rcpt"])
def test_a_mail_server_that_refuses_sender_or_recipient_is_a_problem(
    shared_server: ScratchServer, mailbox: Mailbox, tmp_path: Path, stage: Any
) -> None:
    mailbox.fail_next(Reply(at=stage, line="550 relaying denied"))
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), mail=mailbox)
    code, body = check_json(file)
    assert code == 1
    assert "550 relaying denied" in body["channels"]["mail"]["detail"]
    assert mailbox.mails == ()


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        posts: list[Any] = self.server.posts  # type: ignore[attr-defined]
        posts.append((dict(self.headers), json.loads(self.rfile.read(length))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[int, list[Any]]]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    posts: list[Any] = []
    server.posts = posts  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port, posts
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_messages_leave_only_when_a_test_is_asked_for(
    shared_server: ScratchServer,
    mailbox: Mailbox,
    receiver: tuple[int, list[Any]],
    tmp_path: Path,
) -> None:
    port, posts = receiver
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    channels = f"  hook: {{type: webhook, url: http://127.0.0.1:{port}/x, secret_file: {secret}}}\n"
    file = policy(tmp_path, shared_server.dsn("stanch_watch"), mail=mailbox, channels=channels)
    assert check_json(file)[0] == 0
    assert (mailbox.mails, posts) == ((), [])
    code, body = check_json(file, "--send-test")
    assert (code, body["problems"]) == (0, [])
    mail = mailbox.wait_for_mail(lambda m: "test page" in m.subject, deadline_s=5)
    assert mail is not None
    [(headers, message)] = posts
    assert "Stanch-Signature" in headers
    assert "nothing is wrong" in message["subject"]
    assert "accepted" in body["channels"]["mail"]["detail"]


# --- the state directory ------------------------------------------------------------------------


def parsed(path: Path, state: Path) -> Any:
    text = (
        f"state_directory: {state}\npeople: {{asha: {{name: A}}}}\nladder: [asha]\n"
        "channels: {console: {type: terminal}}\n"
        f"targets: {{orders: {{dsn: 'host=127.0.0.1 port=1 connect_timeout=2'}}}}\n"
    )
    return parse_policy(text, file=str(path))


async def test_a_state_directory_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = [Mount(point="/", fstype="ext4"), Mount(point=str(tmp_path), fstype="nfs4")]
    report = await check_policy(parsed(tmp_path, tmp_path / "s"), send_test=False, mounts=mounts)
    [problem] = [p for p in report.problems if p.on.startswith("state_directory")]
    assert "nfs4" in problem.what
    local = [Mount(point="/", fstype="ext4")]
    report = await check_policy(parsed(tmp_path, tmp_path / "s"), send_test=False, mounts=local)
    assert not [p for p in report.problems if p.on.startswith("state_directory")]


async def test_a_state_directory_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", tmp_path / "file" / "below"):
        report = await check_policy(parsed(tmp_path, state), send_test=False)
        assert any("is not a directory" in p.what for p in report.problems)


def test_the_exit_codes_are_in_the_help() -> None:
    _, out, _ = invoke("--help")
    assert "3 the policy file has errors" in " ".join(out.split())


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_what_is_asked_beside_the_server_is_tried_and_told(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    dsn = shared_server.dsn("stanch_watch")
    query = "SELECT 'all' AS pool, 4 AS active, 10 AS size, 0 AS waiting"
    pools = f'      jobs: {{type: query, dsn: "{dsn}", query: "{query}"}}\n'
    pools += '      web: {type: json, url: "http://127.0.0.1:1/pools"}\n'
    file = policy(tmp_path, dsn, target=f"    pools:\n{pools}")
    code, body = check_json(file)
    assert code == 1
    assert body["sources"]["orders pools jobs"] == {
        "ok": True,
        "detail": "all: 4 of 10 connections in use, 0 wait",
    }
    [problem] = body["problems"]
    assert problem["on"] == "orders pools web"
    assert "as a symptom" in problem["hint"]
    _, out, errors = invoke("-c", str(file))
    assert "source orders pools jobs: ok: all: 4 of 10 connections in use, 0 wait" in out
    assert "source orders pools web: FAILED: " in out
    assert "PROBLEM orders pools web: " in errors
