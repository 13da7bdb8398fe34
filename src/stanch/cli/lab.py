"""`stanch lab`: break a throw-away server, or one that its owner allowed it on, and heal it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.cli.asking import length_s
from stanch.cli.reaching import JsonOption
from stanch.model.errors import SetupError
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.drill.lab.broken import Brokens
    from stanch.drill.lab.fault import Fault

SCHEMA = "stanch.lab/1"
HELD_DAYS_MAX = 1

FaultArgument = Annotated[
    str, typer.Argument(metavar="FAULT", help="An id of `stanch lab faults`.", show_default=False)
]
StagingOption = Annotated[
    str,
    typer.Option(
        "--staging",
        metavar="DSN",
        help="Not a throw-away server: this one, which has to be on the list of --allow.",
        show_default=False,
    ),
]
AllowOption = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="The staging servers on which faults may be made, and until when.",
        show_default=False,
    ),
]
ForOption = Annotated[
    str, typer.Option("--for", help="It heals by itself after so long, such as 10m.")
]
SeedOption = Annotated[
    int, typer.Option(help="The same number makes the same fault; 0: another each time.")
]
MajorOption = Annotated[int, typer.Option(help="Version of the throw-away server; 0: the newest.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    lab = typer.Typer(
        help="Break a server on purpose: for game days, and to see what would be said.",
        no_args_is_help=True,
    )
    lab.command("faults")(faults)
    lab.command("break")(break_)
    lab.command("heal")(heal)
    app.add_typer(lab, name="lab")


def faults(
    staging: Annotated[
        bool, typer.Option("--staging", help="Only those that may be made on a staging server.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the faults by what they break, with what each of them is."""
    from stanch.drill.lab.catalogue import BY_ID

    chosen = [fault for fault in BY_ID.values() if fault.on_staging or not staging]
    if as_json:
        body = {"schema": SCHEMA, "faults": [_as_json(fault) for fault in chosen]}
        typer.echo(json.dumps(body, indent=1))
        return
    typer.echo("\n".join(_listed(chosen)))


def _as_json(fault: Fault) -> dict[str, Any]:
    return {
        "id": fault.id,
        "area": fault.area.value,
        "story": fault.story,
        "causes": list(fault.causes),
        "staging": fault.on_staging,
        "needs": {
            "root": fault.needs.root,
            "programs": list(fault.needs.programs),
            "standby": fault.needs.standby,
            "major_min": fault.needs.major_min,
        },
    }


def _listed(chosen: list[Fault]) -> Iterator[str]:
    from stanch.drill.lab.fault import Area

    width = max((len(fault.id) for fault in chosen), default=0)
    for area in Area:
        mine = [fault for fault in chosen if fault.area is area]
        if mine:
            yield typer.style(area.value, bold=True)
            yield from (f"  {fault.id:<{width}}  {fault.story}" for fault in mine)


def break_(
    fault: FaultArgument,
    *,
    staging: StagingOption = "",
    allow: AllowOption = "",
    held_for: ForOption = "10m",
    seed: SeedOption = 0,
    major: MajorOption = 0,
) -> None:
    """Make one fault and hold it until Enter, Ctrl-C, `stanch lab heal` or the end of --for.

    Without --staging the server is a throw-away one, made for this and removed afterwards.
    """
    from stanch.drill.lab.fault import NotMade

    if bool(staging) != bool(allow):
        raise typer.BadParameter("--staging and --allow belong together", param_hint="--allow")
    seconds = length_s(held_for, "--for", days_max=HELD_DAYS_MAX)
    chosen = _fault(fault)
    seed = seed or secrets.randbelow(2**31) + 1
    with _ending() as ended:
        try:
            if staging:
                _on_staging(chosen, staging, allow, seed=seed, wait=_Wait(ended, seconds))
            else:
                _throw_away(chosen, major=major, seed=seed, wait=_Wait(ended, seconds))
        except NotMade as error:
            raise SetupError(f"not made: {error}", on=chosen.id) from error
        except KeyboardInterrupt:
            pass
    typer.echo("healed", err=True)


class _Wait:
    """Holds what was broken until somebody or something says that it is enough."""

    def __init__(self, ended: threading.Event, seconds: float) -> None:
        self._ended, self._seconds = ended, seconds

    def __call__(self) -> None:
        if sys.stdin.isatty():
            typer.echo("Enter heals it.", err=True)
            threading.Thread(target=self._read, daemon=True).start()
        self._ended.wait(self._seconds)

    def _read(self) -> None:
        sys.stdin.readline()
        self._ended.set()


@contextmanager
def _ending() -> Generator[threading.Event]:
    """SIGTERM ends in order, as Ctrl-C does: what was broken is healed."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


def _throw_away(fault: Fault, *, major: int, seed: int, wait: _Wait) -> None:
    from stanch.adapters.postgres.binaries import find_binaries
    from stanch.drill.lab.breaking import throw_away

    binaries = find_binaries(major) if major else find_binaries()
    typer.echo(f"making PostgreSQL {binaries.version} with an application on it ...", err=True)
    with throw_away(fault, binaries, _brokens(), seed=seed) as told:
        typer.echo(f"{fault.story}\n")
        typer.echo(f"server   {told.dsn}")
        if told.standby_dsn:
            typer.echo(f"standby  {told.standby_dsn}")
        typer.echo(f"data     {told.data_directory}")
        if told.container:
            typer.echo(f"docker   {told.container}")
        typer.echo(f"log      {told.log or 'that of the container'}\nseed     {seed}\n")
        asked = told.standby_dsn if fault.seen_on == "standby" else told.dsn
        patroni = f" --patroni {told.patroni}" if told.patroni else ""
        typer.echo(f"    stanch diagnose '{asked}'{patroni}\n    stanch lab heal")
        wait()


def _on_staging(fault: Fault, dsn: str, allow: str, *, seed: int, wait: _Wait) -> None:
    from stanch.cli.dsn import warn_of_password
    from stanch.drill.lab.allowed import read_allow_list
    from stanch.drill.lab.breaking import on_staging

    warn_of_password(dsn)
    allowed = read_allow_list(Path(allow))
    with on_staging(fault, dsn, allowed, _brokens(), seed=seed) as entry:
        typer.echo(f"on {printable(entry.name)}: {fault.story}\nseed     {seed}\n")
        typer.echo("    stanch lab heal")
        wait()


def heal(as_json: JsonOption = False) -> None:
    """End every fault that `stanch lab break` holds, and take away what a killed one left."""
    from stanch.drill.lab.breaking import remove_left

    brokens = _brokens()
    done = [
        {"fault": one.fault, "on": one.on, "became": brokens.heal(one, remove=remove_left)}
        for one in brokens.standing()
    ]
    if as_json:
        typer.echo(json.dumps({"schema": SCHEMA, "healed": done}))
    elif not done:
        typer.echo("nothing is broken")
    for one in () if as_json else done:
        typer.echo(printable(f"{one['fault']} on {one['on']}: {one['became']}"))


def _fault(name: str) -> Fault:
    from stanch.drill.lab.catalogue import BY_ID
    from stanch.policy.reading import nearest

    if name not in BY_ID:
        hint = nearest(name, tuple(BY_ID)) or "`stanch lab faults` lists every fault."
        raise SetupError("no such fault", on=printable(name), hint=hint)
    return BY_ID[name]


def _brokens() -> Brokens:
    from stanch.drill.lab.broken import Brokens

    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Brokens(Path(base).expanduser() / "stanch" / "lab")
