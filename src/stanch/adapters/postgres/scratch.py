"""Throw-away PostgreSQL servers for demos, drills and tests: made, broken for real, removed.

Everything a server writes lies in one fresh folder, which goes away with it. As root the server
runs as an unprivileged OS user. Never use this for a server somebody needs.
"""

from __future__ import annotations

import random
import secrets
import signal
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from stanch.adapters.postgres import scratch_folder, scratch_processes
from stanch.adapters.postgres.binaries import Binaries, find_binaries, reachable_binaries
from stanch.adapters.postgres.orphans import adopt_orphans
from stanch.adapters.postgres.os_user import server_user
from stanch.adapters.postgres.scratch_access import ROLES, ScratchAccess
from stanch.adapters.postgres.scratch_folder import (
    BASE_CONF,
    ScratchFolder,
    ScratchOptions,
    Setting,
)
from stanch.model.errors import SetupError

StopMode = Literal["smart", "fast", "immediate"]

START_TIMEOUT_S = 60
LEAVING_S_MAX = 15.0
STILL_LEAVING = ('lock file "postmaster.pid" already exists', "pre-existing shared memory block")
"""What a server says that is started while a killed one's processes are still leaving."""

# Below the range that Linux and macOS hand to outgoing connections: a port from that range can be
# taken by any client while the server is down, and then the server does not come back.
PORTS = range(20_000, 32_000)
PORT_TRIES = 5

SINGLE_USER_SQL = (
    "CREATE ROLE app LOGIN",
    "CREATE ROLE stanch_watch LOGIN IN ROLE pg_monitor",
    "CREATE ROLE stanch_act LOGIN IN ROLE pg_monitor, pg_signal_backend",
    "CREATE DATABASE app OWNER app",
)


