"""`stanch run` as a real process beside a scratch server, with a mail server that keeps its pages.

`make_responder`  starts one for a server; ended, and its state directory removed, after the test
`mailbox`         the mail server all responders of the test page through
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import pytest
import yaml

from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.cli.app import main
from stanch.policy.policy import ACTIONS, CONTAINER_ACTIONS, POOL_ACTIONS
from stanch.service.people.reaching import ask
from stanch.testing.mailbox import Mail, Mailbox
from stanch_processes import Process, begin

T = TypeVar("T")

READY_S = 30.0
POLL_S = 0.1
ANEW = httpx.Limits(max_keepalive_connections=0)
"""A connection for every question: one kept might belong to a responder that has ended."""
DEADLINE_S = 40.0
"""Long enough for a busy machine; nothing waits for all of it unless something is broken."""

QUICK_LIMITS = {"clear_hold": "500ms"}
QUICK_RULES = {
    "connections_high": {"hold": "500ms"},
    "connections_exhausted": {"hold": "500ms"},
    "disk_low": {"hold": "500ms"},
    "sessions_blocked": {"also": "1s"},
}
QUICK_RESCUE = {"window": "1s", "check_every": "250ms", "resolve_after": "1s"}
NEED_MORE = ("free_space", "call_hook", *POOL_ACTIONS, *CONTAINER_ACTIONS)
WITHOUT_MORE = tuple(action for action in ACTIONS if action not in NEED_MORE)
"""Every action that needs nothing more than the target; freeing space needs something to free."""
ACT = dict.fromkeys(WITHOUT_MORE, "act")


def severities(*, ack_within: str) -> dict[int, dict[str, Any]]:
    """The usual scale, with another time to answer in."""
    names = {1: "critical", 2: "high", 3: "medium", 4: "low"}
    return {
        rank: {"label": f"P{rank - 1}", "name": name, "ack_within": ack_within, "pages": rank < 3}
        for rank, name in names.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one command of `stanch` answered."""

    status: int
    out: str
    err: str


