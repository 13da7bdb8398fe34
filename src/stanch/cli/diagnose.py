"""`stanch diagnose DSN`: what is wrong, why, what to do first, and what never to do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from stanch.cli.asking import length_s
from stanch.cli.diagnosis_text import SCHEMA, as_json_text, text_lines
from stanch.cli.dsn import warn_of_password
from stanch.cli.files import write_file
from stanch.diagnose.evidence import Evidence
from stanch.model.diagnosis import Diagnosis, Verdict
from stanch.model.errors import PolicyInvalid, SetupError, StanchError
from stanch.policy.patroni import PatroniSource
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.policy.hosts import HostPolicy

EXIT_CODES = {Verdict.HEALTHY: 0, Verdict.CAUSE: 3, Verdict.RECOVERED: 4, Verdict.UNKNOWN: 5}
MEANINGS = {
    Verdict.HEALTHY: "The server answers and nothing looked at is wrong.",
    Verdict.CAUSE: "At least one cause is likely.",
    Verdict.RECOVERED: "Something was wrong and is over; its cause is named.",
    Verdict.UNKNOWN: "The evidence does not say, or the server is recovering: wait.",
}
EPILOG = "\b\nExit codes:\n" + "\n".join(
    [f"  {code}  {verdict.value:<9} {MEANINGS[verdict]}" for verdict, code in EXIT_CODES.items()]
    + ["  2  usage     The command line is wrong, or the DSN cannot be used."]
)
TIMEOUT_S_MAX = 60.0

DsnOrNothing = Annotated[
    str,
    typer.Argument(
        metavar="[DSN]",
        help="service=orders, postgresql://user@host:5432/orders, or host=… dbname=… pairs.",
        show_default=False,
    ),
]
DataDirectory = Annotated[
    str,
    typer.Option(
        help="The server's data directory on its machine, where it is not found.",
        show_default=False,
    ),
]
LogFile = Annotated[
    str,
    typer.Option(
        help="The server's log file or folder on its machine, where it is not found; of a managed "
        "server, a copy of it on this one."
    ),
]
Host = Annotated[
    str,
    typer.Option(
        metavar="HOST",
        help="How the server's machine is seen, as under `host` in a policy: auto (find out; this "
        "holds where nothing is said), local (it is this one), none, managed (a provider keeps "
        "it), or a mapping for another one, such as 'ssh: {host: db1.example.com}' or "
        "'docker: {container: orders-db}'.",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="A policy that has this server: what it says of host, data directory, log and Patroni "
        "holds where nothing else is said here.",
        show_default=False,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.3,
        max=TIMEOUT_S_MAX,
        help="For gathering all evidence; what is late is shown as missing.",
    ),
]
Since = Annotated[
    str,
    typer.Option(
        help="How far back: what ended before is history. With --recording, when it began.",
    ),
]
Recording = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="A flight recorder's file of this server: what was usual before.",
        show_default=False,
    ),
]
PatroniUrl = Annotated[
    str,
    typer.Option(
        "--patroni",
        metavar="URL",
        help="Patroni's REST API, such as http://10.0.0.5:8008, where it runs the server.",
        show_default=False,
    ),
]
Save = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="Keep the evidence in a file, without secrets and literals, to be judged again.",
        show_default=False,
    ),
]
FromFile = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Judge the evidence of a file instead of asking a server; - is standard input.",
        show_default=False,
    ),
]
Html = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="Write one HTML file that needs nothing beside it.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help=f"Print one JSON object ({SCHEMA}).")]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("diagnose", epilog=EPILOG)(diagnose)


def diagnose(
    dsn: DsnOrNothing = "",
    *,
    data_directory: DataDirectory = "",
    log: LogFile = "",
    host: Host = "",
    config: Config = None,
    timeout_s: Timeout = 2.0,
    since: Since = "15m",
    recording: Recording = "",
    patroni: PatroniUrl = "",
    save: Save = "",
    from_file: FromFile = "",
    html: Html = "",
    as_json: AsJson = False,
) -> None:
    """Say why a server is down, full or stuck. Reads only; needs no configuration."""
    if bool(dsn) == bool(from_file):
        raise typer.BadParameter("a DSN, or --from FILE: one of the two", param_hint="DSN")
    if from_file:
        evidence = _kept(from_file)
    else:
        warn_of_password(dsn)
        look = Look(
            data_directory=data_directory,
            log=log,
            host=_host(host),
            timeout_s=timeout_s,
            recording=recording,
            patroni=PatroniSource(url=patroni) if patroni else None,
            since_s=length_s(since, "--since"),
        )
        evidence = _gathered(dsn, look if config is None else _filled(look, dsn, config))
    found = _judged(evidence)
    if save:
        _save(save, evidence)
    if html:
        _write_page(html, evidence, found)
    if as_json:
        typer.echo(as_json_text(found))
    else:
        typer.echo("\n".join(text_lines(found, colour=sys.stdout.isatty())), color=True)
    raise typer.Exit(EXIT_CODES[found.verdict])


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a server is looked at."""

    data_directory: str
    log: str
    host: HostPolicy | None
    """None: nobody said."""
    timeout_s: float
    recording: str
    patroni: PatroniSource | None
    since_s: float


