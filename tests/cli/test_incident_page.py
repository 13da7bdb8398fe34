"""An incident as a file for somebody else: the page to read, the evidence to judge again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cases import ALL
from stanch.cli.app import command_line
from stanch.diagnose.evidence import Evidence, to_bytes
from stanch.diagnose.rank import diagnose
from stanch.model import events as e
from stanch.model.errors import StanchError
from stanch.model.ids import CauseId, IncidentId
from stanch.model.memory import PastIncident
from stanch.service.house import open_store, read_policy_file
from stanch.service.record.book import Book
from timelines import ORDERS, T0, opened

BLOCKED = ALL["ddl_lock_queue"]
MARKUP = "<script>alert(1)</script>\x1b[2J"


class OneMoment:
    def now(self) -> datetime:
        return T0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "stanch.yaml"
    path.write_text(
        f"""
state_directory: {tmp_path / "state"}
people: {{ann: {{name: Ann, contacts: []}}}}
ladder: [ann]
channels: {{screen: {{type: terminal}}}}
targets: {{orders: {{dsn: service=orders}}}}
"""
    )
    return path


def kept(config: Path, evidence: Evidence | None, *more: e.Event) -> IncidentId:
    """An incident in the store of a responder that has ended."""

    async def write() -> IncidentId:
        store = open_store(read_policy_file(config), threaded=False)
        try:
            book = Book(store, OneMoment())
            made = await book.open((opened(title=f"server down {MARKUP}"),))
            if evidence is not None:
                blob = await store.put_blob(to_bytes(evidence))
                found = e.DiagnosisRecorded(diagnosis=diagnose(evidence), evidence=blob)
                await book.record(made.id, found)
            for event in more:
                await book.record(made.id, event)
            return made.id
        finally:
            await store.close()

    return asyncio.run(write())


def typed(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(command_line(), [*words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def show(config: Path, tmp_path: Path) -> Callable[[IncidentId, str], str]:
    def written(incident: IncidentId, option: str) -> str:
        file = tmp_path / f"out{option}"
        code, _, err = typed("show", incident, option, str(file), "--config", str(config))
        assert (code, f"written: {file}" in err) == (0, True)
        return file.read_text(encoding="utf-8")

    return written


def test_the_page_holds_cause_evidence_and_timeline_and_runs_nothing(
    config: Path, show: Callable[[IncidentId, str], str]
) -> None:
    text = show(kept(config, BLOCKED), "--html")
    first = diagnose(BLOCKED).first
    assert first is not None
    assert all(word in text for word in (first.id, "Speaks for it", "Timeline", "P0"))
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "\x1b" not in text


def test_the_page_of_an_incident_nobody_looked_at_says_so(
    config: Path, show: Callable[[IncidentId, str], str]
) -> None:
    text = show(kept(config, None), "--html")
    assert "Nobody has looked yet." in text
    assert "Speaks for it" not in text


def test_what_was_seen_before_is_on_the_page_and_on_the_screen(
    config: Path, show: Callable[[IncidentId, str], str]
) -> None:
    before = PastIncident(
        id=IncidentId("20260201-004"),
        target=ORDERS,
        title="server down",
        cause=CauseId("killed"),
        likeness=0.9,
        opened_at=T0,
        took_s=240.0,
        fixed_by=f"people ({MARKUP})",
    )
    noted = e.PastNoted(cause=CauseId("killed"), incidents=(before,))
    incident = kept(config, BLOCKED, noted)
    told = "20260201-004 on orders, killed: over after 4 min, ended by people ("
    assert told in show(incident, "--html")
    _, out, _ = typed("show", incident, "--config", str(config))
    assert f"    {told}" in out
    assert "\x1b" not in out


def test_evidence_of_an_incident_is_judged_the_same_by_a_colleague(
    config: Path, show: Callable[[IncidentId, str], str], tmp_path: Path
) -> None:
    show(kept(config, BLOCKED), "--save")
    _, out, _ = typed("diagnose", "--from", str(tmp_path / "out--save"), "--json")
    ours = diagnose(BLOCKED)
    theirs = json.loads(out)
    assert (theirs["verdict"], theirs["causes"][0]["id"]) == (ours.verdict, ours.causes[0].id)


def test_without_evidence_nothing_is_saved_and_the_hint_says_what_to_do(
    config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "evidence.json"
    with pytest.raises(StanchError, match="nobody has looked") as told:
        typed("show", kept(config, None), "--save", str(file), "--config", str(config))
    assert "stanch diagnose" in told.value.hint
    assert not file.exists()


def test_an_address_that_is_no_page_becomes_no_link(config: Path) -> None:
    from stanch.cli.incident_page import incident_page

    found = {
        **json.loads(typed("show", kept(config, None), "--json", "--config", str(config))[1]),
        "links": [
            {"name": "board", "url": "https://board.example.com/a?b=1&c=2"},
            {"name": "trap", "url": "javascript:alert(1)"},
        ],
    }
    text = incident_page(found, None, "nobody has looked yet")
    assert '<a href="https://board.example.com/a?b=1&amp;c=2"' in text
    assert 'href="javascript' not in text


@pytest.mark.parametrize("case", sorted(ALL))
def test_every_kind_of_evidence_makes_a_page(case: str, config: Path) -> None:
    from stanch.cli.diagnosis_page import diagnosis_page

    evidence = replace(ALL[case], target=ORDERS)
    assert "</html>" in diagnosis_page(evidence, diagnose(evidence))