class MakeResponder(Protocol):
    """Writes a policy for a server and starts `stanch run` on it."""

    def __call__(
        self,
        server: ScratchServer,
        *,
        target: Mapping[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        start: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Responder: ...


class Responder:
    """One state directory with its policy, and the process that runs on it, if one does."""

    def __init__(self, folder: Path, box: Mailbox, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.box = box
        self.config = folder / "stanch.yaml"
        self.state = folder / "state"
        self.port = free_port()
        self.policy: dict[str, Any] = {}
        self._env = dict(env)
        self._processes: list[Process] = []
        # Neither speaks TLS; reading certificates for each question takes longer than the answer.
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(verify=False, limits=ANEW), timeout=5
        )
        self._api = httpx.Client(
            transport=httpx.HTTPTransport(
                uds=str(self.state / "api.sock"), verify=False, limits=ANEW
            ),
            base_url="http://stanch",
            timeout=5,
        )

    # --- the process ---

    @property
    def pid(self) -> int:
        return self._processes[-1].pid

    @property
    def alive(self) -> bool:
        return bool(self._processes) and self._processes[-1].poll() is None

    def start(self, *, ready: bool = True) -> None:
        """Start `stanch run`; with `ready`, wait until it has looked at every target."""
        assert not self.alive
        begun = begin(self._command("run"), out=self.log_path, env=self._env)
        self._processes.append(begun)
        if ready:
            self.wait_for(self.ready, deadline_s=READY_S, what="ready")

    def ready(self) -> bool:
        assert self.alive, f"stanch run ended: {self.log_text()[-3000:]}"
        return self.health("readyz") == 200

    def health(self, page: str) -> int:
        """The status of one page of the health listener; 0 where nobody answers."""
        try:
            return self._http.get(f"http://127.0.0.1:{self.port}/{page}", timeout=2).status_code
        except httpx.HTTPError:
            return 0

    def metric(self, name: str) -> float:
        """The value of one metric without labels."""
        [line] = [ln for ln in self.metrics().splitlines() if ln.split(" ")[0] == name]
        return float(line.split(" ")[1])

    def metrics(self) -> str:
        """Everything `/metrics` shows."""
        return self._http.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text

    def stop(self) -> int:
        """SIGTERM; answers the exit status."""
        self.signal(signal.SIGTERM)
        return self._processes[-1].wait(READY_S)

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power does to one process."""
        self.signal(signal.SIGKILL)
        self._processes[-1].wait(READY_S)

    def signal(self, number: signal.Signals) -> None:
        self._processes[-1].send_signal(number)

    def pause(self) -> None:
        """SIGSTOP, and wait until it stands still."""
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        self.wait_for(lambda: stat.read_text().rpartition(") ")[2][0] == "T", what="paused")

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def end(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(READY_S)
        self._http.close()
        self._api.close()

    @property
    def log_path(self) -> Path:
        return self.folder / "run.log"

    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- people's side ---

    def cli(self, *arguments: str) -> Said:
        """One command of `stanch` as a person types it, in a process of its own."""
        with tempfile.TemporaryDirectory(prefix="said-", dir=self.folder) as name:
            out, err = Path(name, "out"), Path(name, "err")
            env = {**self._env, "STANCH_PERSON": "ann"}
            process = begin(self._command(*arguments), out=out, err=err, env=env)
            # Before the one that watches, which stays the last.
            self._processes.insert(0, process)
            status = process.wait(60)
            said, complained = (path.read_text(errors="replace") for path in (out, err))
        return Said(status=status, out=said, err=complained)

    def call(self, *arguments: str) -> Said:
        """What `cli` answers, without the second of processor that a process of its own takes.

        For commands that another test has a person type.
        """
        assert arguments[0] not in ("run", "check"), "their loop and their clock are their own"
        out, err, status = io.StringIO(), io.StringIO(), 0
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setenv("STANCH_PERSON", "ann")
            try:
                main([*arguments, *self._config_option(arguments[0])])
            except SystemExit as ended:
                status = int(ended.code or 0)
        return Said(status=status, out=out.getvalue(), err=err.getvalue())

    def json(self, *arguments: str) -> Any:
        """What a command with `--json` prints."""
        said = self.call(*arguments, "--json")
        assert said.status == 0, said
        return json.loads(said.out)

    def wait_until_noted(self) -> None:
        """Until the note about the server's start is kept: from here on a later process has it."""
        self.wait_for((self.state / "notes" / "orders.json").exists, what="the note is kept")

    def ask(self, path: str, **params: str) -> dict[str, Any]:
        """The same questions `stanch` asks, without the cost of a process."""
        if self.alive:
            try:
                return self._api.get(path, params=params).json()
            except httpx.HTTPError:
                pass  # It hangs or is just ending: as `stanch` itself does, look in the store.
        return asyncio.run(ask(self.config, path, params)).body

    def incidents(self) -> list[dict[str, Any]]:
        """All incidents, ended ones too, newest first."""
        return self.ask("/incidents", all="1")["incidents"]

    def show(self, wanted: str = "1") -> dict[str, Any]:
        return self.ask(f"/incidents/{wanted}")

    def events(self, kind: str, wanted: str = "1") -> list[dict[str, Any]]:
        """The bodies of one kind of event, oldest first; `kind` without its version. Of steps those
        that have an effect."""
        timeline = self.show(wanted).get("timeline", [])
        found = [e["body"] for e in timeline if e["kind"].rpartition(".v")[0] == kind]
        return [body for body in found if not str(body.get("step_id", "")).endswith("-gather")]

    def kinds(self, wanted: str = "1") -> list[str]:
        timeline = self.show(wanted).get("timeline", [])
        return [e["kind"].rpartition(".v")[0] for e in timeline]

    def wait_for_stored(self, kind: str, *, count: int = 1) -> None:
        """Until the journal on disk has that many events of a kind; looks a thousand times a second
        past everything of ours, for catching a moment. Steps that only read are passed over."""
        end = time.monotonic() + DEADLINE_S
        with closing(sqlite3.connect(f"file:{self.state}/stanch.db?mode=ro", uri=True)) as db:
            counting = (
                "SELECT count(*) FROM journal WHERE kind LIKE ?"
                " AND coalesce(json_extract(CAST(body AS TEXT), '$.step_id'), '')"
                " NOT LIKE '%-gather'"
            )
            while db.execute(counting, (f"{kind}.v%",)).fetchone()[0] < count:
                assert time.monotonic() < end, f"no {kind}\n{self.story()}"
                time.sleep(0.001)

    def started_actions(self, wanted: str = "1") -> list[str]:
        """What was begun, in order; what only reads is left out."""
        return [body["action"] for body in self.events("step.intended", wanted)]

    # --- waiting ---

    def wait_for(
        self, condition: Callable[[], T], *, deadline_s: float = DEADLINE_S, what: str = ""
    ) -> T:
        """Poll until the condition answers something true, and hand that back."""
        end = time.monotonic() + deadline_s
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline_s:g} s: {what}\n{self.story()}")
            time.sleep(POLL_S)

    def wait_for_status(self, status: str, wanted: str = "1") -> dict[str, Any]:
        """The incident, once it has this status."""

        def reached() -> dict[str, Any] | None:
            found = self.show(wanted)
            return found if found.get("status") == status else None

        found = self.wait_for(reached, what=f"incident {wanted} {status}")
        assert found is not None
        return found

    def wait_for_event(self, kind: str, wanted: str = "1", *, count: int = 1) -> dict[str, Any]:
        """The body of the newest event of this kind, once there are that many."""
        enough = self.wait_for(
            lambda: found if len(found := self.events(kind, wanted)) >= count else [],
            what=f"{count} {kind}",
        )
        return enough[-1]

    def wait_for_mail(self, fits: Callable[[Mail], bool], what: str) -> Mail:
        mail = self.box.wait_for_mail(fits, deadline_s=DEADLINE_S)
        assert mail is not None, f"no mail {what}; there are {self.subjects()}\n{self.story()}"
        return mail

    def subjects(self, address: str = "") -> list[str]:
        """Subjects of the mails so far, of one person's alone where an address is given."""
        return [m.subject for m in self.box.mails if address in ",".join(m.recipients)]

    def story(self) -> str:
        """Everything there is to know, for the message of a failing test."""
        lines = [f"mails: {self.subjects()}"]
        for found in self.incidents() if self.config.exists() and self._has_store() else []:
            shown = self.show(found["id"])
            lines.append(f"{found}")
            lines += [f"  {e['at'][11:23]} {e['sentence']}" for e in shown["timeline"]]
            lines += [f"  option: {o}" for o in shown["options"]]
        return "\n".join([*lines, "log:", self.log_text()[-2500:]])

    def _has_store(self) -> bool:
        return (self.state / "stanch.db").exists()

    def _command(self, name: str, *arguments: str) -> Sequence[str]:
        return [name, *arguments, *self._config_option(name)]

    def _config_option(self, name: str) -> Sequence[str]:
        return ["-c", str(self.config)] if name not in ("ping", "diagnose") else []

    # --- the policy ---

    def write_policy(self, policy: Mapping[str, Any]) -> None:
        """Put a policy in place, for a start or a reload."""
        self.policy = dict(policy)
        draft = self.config.with_suffix(".new")
        draft.write_text(yaml.safe_dump(self.policy, width=10_000), encoding="utf-8")
        draft.replace(self.config)

    def change_target(self, **keys: Any) -> None:
        """Write the policy again with other keys for the target `orders`."""
        orders = {**self.policy["targets"]["orders"], **keys}
        self.write_policy({**self.policy, "targets": {"orders": orders}})


def policy_for(
    server: ScratchServer, responder: Responder, target: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything acts, and everything that only waits is short."""
    orders: dict[str, Any] = {
        "dsn": server.dsn("stanch_watch"),
        "acting_dsn": server.dsn("stanch_act"),
        "app_dsn": server.dsn("app"),
        "manager": "pg_ctl",
        "desired": "running",
        "sample_every": "500ms",
        "idle_session_age_min": "1s",
        "actions": ACT,
        "limits": QUICK_LIMITS,
        "rules": QUICK_RULES,
        "rescue": QUICK_RESCUE,
    }
    return {
        "state_directory": str(responder.state),
        "listen": f"127.0.0.1:{responder.port}",
        "people": {
            "ann": {
                "name": "Ann",
                "contacts": [{"channel": "mail", "address": "ann@example.com"}],
            },
            "bo": {"name": "Bo", "contacts": [{"channel": "mail", "address": "bo@example.com"}]},
        },
        "ladder": ["ann", "bo"],
        "channels": {
            "mail": {
                "type": "smtp",
                "host": "127.0.0.1",
                "port": responder.box.port,
                "sender": "stanch@example.com",
            }
        },
        "targets": {"orders": {**orders, **target}},
    }


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def make_responder(mailbox: Mailbox) -> Iterator[MakeResponder]:
    with ExitStack() as stack:

        def make(
            server: ScratchServer,
            *,
            target: Mapping[str, Any] | None = None,
            policy: Mapping[str, Any] | None = None,
            start: bool = True,
            env: Mapping[str, str] | None = None,
        ) -> Responder:
            # Short, because a socket lies in it.
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="stanch-r-", dir="/tmp"))
            responder = Responder(Path(name), mailbox, env or {})
            stack.callback(responder.end)
            whole = {**policy_for(server, responder, target or {}), **(policy or {})}
            responder.write_policy(whole)
            if start:
                responder.start()
            return responder

        yield make