class ScratchServer(ScratchAccess):
    """One throw-away server with the roles `app`, `stanch_watch` and `stanch_act`.

    Use it as a context manager: entering starts it, leaving removes everything, also after it was
    killed, paused, filled up or only half made.
    """

    def __init__(self, folder: ScratchFolder, binaries: Binaries, options: ScratchOptions) -> None:
        self.folder = folder
        self.binaries = binaries
        self.options = options
        self.settings = {
            **BASE_CONF,
            "port": free_port(),
            "unix_socket_directories": str(folder.sockets),
            "log_directory": str(folder.log.parent),
            **options.conf,
        }
        self.passwords = {}
        self._hba_first: tuple[str, ...] = ()
        self.signalled_at: datetime | None = None
        """When `kill` or `pause` last sent its signal: the moment the server broke."""
        self._has_run = False
        self._shared_memory: set[Path] = set()
        self._segments: set[tuple[str, str]] = set()

    @classmethod
    def create(
        cls,
        binaries: Binaries | None = None,
        *,
        options: ScratchOptions | None = None,
        template: ScratchServer | None = None,
    ) -> Self:
        """A new server, not yet started; copied from a stopped `template` where one is given.

        A copy keeps the template's programs, passwords, WAL segment size and system identifier.
        Cost: about 1 s by initdb, 0.1 s by copy.
        Raises: SetupError when this machine has no server programs or cannot make what was asked.
        """
        options = options or ScratchOptions()
        user = server_user()
        folder = scratch_folder.make_folder(options, user)
        try:
            wanted = template.binaries if template else binaries or find_binaries()
            server = cls(folder, reachable_binaries(wanted, user, into=folder.path), options)
            server._fill(template)
        except BaseException:
            folder.remove()
            raise
        return server

    def start(
        self, *, timeout_s: int = START_TIMEOUT_S, leaving_s_max: float = LEAVING_S_MAX
    ) -> None:
        """Start the server and wait until it takes connections; nothing happens when it runs.

        Right after a kill the old children still hold the lock file and shared memory: retried
        for `leaving_s_max`.
        Raises: SetupError with the end of the server log.
        """
        ports_left = 0 if self._has_run else PORT_TRIES
        end = time.monotonic() + leaving_s_max
        while self.postmaster_pid() is None:
            said = self._launch(timeout_s)
            if said is None:
                break
            if "could not bind" in said and ports_left:
                ports_left -= 1
                self.set_conf({"port": free_port()})
            elif any(words in said for words in STILL_LEAVING) and time.monotonic() < end:
                time.sleep(0.1)
            else:
                raise SetupError(
                    f"the server did not start:\n{said[-3000:].strip()}",
                    on=str(self.folder.data),
                    hint=f"The whole log is {self.log_path}.",
                )
        self._has_run = True
        self.remember_shared_memory()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and wait; nothing happens when it is down.

        Raises: SetupError when it does not stop within a minute.
        """
        if self.postmaster_pid() is None:
            return
        self.resume()
        self._stop(mode)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start again."""
        self.stop(mode)
        self.start()

    def kill(self) -> int:
        """SIGKILL the postmaster, as the OOM killer would; answers its PID once it is dead.

        Its children notice and leave on their own, a moment later.
        """
        self.remember_shared_memory()
        dead = frozenset({psutil.STATUS_DEAD, psutil.STATUS_ZOMBIE})
        return self._signal_postmaster(signal.SIGKILL, dead)

    def pause(self) -> int:
        """SIGSTOP the postmaster: it lets clients connect and never answers them."""
        stopped = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
        return self._signal_postmaster(signal.SIGSTOP, stopped)

    def resume(self) -> None:
        """SIGCONT every process of the server; nothing happens to one that is not paused."""
        scratch_processes.signal_all(self.processes(), signal.SIGCONT)

    def set_conf(self, settings: Mapping[str, Setting]) -> None:
        """Add or replace settings; a running server reloads (some settings need `restart()`)."""
        self.settings |= settings
        scratch_folder.write_settings(self.folder, self.settings)
        self._reload()

    def add_hba(self, rule: str) -> None:
        """Put one pg_hba.conf rule before all others; a running server reloads."""
        self._hba_first = (rule, *self._hba_first)
        scratch_folder.write_hba(self.folder, self.options.auth, self._hba_first)
        self._reload()

    def destroy(self) -> None:
        """End the server whatever its state and remove all that it left; safe to repeat."""
        data, user = self.folder.data, self.folder.user
        # Each look is a walk over the process table: no more of them than it takes.
        present = self.processes()
        scratch_processes.signal_all(present, signal.SIGCONT)
        self._remember_shared_memory_of(present)
        # A server that cannot be stopped any more is killed below.
        with suppress(SetupError):
            if self.postmaster_pid() is not None:
                self._stop("immediate")
        if left := self.processes():
            scratch_processes.signal_all(left, signal.SIGKILL)
            scratch_processes.wait_until_gone(data, user, timeout_s=10)
        scratch_processes.remove_shared_memory(self._shared_memory, self._segments, user)
        self.folder.remove()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.destroy()

    def _fill(self, template: ScratchServer | None) -> None:
        folder = self.folder
        if template is None:
            segsize = self.options.wal_segsize_mb
            scratch_folder.fill_by_initdb(folder, self.binaries, wal_segsize_mb=segsize)
        else:
            assert template.postmaster_pid() is None, "the template must be stopped"
            assert template.options.auth == self.options.auth, "a copy keeps its passwords"
            scratch_folder.fill_by_copy(folder, template.folder)
        if self.options.wal_volume_mb is not None:
            scratch_folder.move_wal_to_its_volume(folder)
        scratch_folder.include_settings(folder)
        scratch_folder.write_settings(folder, self.settings)
        scratch_folder.write_hba(folder, self.options.auth)
        if template is None:
            self._make_roles()
        else:
            self.passwords = dict(template.passwords)

    def _make_roles(self) -> None:
        """Roles and the database `app`, in single-user mode: no port, no waiting."""
        statements = list(SINGLE_USER_SQL)
        if self.options.auth != "trust":
            self.passwords = {role: secrets.token_urlsafe(18) for role in ROLES}
            # Version 13 would keep them in the form of its elders, which scram does not take.
            statements += [f"SET password_encryption = '{self.options.auth}'"]
            statements += [
                f"ALTER ROLE {role} PASSWORD '{word}'" for role, word in self.passwords.items()
            ]
        program = self.binaries.program("postgres")
        said = self.folder.must_run(
            [program, "--single", "-D", self.folder.data, "postgres"],
            stdin="".join(f"{statement}\n" for statement in statements),
        )
        if "ERROR:" in said or "FATAL:" in said:
            raise SetupError(
                f"the roles could not be made: {said[-2000:]}", on=str(self.folder.path)
            )

    def _launch(self, timeout_s: int) -> str | None:
        """One attempt to start; None when it worked, else what the server and pg_ctl said."""
        adopt_orphans()
        seen = len(self.log_text())
        command: list[str | Path] = [self.binaries.program("pg_ctl"), "-D", self.folder.data]
        command += ["-l", self.log_path, "-w", "-t", str(timeout_s), "start"]
        if self.options.enter:
            done = self.folder.run_inside(self.options.enter, command)
        else:
            done = self.folder.run(command, timeout_s=timeout_s + 30)
        if done.returncode == 0:
            return None
        return f"{done.stdout}\n{self.log_text()[seen:]}"

    def _stop(self, mode: StopMode) -> None:
        self._pg_ctl("stop", "-m", mode, "-w", "-t", "60")

    def _pg_ctl(self, *arguments: str) -> None:
        self.folder.must_run([self.binaries.program("pg_ctl"), "-D", self.folder.data, *arguments])

    def _reload(self) -> None:
        if self.postmaster_pid() is not None:
            self._pg_ctl("reload")

    def _signal_postmaster(self, number: signal.Signals, reaches: frozenset[str]) -> int:
        pid = self.postmaster_pid()
        assert pid is not None, "the server is not running"
        self.signalled_at = datetime.now(UTC)
        scratch_processes.signal_all([pid], number)
        assert scratch_processes.wait_for_status(pid, reaches), f"{number.name} had no effect"
        return pid

    def remember_shared_memory(self) -> None:
        """Note what must be removed in the end; for callers that end the postmaster themselves."""
        self._remember_shared_memory_of(self.processes())

    def _remember_shared_memory_of(self, pids: Collection[int]) -> None:
        user = self.folder.user
        self._shared_memory |= scratch_processes.shared_memory_files(pids, user)
        self._segments |= scratch_processes.shared_memory_segments(self.folder.data)


def free_port() -> int:
    """A TCP port nobody listens on at this moment."""
    while True:
        port = random.choice(PORTS)  # noqa: S311  spreads neighbours, keeps no secret
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
