"""A server on another machine, as far as packets are concerned: in a network namespace."""

from __future__ import annotations

import ipaddress
import subprocess
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.scratch import PORTS
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig

PROGRAMS = ("ip", "iptables", "nsenter")

NETWORK = ipaddress.IPv4Address("198.18.0.0")
"""Set aside for measuring one's own network devices (RFC 2544): nobody is reached there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FarMachine:
    """Entering makes it and the link to it, leaving removes both."""

    number: int
    """A port of this machine: no two servers have the same."""

    @property
    def name(self) -> str:
        return f"lab{self.number}"

    @property
    def here(self) -> str:
        """This end of the link."""
        return str(NETWORK + 4 * (self.number - PORTS.start) + 1)

    @property
    def address(self) -> str:
        """The far end, where the server listens."""
        return str(NETWORK + 4 * (self.number - PORTS.start) + 2)

    @property
    def link(self) -> str:
        """The network device on this side."""
        return f"{self.name}o"

    @property
    def enter(self) -> tuple[str, ...]:
        """The command that runs another one there. Not `ip netns exec`, which hides mounts."""
        return ("nsenter", f"--net=/var/run/netns/{self.name}")

    def there(self, *command: str) -> None:
        """Run a command on the far machine. Raises: NotMade."""
        run(*self.enter, *command)

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.name)
        try:
            self._connect()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _connect(self) -> None:
        name, inner = self.name, f"{self.name}i"
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", name)
        run("ip", "addr", "add", f"{self.here}/30", "dev", self.link)
        run("ip", "link", "set", self.link, "up")
        run("ip", "-n", name, "addr", "add", f"{self.address}/30", "dev", inner)
        run("ip", "-n", name, "link", "set", inner, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for command in (("ip", "link", "del", self.link), ("ip", "netns", "del", self.name)):
            subprocess.run(command, check=False, capture_output=True)


def far_machine(rig: Rig) -> FarMachine:
    """Where `move_away` has put the rig's server."""
    return FarMachine(number=rig.server.port)


def move_away(rig: Rig) -> None:
    """Start the server on a machine of its own, and have everybody use its address there."""
    server = rig.server
    far = rig.enter(far_machine(rig))
    server.stop()
    server.add_hba(f"host all all {far.here}/32 {server.options.auth}")
    server.set_conf({"listen_addresses": "*"})
    server.options = replace(server.options, enter=far.enter)
    server.start()
    rig.dsn = make_conninfo(rig.dsn, host=far.address)
    rig.way |= {"host": far.address}


def run(*command: str) -> None:
    """Run a command of this machine. Raises: NotMade."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise NotMade(f"{' '.join(command)}: {done.stderr.strip()}")
