"""Everything the acts are played on: servers under load, a mail server, and a responder.

<folder>/                  /tmp/stanch-demo-… (TMPDIR where /tmp is closed): all that is written
  stanch.yaml, stanch.log  the responder's policy and its log
  state/                   its timelines
  stanch-…/                one throw-away server each
  mails/                   every mail that was sent, as it arrived
  post-mortems/            one file an incident
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from stanch.adapters.postgres.binaries import Binaries
from stanch.adapters.postgres.load import Load, LoadOptions
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.drill.mailbox import Mailbox
from stanch.drill.responder import ResponderProcess
from stanch.model.errors import SetupError

ORDERS = "orders"
ARCHIVE = "archive"
"""The server on a volume of limited size."""

MAX_CONNECTIONS = 30
VOLUME_MB = 160
BALLAST_MB = 32
MIB = 1024 * 1024

LOAD = LoadOptions(writers=3, pause_s=0.05, statement_timeout_s=1.0, rows_per_session=5)
"""The application: fresh logins all the time, and no patience beyond a second."""

RULES = (
    ("actions", "every one switched to act: nobody is asked first"),
    ("rescue", "logins and writes must work for 2 s (default 1 min), resolved 2 s later (10 min)"),
    ("limits", "connections at 90 % for 1 s (3 s), a lock waited for 2 s (10 s), full at 8 MiB"),
    ("sessions", "ended when idle for 1 s or more (5 min)"),
)
"""What the policy says otherwise than out of the box, so that an act takes seconds."""

MAIN_ACTIONS = ("start_server", "set_aside_lock_file", "end_idle_sessions", "end_blocking_session")
DISK_ACTIONS = ("start_server", "free_space")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One server of the scene with the application that writes to it."""

    name: str
    server: ScratchServer
    load: Load
    ballast: Path | None = None


class Scene:
    """A context manager: entering sets everything up, leaving takes everything away.

    Post-mortems are kept, with the mails and the log beside them.
    """

    def __init__(self, binaries: Binaries, targets: Sequence[str]) -> None:
        self.folder = Path()
        self.binaries = binaries
        self.places: dict[str, Place] = {}
        self._targets = targets
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def post_mortems(self) -> Path:
        return self.folder / "post-mortems"

    def _set_up(self) -> None:
        self.folder = make_folder()
        self._stack.callback(_keep_results_only, self.folder)
        self.post_mortems.mkdir()
        self.mailbox = self._stack.enter_context(Mailbox(directory=self.folder / "mails"))
        for name in self._targets:
            self.places[name] = self._make_place(name)
        listen = f"127.0.0.1:{free_port()}"
        self.responder = ResponderProcess(self.folder, listen=listen)
        policy = policy_text(self.folder, self.places, mail_port=self.mailbox.port, listen=listen)
        self.responder.config.write_text(policy, encoding="utf-8")
        self._stack.callback(self.responder.stop)
        self.responder.start()

    def _make_place(self, name: str) -> Place:
        small = name == ARCHIVE
        conf = {"max_connections": MAX_CONNECTIONS}
        if small:
            conf |= {"max_wal_size": "64MB", "min_wal_size": "2MB"}
        server = ScratchServer.create(
            self.binaries,
            options=ScratchOptions(
                conf=conf,
                data_volume_mb=VOLUME_MB if small else None,
                wal_segsize_mb=1,
                parent=self.folder,
            ),
        )
        self._stack.enter_context(server)
        ballast = self._make_ballast(server) if small else None
        load = Load(server.dsn("app", application_name=f"{name}-web"), LOAD)
        self._stack.enter_context(load)
        if not load.wait_for_rows(20, timeout_s=30):
            raise SetupError(f"the application cannot write: {load.report().last_error}", on=name)
        return Place(name=name, server=server, load=load, ballast=ballast)

    def _make_ballast(self, server: ScratchServer) -> Path:
        path = server.data_directory.parent / "ballast"
        with path.open("wb") as file:
            for _ in range(BALLAST_MB):
                file.write(bytes(MIB))
        if server.folder.user is not None:
            server.folder.user.own(path)
        return path


def make_folder() -> Path:
    """A fresh folder; short, because Unix sockets lie below it.

    Raises: SetupError where none can be made.
    """
    parent = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108
    try:
        folder = Path(tempfile.mkdtemp(prefix="stanch-demo-", dir=parent)).resolve()
    except OSError as error:
        raise SetupError(
            f"no folder can be made: {error.strerror}",
            on=parent,
            hint="Set TMPDIR to a folder with a short path that this user may write to.",
        ) from error
    # As root, servers run as another user, who has to pass through.
    folder.chmod(0o711)
    return folder


def policy_text(folder: Path, places: dict[str, Place], *, mail_port: int, listen: str) -> str:
    """The policy the responder runs under."""
    targets = "".join(_target_text(place) for place in places.values())
    return f"""\
state_directory: {_quoted(folder / "state")}
listen: {listen}
people:
  ann: {{name: Ann Example, contacts: [{{channel: mail, address: ann@example.com}}]}}
  bo: {{name: Bo Example, contacts: [{{channel: mail, address: bo@example.com}}]}}
ladder: [ann, bo]
channels:
  mail: {{type: smtp, host: 127.0.0.1, port: {mail_port}, sender: stanch@example.com}}
targets:
{targets}"""


def _target_text(place: Place) -> str:
    server = place.server
    actions = MAIN_ACTIONS if place.ballast is None else DISK_ACTIONS
    text = f"""\
  {place.name}:
    dsn: {_quoted(server.dsn("stanch_watch"))}
    acting_dsn: {_quoted(server.dsn("stanch_act"))}
    app_dsn: {_quoted(server.dsn("app"))}
    desired: running
    manager: pg_ctl
    actions: {{{", ".join(f"{action}: act" for action in actions)}}}
    idle_session_age_min: 1s
    rescue: {{window: 2s, check_every: 250ms, resolve_after: 2s}}
    limits: {{clear_hold: 1s, flap_window: 0s}}
    rules:
      connections_high: {{hold: 1s}}
      connections_exhausted: {{hold: 1s}}
      sessions_blocked: {{also: 2s}}
      disk_low: {{hold: 1s}}
      disk_full: {{limit: 8MiB}}
"""
    if place.ballast is not None:
        text += f"    free_space: {{ballast: [{_quoted(place.ballast)}]}}\n"
    return text


def _quoted(text: object) -> str:
    """A JSON string is a YAML string."""
    return json.dumps(str(text))


def _keep_results_only(folder: Path) -> None:
    """What is worth reading after an act stays; where none was played, nothing does."""
    kept = [folder / name for name in ("post-mortems", "mails", "stanch.log")]
    told = any((folder / "post-mortems").glob("*"))
    for path in folder.iterdir():
        if told and path in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
