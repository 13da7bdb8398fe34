"""Real PostgreSQL servers for tests, of every major version found here.

`server`         a started throw-away server, one a test
`make_server`    makes further ones, or ones with options; removed after the test
`shared_server`  one started server a version and test process: for tests that only read
`pg_major`       the version the others have; a test that needs just one of them says
                 `@pytest.mark.parametrize("pg_major", [18], indirect=True)`
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from stanch.adapters.postgres.binaries import Binaries, BinarySource, all_binaries
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import Auth, ScratchOptions, Setting
from stanch.adapters.postgres.volumes import mount_sized_volume

OLDEST_MAJOR = 15
NEWEST_MAJOR = 18
WAL_SEGSIZE_MB = 1
MEMORY_MB = 2048
"""An upper bound; memory is taken only as servers write."""

FETCHED = Path(__file__).parent.parent / ".servers"
"""What `scripts/fetch-servers` brought: initdb, pg_ctl and postgres of more versions."""

BINARIES: dict[int, Binaries] = {}
for _found in all_binaries():
    BINARIES.setdefault(_found.major, _found)
for _folder in FETCHED.glob("*/bin"):
    BINARIES.setdefault(
        int(_folder.parent.name),
        Binaries(
            bin_dir=_folder,
            major=int(_folder.parent.name),
            version=_folder.parent.name,
            source=BinarySource.VERSIONED_FOLDER,
        ),
    )

MAJORS = sorted(
    int(major)
    for major in os.environ.get("STANCH_MAJORS", f"{OLDEST_MAJOR} {NEWEST_MAJOR}").split()
)
"""`make matrix` asks for all; an ordinary run tries two that install anywhere."""

DEBIAN_AS_ROOT = os.geteuid() == 0 and Path("/etc/debian_version").exists()


class MakeServer(Protocol):
    """Makes a started server; keyword arguments are those of `ScratchOptions`."""

    def __call__(
        self,
        *,
        auth: Auth = "trust",
        conf: Mapping[str, Setting] | None = None,
        data_volume_mb: int | None = None,
        wal_volume_mb: int | None = None,
        enter: tuple[str, ...] = (),
    ) -> ScratchServer: ...


class Templates:
    """One stopped server a version and way to log in, made when first asked for."""

    def __init__(self, stack: ExitStack, parent: Path) -> None:
        self._stack = stack
        self.parent = parent
        self._made: dict[tuple[int, Auth], ScratchServer] = {}

    def of(self, major: int, auth: Auth) -> ScratchServer:
        if (major, auth) not in self._made:
            options = ScratchOptions(auth=auth, wal_segsize_mb=WAL_SEGSIZE_MB, parent=self.parent)
            template = ScratchServer.create(BINARIES[major], options=options)
            self._stack.callback(template.destroy)
            self._made[major, auth] = template
        return self._made[major, auth]


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where scratch servers go: memory where it may be mounted, since each is a thousand files."""
    with tempfile.TemporaryDirectory(prefix="stanch-tests-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        memory = mount_sized_volume(Path(name, "m"), size_mb=MEMORY_MB, owner=None)
        if memory is None:
            yield Path(name)
            return
        memory.mount_point.chmod(0o711)
        yield memory.mount_point
        memory.unmount()


@pytest.fixture(scope="session")
def server_templates(servers_folder: Path) -> Iterator[Templates]:
    with ExitStack() as stack:
        yield Templates(stack, servers_folder)


@pytest.fixture(scope="session", params=MAJORS, ids="pg{}".format)
def pg_major(request: pytest.FixtureRequest) -> int:
    major: int = request.param
    if major not in BINARIES:
        found = ", ".join(map(str, BINARIES)) or "none"
        reason = f"no PostgreSQL {major} server here (found: {found}); run scripts/setup-test"
        if DEBIAN_AS_ROOT:
            pytest.fail(reason)
        pytest.skip(reason)
    return major


@pytest.fixture(scope="session")
def shared_server(pg_major: int, server_templates: Templates) -> Iterator[ScratchServer]:
    template = server_templates.of(pg_major, "trust")
    options = ScratchOptions(parent=server_templates.parent)
    with ScratchServer.create(options=options, template=template) as server:
        yield server


@pytest.fixture
def make_server(pg_major: int, server_templates: Templates) -> Iterator[MakeServer]:
    with ExitStack() as stack:

        def make(
            *,
            auth: Auth = "trust",
            conf: Mapping[str, Setting] | None = None,
            data_volume_mb: int | None = None,
            wal_volume_mb: int | None = None,
            enter: tuple[str, ...] = (),
        ) -> ScratchServer:
            options = ScratchOptions(
                auth=auth,
                conf=conf or {},
                data_volume_mb=data_volume_mb,
                wal_volume_mb=wal_volume_mb,
                enter=enter,
                parent=server_templates.parent,
            )
            template = server_templates.of(pg_major, auth)
            return stack.enter_context(ScratchServer.create(options=options, template=template))

        yield make


@pytest.fixture
def server(make_server: MakeServer) -> ScratchServer:
    return make_server()


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder every OS user may enter; pytest's own are private to the caller."""
    with tempfile.TemporaryDirectory(prefix="stanch-test-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)
