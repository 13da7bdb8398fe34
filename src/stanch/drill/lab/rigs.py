"""Makes rigs: copies of a stopped template, a standby where one is needed, an application on it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.binaries import Binaries
from stanch.adapters.postgres.load import Load, LoadOptions
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import Auth, ScratchOptions, Setting
from stanch.drill.lab.fault import Fault, Needs, NotMade, RunBy
from stanch.drill.lab.rig import Rig

WAL_SEGSIZE_MB = 1
"""Small segments: what fills a volume in production does so here with megabytes."""

AUTHS: tuple[Auth, ...] = ("trust", "scram-sha-256")

LOAD_ROWS = 20
LEVEL_SQL = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
PRIVILEGED_PATH = "/usr/sbin:/sbin"


class Rigs:
    """A context manager that keeps one stopped template a version and way to log in."""

    def __init__(self, binaries: Binaries, *, parent: Path) -> None:
        self.binaries = binaries
        self._parent = parent
        self._templates: dict[Auth, ScratchServer] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def prepare(self) -> None:
        """Make the templates now, so that rigs may be made side by side."""
        for auth in AUTHS:
            self._template(auth)

    @contextmanager
    def rig(
        self, needs: Needs, rng: random.Random, *, load: LoadOptions | None = None
    ) -> Generator[Rig]:
        """A started server, with an application that writes to it where `load` says how much.

        Raises: SetupError where it cannot be made, NotMade where this machine lacks something.
        """
        lacking = cannot(needs, self.binaries.major)
        if lacking:
            raise NotMade(lacking)
        with ExitStack() as stack:
            server = stack.enter_context(self._copy(needs))
            standby = self._standby(stack, server, needs) if needs.standby else None
            rig = Rig(dsn=server.dsn("app"), rng=rng, server=server, standby=standby)
            stack.enter_context(rig)
            if standby is not None:
                rig.until(lambda: rig.admin(LEVEL_SQL))
            for prepare in needs.prepare:
                prepare(rig)
            if load is not None:
                # As the rig has it by now: what prepares it may have moved the server.
                application = Load(make_conninfo(rig.dsn, application_name="shop"), load)
                stack.enter_context(application)
                application.wait_for_rows(LOAD_ROWS, timeout_s=30)
            for made in (server, *([standby] if standby is not None else [])):
                _forget_beginnings(made)
            # What complains from now on is not what the log begins with.
            with suppress(psycopg.Error):
                rig.admin("DO $$ BEGIN RAISE LOG 'the nightly job is done'; END $$")
            yield rig

    def _standby(self, stack: ExitStack, primary: ScratchServer, needs: Needs) -> ScratchServer:
        standby = self._copy(needs)
        stack.callback(standby.destroy)
        standby.folder.write_owned(standby.data_directory / "standby.signal", "")
        standby.set_conf({"primary_conninfo": f"{primary.dsn()} application_name=standby1"})
        standby.start()
        return standby

    def _copy(self, needs: Needs) -> ScratchServer:
        options = ScratchOptions(
            auth=needs.auth,
            conf=needs.conf,
            data_volume_mb=needs.data_volume_mb,
            wal_volume_mb=needs.wal_volume_mb,
            parent=self._parent,
        )
        return ScratchServer.create(options=options, template=self._template(needs.auth))

    def _template(self, auth: Auth) -> ScratchServer:
        if auth not in self._templates:
            options = ScratchOptions(auth=auth, wal_segsize_mb=WAL_SEGSIZE_MB, parent=self._parent)
            made = ScratchServer.create(self.binaries, options=options)
            self._stack.callback(made.destroy)
            self._templates[auth] = made
        return self._templates[auth]


def _forget_beginnings(server: ScratchServer) -> None:
    """Empty the log, as its rotation does: the starts and stops of what is being prepared would
    else have happened a moment before the fault."""
    if server.log_path.exists():
        os.truncate(server.log_path, 0)


def joint(faults: tuple[Fault, ...]) -> Needs:
    """What it takes to make all of them on one server. Raises: NotMade where they exclude."""
    run_by = _run_by(faults)
    conf: dict[str, Setting] = {}
    for fault in faults:
        clash = {k for k, v in fault.needs.conf.items() if conf.get(k, v) != v}
        if clash:
            raise NotMade(f"the faults want different settings: {', '.join(sorted(clash))}")
        conf |= fault.needs.conf
    needs = [fault.needs for fault in faults]
    return Needs(
        conf=conf,
        auth=next((n.auth for n in needs if n.auth != "trust"), "trust"),
        data_volume_mb=max((n.data_volume_mb or 0 for n in needs), default=0) or None,
        wal_volume_mb=max((n.wal_volume_mb or 0 for n in needs), default=0) or None,
        standby=any(n.standby for n in needs),
        root=any(n.root for n in needs),
        programs=tuple(sorted({p for n in needs for p in n.programs})),
        major_min=max((n.major_min for n in needs), default=13),
        run_by=run_by,
        # What two of them begin with is begun once.
        prepare=tuple(dict.fromkeys(p for n in needs for p in n.prepare)),
    )


def _run_by(faults: tuple[Fault, ...]) -> RunBy:
    """Who keeps their server running. Raises: NotMade where some are not made for that."""
    found: set[RunBy] = {f.needs.run_by for f in faults if f.causes and not f.on_staging}
    if len(found) > 1:
        raise NotMade(f"the faults are made on different servers: {', '.join(sorted(found))}")
    return found.pop() if found else "nobody"


def cannot(needs: Needs, major: int) -> str:
    """Why this machine cannot make such a rig; empty where it can."""
    if major < needs.major_min:
        return f"it takes PostgreSQL {needs.major_min} or later"
    if needs.root and os.geteuid() != 0:
        return "it takes root"
    path = f"{os.environ.get('PATH', '')}:{PRIVILEGED_PATH}"
    lacking = [p for p in needs.programs if shutil.which(p, path=path) is None]
    return f"not installed here: {', '.join(lacking)}" if lacking else ""
