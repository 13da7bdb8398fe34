"""Servers that a provider keeps: what of the evidence is not there by nature, and where it is told.

A provider is known by the server's name, by the role that initdb made, or because somebody says so.
That role is the one that owns the cluster: no dump brings it along, as it does `rds_superuser`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.diagnosis import Finding, Missing, not_there


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One managed service: where it shows and changes what elsewhere a machine would."""

    name: str
    domains: tuple[str, ...] = ()
    """Names of its servers end in one of these; a star stands for one part of a name."""
    owners: tuple[str, ...] = ()
    """Names of the role that owns the cluster."""
    events: str = "the service's events in its provider's console"
    log: str = "the log in its provider's console, or the log export that was set up"
    metrics: str = "the provider's metrics (storage, memory, processors)"
    settings: str = "the parameters of the service"
    storage: str = "the storage of the service"
    access: str = "the addresses that the service lets in"
    support: str = "the provider's support"


ANY_PROVIDER = "managed"
PROVIDERS: Mapping[str, Provider] = {
    "rds": Provider(
        name="Amazon RDS or Aurora",
        domains=("rds.amazonaws.com", "rds.*.amazonaws.com.cn"),
        owners=("rdsadmin",),
        events="the events of the instance (`aws rds describe-events`)",
        log="the log files of the instance (`aws rds download-db-log-file-portion`), or CloudWatch "
        "Logs where they are exported",
        metrics="CloudWatch (FreeStorageSpace, FreeableMemory, CPUUtilization) and Enhanced "
        "Monitoring",
        settings="its parameter group",
        storage="its allocated storage, or storage autoscaling",
        access="its security groups",
        support="AWS support",
    ),
    "cloudsql": Provider(
        name="Google Cloud SQL",
        domains=("sql.goog",),
        owners=("cloudsqladmin",),
        events="the operations of the instance (`gcloud sql operations list`)",
        log="Cloud Logging (log name cloudsql.googleapis.com/postgres.log)",
        metrics="Cloud Monitoring (disk, memory and CPU utilization of the instance)",
        settings="its database flags",
        storage="its storage size, or automatic storage increase",
        access="its authorized networks",
        support="Google Cloud support",
    ),
    "alloydb": Provider(
        name="Google AlloyDB",
        owners=("alloydbadmin",),
        events="the operations of the cluster (`gcloud alloydb operations list`)",
        log="Cloud Logging (the instance's postgres.log)",
        metrics="Cloud Monitoring and the system insights of the instance",
        settings="its database flags",
        storage="the storage quota of the cluster",
        access="its network settings",
        support="Google Cloud support",
    ),
    "azure": Provider(
        name="Azure Database for PostgreSQL",
        domains=(
            "postgres.database.azure.com",
            "postgres.database.chinacloudapi.cn",
            "postgres.database.usgovcloudapi.net",
            "postgres.cosmos.azure.com",
        ),
        owners=("azuresu", "azure_superuser"),
        events="its resource health and activity log",
        log="its logs in the portal, or Log Analytics where diagnostic settings send them "
        "(category PostgreSQLLogs)",
        metrics="Azure Monitor (storage percent, memory percent, CPU percent, IOPS)",
        settings="its server parameters",
        storage="its storage size, or storage autogrow",
        access="its firewall rules",
        support="Azure support",
    ),
    "aiven": Provider(
        name="Aiven for PostgreSQL",
        domains=("aivencloud.com",),
        events="the event log of the project",
        log="the logs of the service, or its log integration",
        metrics="the metrics of the service",
        settings="its advanced configuration",
        access="its allowed IP addresses",
        support="Aiven support",
    ),
    "digitalocean": Provider(
        name="DigitalOcean Managed PostgreSQL",
        domains=("db.ondigitalocean.com",),
        log="the logs of the cluster, or its log forwarding",
        access="its trusted sources",
        support="DigitalOcean support",
    ),
    "neon": Provider(
        name="Neon",
        domains=("neon.tech",),
        owners=("cloud_admin",),
        events="the operations of the project",
        metrics="the monitoring page of the project",
        settings="the settings of its compute",
        access="its IP allow list",
        support="Neon support",
    ),
    "supabase": Provider(
        name="Supabase",
        domains=("supabase.co", "supabase.com"),
        events="the status and the reports of the project",
        log="the Postgres logs of the project",
        metrics="the database reports of the project",
        settings="the database settings of the project",
        access="its network restrictions",
        support="Supabase support",
    ),
    ANY_PROVIDER: Provider(name="a managed service"),
}

OF_THE_MACHINE = (
    "log",
    "control",
    "lock_file",
    "processes",
    "volumes",
    "kernel",
    "place",
    "files",
)
"""Fields of the evidence that come from a machine, and from nowhere else."""


def provider_of_name(host: str) -> str:
    """The provider whose domain a server's name is in; empty: none that is known."""
    name = host.lower().rstrip(".")
    return next(
        (
            key
            for key, provider in PROVIDERS.items()
            if any(_is_in(name, domain) for domain in provider.domains)
        ),
        "",
    )


def _is_in(name: str, domain: str) -> bool:
    labels, wanted = name.split("."), domain.split(".")
    if len(labels) <= len(wanted):
        return False
    last = labels[-len(wanted) :]
    return all(want in ("*", label) for want, label in zip(wanted, last, strict=True))


def provider_of(evidence: Evidence) -> Provider | None:
    """Who keeps the server; None: nobody known to, or its machine was read."""
    if not isinstance(evidence.place, Missing):
        return None
    figures = value_of(evidence.figures)
    owner = figures.of("cluster_owner") if figures else None
    told = owner.detail if owner is not None else ""
    by_owner = next((p for p in PROVIDERS.values() if told and told in p.owners), None)
    return by_owner or PROVIDERS.get(evidence.managed)


def without_machine(evidence: Evidence) -> Evidence:
    """Where a provider keeps the server, what nobody can read is not missed."""
    if provider_of(evidence) is None:
        return evidence
    nobody: dict[str, Any] = {
        name: not_there(name)
        for name in OF_THE_MACHINE
        if isinstance(getattr(evidence, name), Missing)
    }
    return replace(evidence, **nobody)


def by_nature(evidence: Evidence) -> tuple[Finding, ...]:
    """The classes of evidence that are not there, and where the provider shows them instead."""
    provider = provider_of(evidence)
    if provider is None:
        return ()
    told = (
        (("log",), "server log", f"{provider.name} keeps it: see {provider.log}"),
        (
            ("processes", "volumes", "kernel"),
            "machine",
            f"nobody but {provider.name} sees it: space, memory and load are in {provider.metrics}",
        ),
        (
            ("control", "lock_file", "files"),
            "control file",
            f"out of reach there, as is the lock file: what happened to the server is in "
            f"{provider.events}",
        ),
    )
    return tuple(
        Finding(evidence=what, text=text)
        for fields, what, text in told
        if all(isinstance(getattr(evidence, name), Missing) for name in fields)
    )
