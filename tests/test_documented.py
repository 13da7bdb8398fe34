"""Everything an operator can meet has its place in the documents, and nothing else has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pages import ROOT, blocks, headings, pages, table_keys
from stanch.adapters.channels.signature import sign
from stanch.adapters.channels.webhook import message_json
from stanch.cli.diagnose import EXIT_CODES
from stanch.cli.page import commands, commands_page
from stanch.detect.page import rules_page
from stanch.diagnose.catalogue import BY_ID, CAUSES
from stanch.diagnose.page import cause_pages, causes_page
from stanch.model.events import KINDS
from stanch.model.ids import ChannelName, DeliveryId, IncidentId, MessageId
from stanch.model.messages import Delivery, Message, MessageKind
from stanch.model.reach import STATE_MEANINGS
from stanch.model.symptoms import SymptomKind
from stanch.policy.parse import read_policy
from stanch.policy.policy import ACTIONS, DEFAULT_SEVERITY_OF
from stanch.policy.reference import reference
from stanch.policy.schema import json_schema
from stanch.respond.library import shipped_runbooks
from stanch.respond.page import actions_page, runbooks_page
from stanch.review.page import events_page
from stanch.service.metrics import Metrics

PAGES = pages()
COMMANDS = [words for words, _ in commands()]

GENERATED = {
    "docs/actions.md": actions_page,
    "docs/runbooks.md": runbooks_page,
    "docs/causes.md": causes_page,
    "docs/commands.md": commands_page,
    "docs/events.md": events_page,
    "docs/policy.md": reference,
    "docs/rules.md": rules_page,
}


@pytest.mark.parametrize("page", GENERATED, ids=str)
def test_a_page_made_from_the_code_is_what_the_code_says(page: str) -> None:
    assert PAGES[page] == GENERATED[page](), f"{page} is old: make docs"


def test_the_schema_is_what_the_code_says() -> None:
    written = json.loads((ROOT / "docs" / "schemas" / "policy-1.json").read_text("utf-8"))
    assert written == json_schema()


def test_every_symptom_has_a_section_and_back() -> None:
    assert headings(PAGES["docs/rules.md"]) - {"Rules"} == {kind.value for kind in SymptomKind}


def test_the_severities_in_the_table_are_those_that_hold() -> None:
    page = PAGES["docs/rules.md"]
    rows = dict(zip(table_keys(page, 0), table_keys(page, 1), strict=True))
    assert rows.pop("Rule")
    assert {kind: int(rank) for kind, rank in rows.items()} == dict(DEFAULT_SEVERITY_OF)


def test_symptoms_that_the_page_about_them_names_exist() -> None:
    linked = set(re.findall(r"rules\.md#([a-z0-9_]+)", PAGES["docs/symptoms.md"]))
    assert len(linked) >= 5
    assert linked <= {kind.value for kind in SymptomKind}


def test_limits_that_the_symptoms_name_are_settings() -> None:
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGES["docs/symptoms.md"]))
    settings = set(table_keys(PAGES["docs/policy.md"], 0))
    kinds = {kind.value for kind in SymptomKind}
    assert named - kinds - {"pg_terminate_backend"} <= settings


def test_every_cause_has_a_page_that_is_what_the_code_says_and_back() -> None:
    written = {page: text for page, text in PAGES.items() if page.startswith("docs/causes/")}
    assert written == {f"docs/causes/{cause}.md": text for cause, text in cause_pages().items()}


@pytest.mark.parametrize("cause", BY_ID, ids=str)
def test_every_cause_is_in_the_index(cause: str) -> None:
    assert f"| [{cause}](causes/{cause}.md) |" in PAGES["docs/causes.md"]


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_a_section(action: str) -> None:
    assert action in headings(PAGES["docs/actions.md"])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_event_has_a_section(kind: str) -> None:
    assert kind in headings(PAGES["docs/events.md"])


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_a_section(words: str) -> None:
    assert f"stanch {words}" in headings(PAGES["docs/commands.md"])


def section(page: str, heading: str) -> str:
    return PAGES[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_exit_code_of_ping_is_told_once() -> None:
    told = section("docs/commands.md", "stanch ping")
    for state, meaning in STATE_MEANINGS.items():
        assert re.search(rf"(?m)^ *{meaning.exit_code}  {state.value} ", told), state
    codes = [meaning.exit_code for meaning in STATE_MEANINGS.values()]
    assert len(codes) == len(set(codes))


def test_every_exit_code_of_diagnose_is_told() -> None:
    told = section("docs/commands.md", "stanch diagnose")
    for verdict, code in EXIT_CODES.items():
        assert re.search(rf"(?m)^ *{code}  {verdict.value} ", told), verdict


@pytest.mark.parametrize("words", ["init", "check", "grants"])
def test_commands_with_exit_codes_of_their_own_tell_them(words: str) -> None:
    source = (ROOT / "src" / "stanch" / "cli" / f"{words}.py").read_text()
    codes = set(re.findall(r"(?m)^[A-Z_]+ = ([1-9])$", source))
    told = section("docs/commands.md", f"stanch {words}").split("Exit codes:")[1]
    assert codes <= set(re.findall(r"\d+", told))


def test_every_setting_has_a_row() -> None:
    def keys(schema: object) -> set[str]:
        found: set[str] = set()
        if isinstance(schema, dict):
            for name, value in schema.items():
                if name == "properties" and isinstance(value, dict):
                    found |= set(value)
                found |= keys(value)
        elif isinstance(schema, list):
            found = set[str]().union(*map(keys, schema))
        return found

    pages = PAGES["docs/policy.md"] + PAGES["docs/rules.md"] + PAGES["docs/actions.md"]
    mentioned = set(re.findall(r"[\w]+", pages))
    assert keys(json_schema()) <= mentioned


def test_every_metric_has_a_row_and_back() -> None:
    names = set(re.findall(r"(?m)^# HELP (\w+)", Metrics().exposition().decode()))
    made = {name for name in names if not name.endswith("_created")}
    told = {re.sub(r"\{.*\}", "", row) for row in table_keys(PAGES["docs/running.md"])}
    assert {name for name in told if name.startswith("stanch_")} == made


def test_every_runbook_names_causes_that_exist_and_is_named_by_them() -> None:
    for runbook in shipped_runbooks():
        assert set(runbook.causes) <= set(BY_ID)
    named = {cause.runbook for cause in CAUSES if cause.runbook}
    assert named <= {runbook.id for runbook in shipped_runbooks()}


def test_every_example_of_a_policy_is_one() -> None:
    whole = [
        block
        for page, text in PAGES.items()
        for block in blocks(page, text)
        if block.language == "yaml" and block.text.startswith("state_directory:")
    ]
    assert whole
    for block in whole:
        assert read_policy(block.text, file=block.page).errors == (), block.page


def test_actions_in_the_readme_are_actions() -> None:
    [example] = [b for b in blocks("README.md", PAGES["README.md"]) if b.language == "yaml"]
    modes = dict(re.findall(r"(\w+): (act|advise|observe)", example.text))
    assert modes
    assert set(modes) <= set(ACTIONS)


def test_targets_of_make_that_a_page_names_exist_and_each_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", makefile))
    told = set(re.findall(r"(?m)^([a-z][a-z-]*):.*## .+$", makefile))
    named = {m for text in PAGES.values() for m in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", text)}
    assert named >= {"demo", "test", "setup", "lint", "docs"}
    assert named <= targets
    assert told == targets


def test_the_help_lists_every_command_with_a_first_sentence() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "stanch", "--help"], capture_output=True, text=True, check=True
    )
    for words in COMMANDS:
        assert words.split()[0] in asked.stdout
    for _, command in commands():
        assert (command.help or "").strip().splitlines()[0].endswith("."), command.name


A_MESSAGE = Message(
    id=MessageId("m"),
    incident_id=IncidentId("20260301-001"),
    kind=MessageKind.PAGE,
    subject="s",
    short="s",
    body="b",
    thread="t",
)
A_DELIVERY = Delivery(id=DeliveryId("d"), message_id=A_MESSAGE.id, channel=ChannelName("hook"))


def test_every_field_of_the_webhook_has_a_row_and_back() -> None:
    posted = json.loads(message_json(A_MESSAGE, A_DELIVERY, sent_at=datetime.now(UTC)))
    rows = table_keys(PAGES["docs/webhook.md"].split("| Field |")[1])
    assert {row for row in rows if row.islower()} == set(posted)


def test_the_check_that_the_page_gives_to_receivers_is_right() -> None:
    [code] = [b for b in blocks("w", PAGES["docs/webhook.md"]) if b.language == "python"]
    given: dict[str, Any] = {}
    exec(code.text, given)
    is_from_stanch, now = given["is_from_stanch"], int(time.time())
    header = sign(b"secret", sent_at_unix=now, body=b"{}")
    assert is_from_stanch(header, b"{}", b"secret")
    assert is_from_stanch(f"{header},v1={'0' * 64}", b"{}", b"secret")
    assert not is_from_stanch(header, b"{ }", b"secret")
    assert not is_from_stanch(header, b"{}", b"another")
    assert not is_from_stanch(sign(b"secret", sent_at_unix=now - 301, body=b"{}"), b"{}", b"secret")


def demo_says(option: str) -> str:
    asked = [sys.executable, "-m", "stanch.drill.demo", option]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def test_every_option_of_the_demonstration_has_a_row_and_back() -> None:
    offered = set(re.findall(r"(?m)^\s+(?:-\w, )?(--[\w-]+)", demo_says("--help"))) - {"--help"}
    told = {row.split()[0] for row in table_keys(PAGES["docs/demo.md"]) if row.startswith("--")}
    assert told == offered


def test_every_act_of_the_demonstration_has_a_row() -> None:
    listed = demo_says("--list")
    acts = [row for row in table_keys(section("docs/demo.md", "The acts")) if row != "Act"]
    assert len(acts) == 6
    assert [act for act in acts if act not in listed] == []


def test_the_glossary_is_sorted_and_says_each_word_once() -> None:
    words = table_keys(PAGES["docs/GLOSSARY.md"])[1:]
    assert words == sorted(set(words), key=str.casefold)


def test_the_changelog_opens_each_release_with_a_paragraph() -> None:
    for release in re.split(r"(?m)^## ", PAGES["CHANGELOG.md"])[1:]:
        first = release.split("\n\n")[1]
        assert len(first) > 80
        assert not first.startswith(("#", "-"))


def test_the_licence_is_the_whole_one() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert Path(ROOT, "pyproject.toml").read_text().count('license = "Apache-2.0"') == 1
