"""`stanch grants`: the SQL that gives Stanch's roles what they need."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.model.errors import SetupError
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.policy.policy import TargetPolicy
    from stanch.service.readiness.granting import Acting
    from stanch.service.readiness.grants import Grants

READ_DEADLINE_S = 5.0


def register(app: typer.Typer) -> None:
    app.command("grants", epilog="Exit codes: 0 printed, 1 unknown target or unusable policy.")(
        grants_command
    )


def grants_command(
    target: Annotated[
        str, typer.Option(help="Use this target's role names and server version.")
    ] = "",
    only: Annotated[
        str, typer.Option(help="Print one part: watching, acting, rights, or canary (its table).")
    ] = "",
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The policy file.", envvar="STANCH_CONFIG")
    ] = Path("stanch.yaml"),
) -> None:
    """Print the SQL for the watching and the acting role; a superuser runs it with psql.

    With --target, the table of the canary is among it where the policy wants one, and for the
    acting role the right that each action needs which the policy does not merely observe. Nothing
    is run by this command.
    """
    if only not in ("", "watching", "acting", "rights", "canary"):
        raise typer.BadParameter("watching, acting, rights or canary", param_hint="--only")
    made, canary = _for_target(config, target) if target else (_portable(), False)
    parts = {"watching": made.watching, "acting": made.acting}
    if made.rights:
        parts["rights"] = made.rights
    if canary or only == "canary":
        parts["canary"] = made.canary
    typer.echo("\n".join(text for name, text in parts.items() if only in ("", name)), nl=False)


def _portable() -> Grants:
    from stanch.service.readiness.grants import grants

    return grants()


def _for_target(config: Path, name: str) -> tuple[Grants, bool]:
    """With whether the target has a canary."""
    from stanch.service.house import read_policy_file

    policy = read_policy_file(config).current
    found = policy.target(name)
    if found is None:
        known = ", ".join(target.name for target in policy.targets)
        raise SetupError("no such target", on=name, hint=f"Known: {known}.")
    return asyncio.run(_read(found)), found.canary is not None


async def _read(target: TargetPolicy) -> Grants:
    from stanch.service.readiness.grants import ACT_ROLE, WATCH_ROLE, grants
    from stanch.service.readiness.rights import wanted_rights

    watch_role, major = await _role(target.dsn, target, instead=WATCH_ROLE)
    act_role = ACT_ROLE
    if target.acting_dsn:
        act_role, _ = await _role(target.acting_dsn, target, instead=ACT_ROLE)
    if major is None:
        print("note: the server does not let us ask; this SQL fits every version", file=sys.stderr)
    if act_role == watch_role:
        act_role = ACT_ROLE
    made = {"watch_role": watch_role, "act_role": act_role}
    if target.canary is not None:
        made["canary_table"] = target.canary.table
    rights = wanted_rights(target)
    return grants(**made, major=major, rights=rights, places=await _places(target))


async def _places(target: TargetPolicy) -> Acting:
    """Where the rights are needed, as the policy's connection strings and the server say."""
    from stanch.adapters.postgres.conninfo import resolve
    from stanch.adapters.postgres.kept import MAINTENANCE_DATABASE
    from stanch.adapters.postgres.privileges import Rights, read_rights
    from stanch.service.readiness.granting import Acting

    app = resolve(target.app_dsn) if target.app_dsn else None
    own = resolve(target.acting_dsn).dbname if target.acting_dsn else ""
    # Where the acting session goes: there, unless that lets nobody in.
    seen = await read_rights(
        target.dsn, database=MAINTENANCE_DATABASE, parameters=(), deadline_s=READ_DEADLINE_S
    )
    return Acting(
        role="",
        major=None,
        database=MAINTENANCE_DATABASE if isinstance(seen, Rights) else own,
        tables=(app or resolve(target.dsn)).dbname,
        app_role=app.user if app else "",
    )


async def _role(dsn: str, target: TargetPolicy, *, instead: str) -> tuple[str, int | None]:
    """The role a connection string names and the server's version.

    Never the role of a superuser or of the application: these statements limit a role's
    connections and times, which would break whatever else uses it.
    """
    from stanch.adapters.postgres.conninfo import resolve
    from stanch.adapters.postgres.privileges import Privileges, read_privileges

    role = resolve(dsn).user
    taken = {"postgres"} | ({resolve(target.app_dsn).user} if target.app_dsn else set[str]())
    seen = await read_privileges(dsn, deadline_s=READ_DEADLINE_S)
    known = seen if isinstance(seen, Privileges) else None
    if role in taken or (known is not None and known.superuser):
        print(
            f"note: {printable(role)} is not for Stanch alone; this SQL makes {instead} instead",
            file=sys.stderr,
        )
        role = instead
    return role, known.major if known is not None else None