def _gathered(dsn: str, look: Look) -> Evidence:
    # Here and not above: `stanch --help` need not load the driver.
    from stanch.adapters.hosts.threads import LeavableThreads
    from stanch.service.watched.background import recorded
    from stanch.service.watched.diagnosing import gather_for_dsn

    async def gather() -> Evidence:
        asyncio.get_running_loop().set_default_executor(LeavableThreads())
        onset = datetime.now(UTC) - timedelta(seconds=look.since_s)
        return await gather_for_dsn(
            dsn,
            data_directory=look.data_directory,
            log=look.log,
            host=look.host or "auto",
            deadline_s=look.timeout_s,
            background=recorded(Path(look.recording), onset=onset) if look.recording else None,
            patroni=look.patroni,
        )

    try:
        return replace(asyncio.run(gather()), lookback_s=look.since_s)
    except SetupError as error:
        _refuse(error)


def _judged(evidence: Evidence) -> Diagnosis:
    from stanch.diagnose.rank import diagnose as judge

    return judge(evidence)


def _kept(path: str) -> Evidence:
    from stanch.diagnose.bundle import BYTES_MAX, read_bundle

    try:
        if path == "-":
            content = sys.stdin.buffer.read(BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(BYTES_MAX + 1)
    except OSError as error:
        _refuse(SetupError(f"{path}: {error.strerror}", hint="--from names a file of --save."))
    try:
        return read_bundle(content, on=path).evidence
    except SetupError as error:
        _refuse(error)


def _save(path: str, evidence: Evidence) -> None:
    from stanch import __version__
    from stanch.diagnose.bundle import bundle_bytes

    _write(path, lambda: bundle_bytes(evidence, made_by=__version__), option="--save")


def _write_page(path: str, evidence: Evidence, found: Diagnosis) -> None:
    from stanch.cli.diagnosis_page import diagnosis_page

    _write(path, lambda: diagnosis_page(evidence, found), option="--html")


def _write(path: str, content: Callable[[], str | bytes], *, option: str) -> None:
    try:
        write_file(path, content(), option=option)
    except SetupError as error:
        _refuse(error)
    typer.echo(f"written: {path}", err=True)


def _refuse(error: StanchError) -> NoReturn:
    typer.echo(f"stanch: {printable(str(error))}", err=True)
    if error.hint:
        typer.echo(f"hint: {printable(error.hint)}", err=True)
    raise typer.Exit(2) from error


def _host(given: str) -> HostPolicy | None:
    from stanch.policy.host_text import read_host

    try:
        return read_host(given, option="--host") if given else None
    except SetupError as error:
        _refuse(error)


def _filled(look: Look, dsn: str, config: Path) -> Look:
    """The same look with what the policy says of the server, where nothing was said."""
    from stanch.service.house import read_policy_file
    from stanch.service.watched.noting import target_at

    try:
        target = target_at(read_policy_file(config).current, dsn)
    except (PolicyInvalid, SetupError) as error:
        _refuse(error)
    return replace(
        look,
        host=look.host or target.host,
        data_directory=look.data_directory or target.data_directory,
        log=look.log or target.log,
        patroni=look.patroni or target.patroni,
    )
