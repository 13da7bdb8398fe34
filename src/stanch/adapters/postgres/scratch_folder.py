"""The folder of a scratch server: where everything lies, and how a data directory gets into it.

<folder>/                0711, ours: the server's user may pass through, nobody may list
  scratch.conf           settings, included by postgresql.conf
  data/                  the data directory (with a sized volume: volume/data)
  wal-volume/            pg_wal, when it has a volume of its own
  log/postgresql.log     the server log, start-up messages included
  sock/                  Unix sockets
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from stanch.adapters.postgres.binaries import Binaries
from stanch.adapters.postgres.os_user import OsUser, as_user
from stanch.adapters.postgres.volumes import SizedVolume, mount_sized_volume
from stanch.model.errors import SetupError

Auth = Literal["trust", "scram-sha-256"]
Setting = str | int | float | bool

SOCKET_PATH_BYTES_MAX = 103
"""Size of sun_path less one on macOS; Linux allows four more."""

BASE_CONF: Mapping[str, Setting] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    # A target is thrown away; what must survive power loss is the responder's own store.
    "fsync": False,
    "log_filename": "postgresql.log",
    "log_line_prefix": "%m [%p] %e %q%u@%d ",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchOptions:
    """What a scratch server is to be like."""

    auth: Auth = "trust"
    conf: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    """Settings on top of `BASE_CONF`."""
    data_volume_mb: int | None = None
    """Puts the data directory (and its WAL) on a volume of this size."""
    wal_volume_mb: int | None = None
    """Puts pg_wal on a volume of this size."""
    wal_segsize_mb: int = 16
    parent: Path = Path("/tmp")  # noqa: S108  short, and every OS user may pass through
    enter: tuple[str, ...] = ()
    """A command that starts the server's launcher inside something: a network namespace, a
    control group. It runs as the caller, before privileges are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScratchFolder:
    """Paths of one scratch server and the account that owns the server's part of them."""

    path: Path
    data: Path
    user: OsUser | None
    volumes: tuple[SizedVolume, ...]

    @property
    def log(self) -> Path:
        return self.path / "log" / "postgresql.log"

    @property
    def sockets(self) -> Path:
        return self.path / "sock"

    @property
    def conf(self) -> Path:
        return self.path / "scratch.conf"

    def run(
        self, command: Sequence[str | Path], *, stdin: str = "", timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the server's user, inside the folder, with a clean environment."""
        return subprocess.run(
            [str(part) for part in command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            cwd=self.path,
            env=server_environment(),
            **as_user(self.user),
        )

    def run_inside(
        self, enter: Sequence[str], command: Sequence[str | Path], *, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside something only the caller may enter, then as the server's user."""
        drop: list[str] = []
        if self.user is not None:
            ids = [f"--reuid={self.user.uid}", f"--regid={self.user.gid}"]
            drop = ["setpriv", *ids, "--clear-groups"]
        as_caller = replace(self, user=None)
        return as_caller.run([*enter, *drop, *command], timeout_s=timeout_s)

    def must_run(self, command: Sequence[str | Path], *, stdin: str = "") -> str:
        """Run a program and insist that it succeeds.

        Raises: SetupError with the program's last words.
        """
        done = self.run(command, stdin=stdin)
        if done.returncode != 0:
            name = Path(command[0]).name
            raise SetupError(
                f"{name} failed with status {done.returncode}: {done.stdout[-2000:].strip()}",
                on=str(self.path),
                hint="The program's own words say what it lacked.",
            )
        return done.stdout

    def write_owned(self, path: Path, text: str) -> None:
        """Replace a file of the server, leaving it the server's; never through a link."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        if self.user is not None:
            self.user.own(path)

    def remove(self) -> None:
        """Unmount the volumes and delete the folder; safe to repeat."""
        for volume in reversed(self.volumes):
            volume.unmount()
        shutil.rmtree(self.path, ignore_errors=True)


def make_folder(options: ScratchOptions, user: OsUser | None) -> ScratchFolder:
    """A fresh folder with the volumes asked for, still without a data directory.

    Raises: SetupError where the path is too long for a socket or a volume cannot be made.
    """
    path = Path(tempfile.mkdtemp(prefix="stanch-", dir=options.parent)).resolve()
    volumes: list[SizedVolume] = []
    try:
        path.chmod(0o711)
        if len(os.fsencode(path / "sock" / ".s.PGSQL.65535")) > SOCKET_PATH_BYTES_MAX:
            raise SetupError(
                "the path is too long for a Unix socket",
                on=str(path),
                hint="Choose a parent folder with a shorter path, such as /tmp.",
            )
        for name in ("log", "sock"):
            (path / name).mkdir(mode=0o755)
            (path / name).chmod(0o755)
            if user is not None:
                user.own(path / name)
        if options.data_volume_mb is not None:
            volumes.append(_volume(path / "volume", options.data_volume_mb, user))
        if options.wal_volume_mb is not None:
            volumes.append(_volume(path / "wal-volume", options.wal_volume_mb, user))
    except BaseException:
        for volume in volumes:
            volume.unmount()
        shutil.rmtree(path, ignore_errors=True)
        raise
    home = path / "volume" if options.data_volume_mb is not None else path
    data = home / "data"
    if home == path:
        data.mkdir(mode=0o700)
        if user is not None:
            user.own(data)
    return ScratchFolder(path=path, data=data, user=user, volumes=tuple(volumes))


def fill_by_initdb(folder: ScratchFolder, binaries: Binaries, *, wal_segsize_mb: int) -> None:
    """A brand-new data directory with checksums, UTF-8 and the C locale."""
    folder.must_run(
        [
            binaries.program("initdb"),
            *("-D", folder.data, "-U", "postgres", "-A", "trust", "-k", "-N"),
            *("-E", "UTF8", "--locale=C", f"--wal-segsize={wal_segsize_mb}"),
        ]
    )


def fill_by_copy(folder: ScratchFolder, template: ScratchFolder) -> None:
    """A copy of a stopped server's data directory; its system identifier is copied as well."""
    folder.must_run(["cp", "-Rp", f"{template.data}/.", f"{folder.data}/"])


def move_wal_to_its_volume(folder: ScratchFolder) -> None:
    """Put pg_wal on the WAL volume, with a link in its place."""
    there, here = folder.path / "wal-volume" / "pg_wal", folder.data / "pg_wal"
    folder.must_run(["cp", "-Rp", here, there])
    folder.must_run(["rm", "-r", here])
    folder.must_run(["ln", "-s", there, here])


def write_settings(folder: ScratchFolder, settings: Mapping[str, Setting]) -> None:
    """Write scratch.conf anew, whole or not at all."""
    lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    fresh = folder.conf.with_suffix(".new")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(folder.conf)


def include_settings(folder: ScratchFolder) -> None:
    """Make postgresql.conf read this folder's scratch.conf and no other."""
    path = folder.data / "postgresql.conf"
    kept = [
        line
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.startswith("include = ")
    ]
    folder.write_owned(path, "\n".join([*kept, f"include = {_quoted(str(folder.conf))}"]) + "\n")


def write_hba(folder: ScratchFolder, auth: Auth, first: Sequence[str] = ()) -> None:
    """Write pg_hba.conf: the caller's own rules, then everybody on this machine by `auth`."""
    hosts = ("127.0.0.1/32", "::1/128")
    rules = [f"local {what} all {auth}" for what in ("all", "replication")]
    rules += [f"host {what} all {at} {auth}" for what in ("all", "replication") for at in hosts]
    folder.write_owned(folder.data / "pg_hba.conf", "\n".join([*first, *rules]) + "\n")


def server_environment() -> dict[str, str]:
    """The caller's environment without what would steer a PostgreSQL program."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_")) and name not in {"LANG", "LANGUAGE", "TZ"}
    }
    return kept | {"LC_ALL": "C"}


def _volume(at: Path, size_mb: int, user: OsUser | None) -> SizedVolume:
    volume = mount_sized_volume(at, size_mb=size_mb, owner=user)
    if volume is None:
        cure = "macOS needs hdiutil" if sys.platform == "darwin" else "it takes root and mount"
        raise SetupError(
            "a volume of limited size cannot be made here",
            on=str(at),
            hint=f"Making one failed: {cure}; leave out what needs it.",
        )
    return volume


def _quoted(value: Setting) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    return "'" + value.replace("'", "''") + "'"
