"""`stanch ping` says in one line which it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.cli import ping
from stanch.model.reach import STATE_MEANINGS, Layer, Reach, ReachState

app = typer.Typer(rich_markup_mode=None)
ping.register(app)


@app.callback()
def program() -> None:
    """Gives the program its subcommands although there is only one."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["ping", *arguments])


def test_a_server_that_is_up_is_one_line(shared_server: ScratchServer) -> None:
    result = run(shared_server.dsn("app"))

    assert result.exit_code == 0
    [line] = result.stdout.splitlines()
    assert line.startswith(f"up  app at 127.0.0.1:{shared_server.port} · ")
    assert line.endswith(" ms")
    assert result.stderr == ""


def test_a_closed_port_is_refused_with_what_to_check_next() -> None:
    port = free_port()
    result = run(f"host=127.0.0.1 port={port} dbname=orders user=app")

    first, *rest = result.stdout.splitlines()
    assert result.exit_code == STATE_MEANINGS[ReachState.REFUSED].exit_code
    assert first.startswith(f"refused  orders at 127.0.0.1:{port} · ")
    assert "connection refused" in rest[1]
    assert "Check next:" in rest[-1]


def test_json_has_exactly_the_promised_keys(shared_server: ScratchServer) -> None:
    result = run("--json", shared_server.dsn("app"))

    printed = json.loads(result.stdout)
    assert list(printed) == ["state", "layers", "elapsed_ms"]
    assert printed["state"] == "up"
    assert all(list(layer) == ["name", "ok", "ms", "detail"] for layer in printed["layers"])
    assert isinstance(printed["elapsed_ms"], float)


def test_a_password_on_the_command_line_earns_a_warning_but_works(
    make_server: MakeServer,
) -> None:
    server = make_server(auth="scram-sha-256")
    result = run(server.dsn("app"))

    assert result.exit_code == 0
    assert "ps" in result.stderr
    assert server.passwords["app"] not in result.output


def test_a_passfile_earns_none(
    make_server: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(auth="scram-sha-256")
    services, passwords = tmp_path / "services", tmp_path / "pgpass"
    services.write_text(f"[orders]\nhost=127.0.0.1\nport={server.port}\nuser=app\ndbname=app\n")
    passwords.write_text(f"*:*:*:app:{server.passwords['app']}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGPASSFILE", str(passwords))

    result = run("service=orders")

    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("dsn", ["orders", "bogus=1", "service=no-such-service", "host=a,b"])
def test_a_string_that_makes_no_sense_exits_2_with_one_clear_error(dsn: str) -> None:
    result = run(dsn)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("stanch: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_timeout_that_is_none_exits_2(timeout: str) -> None:
    assert run("--timeout", timeout, "host=127.0.0.1").exit_code == 2


def test_the_timeout_bounds_a_server_that_hangs(make_server: MakeServer) -> None:
    server = make_server()
    server.pause()
    result = run("--timeout", "0.4", "--json", server.dsn("app"))

    printed = json.loads(result.stdout)
    assert printed["state"] == "hung"
    assert 350 < printed["elapsed_ms"] < 1500
    assert result.exit_code == STATE_MEANINGS[ReachState.HUNG].exit_code


def test_help_names_every_state_with_its_exit_code() -> None:
    shown = run("--help").stdout

    for state, meaning in STATE_MEANINGS.items():
        assert any(
            line.split()[:2] == [str(meaning.exit_code), state.value] for line in shown.splitlines()
        ), state


def test_every_state_has_a_meaning_and_an_exit_code_of_its_own() -> None:
    codes = [STATE_MEANINGS[state].exit_code for state in ReachState]

    assert len(set(codes)) == len(ReachState)
    assert STATE_MEANINGS[ReachState.UP].exit_code == 0
    assert {1, 2}.isdisjoint(codes)


def test_what_the_other_side_says_is_shown_escaped() -> None:
    layer = Layer(name="startup", ok=False, ms=1.0, detail="\x1b[2J\n<b>")
    reach = Reach(state=ReachState.REFUSED, layers=(layer,), elapsed_ms=1.0)

    text = ping.as_text(reach, "x\x1b at y")

    assert all(line.isprintable() for line in text.split("\n"))


def test_loading_the_command_loads_no_driver() -> None:
    script = (
        "import sys, stanch.cli.ping\n"
        "print([m for m in ('psycopg', 'sqlalchemy', 'rich', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stdout + done.stderr
