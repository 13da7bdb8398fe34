"""Who starts a target's server: from what the policy says and what was found on this machine."""

from __future__ import annotations

import re

from stanch.adapters.hosts.manager import PgCtl, PgCtlCluster
from stanch.adapters.hosts.rivals import units_naming
from stanch.adapters.hosts.systemd import Systemd
from stanch.adapters.hosts.unit_state import is_unit_name
from stanch.adapters.services.patroni_manager import PatroniManager
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer
from stanch.model.host import ServerManager as Kind
from stanch.model.ports.acting import ServerManager
from stanch.policy.policy import TargetPolicy

_DEBIAN_UNIT = re.compile(r"postgresql@(?P<version>\d+)-(?P<cluster>.+)\.service")


def manager_of(
    target: TargetPolicy, server: LocalServer, *, data_directory: str
) -> ServerManager | Missing:
    """The manager that is asked to start this server, or why there is none to ask.

    Never: guesses. A server in the care of something Stanch does not speak to has no manager here.
    """
    if target.manager == "none":
        return Missing(what="manager", reason="the policy says none")
    log = target.log or _value(server.log_path)
    cluster = _cluster(server)
    if cluster is not None and target.manager in ("auto", "pg_ctlcluster"):
        version, name = cluster
        return PgCtlCluster(
            version=version, cluster=name, data_directory=data_directory, log_file=log
        )
    if target.manager == "pg_ctlcluster":
        return Missing(what="manager", reason="no Debian cluster has this data directory")
    if target.manager == "patroni" or (target.manager == "auto" and server.manager is Kind.PATRONI):
        return _patroni(target, server, data_directory)
    if target.manager == "systemd" or (target.manager == "auto" and server.manager in _UNITS):
        unit = _unit(server, data_directory)
        if unit or target.manager == "systemd":
            return _systemd(target, unit, data_directory=data_directory, log=log)
    if target.manager == "auto" and server.manager is not Kind.PG_CTL:
        words = {Kind.UNKNOWN: "nobody is known to manage it"}
        reason = words.get(server.manager, f"{server.manager.value} manages it")
        return Missing(what="manager", reason=f"{reason} ({server.manager_source})")
    programs = target.bin_directory or _value(server.bin_dir)
    if not programs:
        return Missing(what="manager", reason="pg_ctl of this server was not found")
    return PgCtl(data_directory=data_directory, bin_directory=programs, log_file=log)


_UNITS = frozenset({Kind.SYSTEMD, Kind.PG_CTL, Kind.UNKNOWN})
"""With these a unit may be behind it: that of a server which is down does not show."""


def _unit(server: LocalServer, data_directory: str) -> tuple[str, ...]:
    """Its unit, or all that may be it."""
    if server.manager is Kind.SYSTEMD:
        return (server.manager_name,)
    return units_naming(data_directory)


def _systemd(
    target: TargetPolicy, units: tuple[str, ...], *, data_directory: str, log: str
) -> Systemd | Missing:
    if len(units) != 1 or not is_unit_name(units[0]):
        named = ", ".join(units) or "no unit"
        reason = f"which systemd unit it has cannot be told ({named} names {data_directory})"
        return Missing(what="manager", reason=reason)
    return Systemd(
        unit=units[0],
        data_directory=data_directory,
        log_file=log,
        trusted=target.manager == "systemd",
    )


def _patroni(
    target: TargetPolicy, server: LocalServer, data_directory: str
) -> PatroniManager | Missing:
    if target.patroni is None:
        reason = f"patroni manages it ({server.manager_source}), and `patroni` does not say where"
        return Missing(what="manager", reason=reason)
    return PatroniManager(target.patroni, data_directory=data_directory)


def _cluster(server: LocalServer) -> tuple[str, str] | None:
    if server.manager is Kind.PG_CTLCLUSTER:
        version, _, name = server.manager_name.partition("/")
        return version, name
    unit = _DEBIAN_UNIT.fullmatch(server.manager_name)
    if server.manager is Kind.SYSTEMD and unit is not None:
        return unit["version"], unit["cluster"]
    return None


def _value(found: Found | Missing) -> str:
    return found.value if isinstance(found, Found) else ""
