"""The template, the manual and the schema say what the parser does, because one table makes all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stanch.model.ids import ChannelName, PersonId, TargetName
from stanch.model.symptoms import SymptomKind
from stanch.policy.keys import POLICY
from stanch.policy.kinds import yaml_text
from stanch.policy.parse import parse_policy, read_policy
from stanch.policy.policy import Contact, Person, SmtpChannel, TargetPolicy, TerminalChannel
from stanch.policy.reference import EXAMPLE, reference
from stanch.policy.schema import json_schema
from stanch.policy.shapes import Named, OneOf, Section, Variants
from stanch.policy.template import Answers, template

ROOT = Path(__file__).parents[2]

MAIL = Answers(
    state_directory="/var/lib/stanch",
    person=Person(
        id=PersonId("asha"),
        name="Asha Example",
        contacts=(Contact(channel=ChannelName("mail"), address="asha@example.com"),),
    ),
    channel=SmtpChannel(name=ChannelName("mail"), host="localhost", port=2525),
    target=TargetPolicy(name=TargetName("orders"), dsn="host='a b' dbname=x"),
)
NOT_ASKED = (
    "webhook channel",
    "terminal channel",
    "severity",
    "signal source",
    "silence",
    "level",
    "expected heartbeat",
    "mailbox",
    "ssh host",
    "docker host",
    "kubernetes host",
    "prometheus host",
    "bucket",
    "pooler",
    "hook",
    "pool query",
    "pools over HTTP",
    "service",
    "signs in a Prometheus",
    "signs over HTTP",
    "loki",
    "elasticsearch",
    "betterstack",
    "link",
)

TERMINAL = Answers(
    state_directory="/var/lib/stanch",
    person=Person(id=PersonId("ben"), name='Ben: the #1 "DBA" \\ no'),
    channel=TerminalChannel(name=ChannelName("console")),
    target=TargetPolicy(name=TargetName("orders"), dsn="service=orders"),
)


@pytest.mark.parametrize("answers", [MAIL, TERMINAL])
def test_the_template_reads_back_as_the_answers(answers: Answers) -> None:
    policy = parse_policy(template(answers), file="t")
    assert policy.state_directory == answers.state_directory
    assert policy.people == (answers.person,)
    assert policy.channels == (answers.channel,)
    assert policy.targets == (answers.target,)
    assert policy.ladder == (answers.person.id,)


def uncommented(text: str, *, examples: bool) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        is_key = re.match(r"\s*# ", line) is not None
        if is_key and (examples or not line.endswith("# for example")):
            lines.append(line.replace("# ", "", 1))
        elif not is_key:
            lines.append(line)
    return "\n".join(lines)


def test_the_commented_defaults_are_the_defaults_that_hold() -> None:
    text = template(MAIL)
    # The heartbeat has no default; its `every` has, but only once there is a `url`. So has the
    # canary, once there is an `every`.
    canary = ("    canary:\n", "      deadline: 5s\n", "      table: stanch.canary\n")
    active = uncommented(text, examples=False).replace("heartbeat:\n", "", 1)
    for line in canary:
        assert line in active
        active = active.replace(line, "", 1)
    active = active.replace("  every: 30s\n", "", 1).replace("    free_space:\n", "", 1)
    assert parse_policy(active, file="t") == parse_policy(text, file="t")


def test_every_example_in_the_template_is_accepted() -> None:
    parsed = read_policy(uncommented(template(MAIL), examples=True), file="t")
    # Two examples each need a line that only the reader can decide about.
    assert {f.path for f in parsed.errors} <= {"channels.mail.password_file"}


def test_the_template_explains_every_key_of_what_was_asked() -> None:
    text = template(MAIL)
    for section in sections(POLICY):
        if section.title in NOT_ASKED:
            continue
        for key in section.keys:
            assert f"{key.name}:" in text, key.name


def sections(section: Section) -> list[Section]:
    found = [section]
    for key in section.keys:
        if isinstance(key.holds, Section):
            found += sections(key.holds)
        elif isinstance(key.holds, OneOf):
            found += key.holds.by_key.values()
        elif isinstance(key.holds, Named):
            entry = key.holds.entry
            inner = entry.by_type.values() if isinstance(entry, Variants) else [entry]
            for each in inner:
                found += sections(each)
    return found


def test_every_field_of_the_policy_has_a_key() -> None:
    for section in sections(POLICY):
        fields = set(section.make.__dataclass_fields__)
        named = {"name", "id", "rank", "inherited"} if section.title != "severity" else {"rank"}
        assert fields - {key.field for key in section.keys} <= named, section.title


def test_the_manual_page_is_made_from_the_table() -> None:
    page = ROOT / "docs" / "policy.md"
    assert page.read_text("utf-8") == reference()


def test_the_example_of_the_manual_is_a_valid_file() -> None:
    assert read_policy(EXAMPLE.split("```yaml\n")[1].split("```")[0], file="m").findings == ()


def test_the_published_schema_is_made_from_the_table() -> None:
    published = json.loads((ROOT / "docs" / "schemas" / "policy-1.json").read_text("utf-8"))
    assert published == json_schema()


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json.loads(json.dumps(json_schema()))
    target = schema["properties"]["targets"]["additionalProperties"]
    assert target["additionalProperties"] is False
    assert target["required"] == ["dsn"]
    assert "default" not in target["properties"]["page_after"], "it depends on the manager"
    assert target["properties"]["sample_every"]["default"] == "1s"
    assert target["properties"]["limits"]["properties"]["clear_hold"]["default"] == "3s"
    rules = schema["$defs"]["rule"]
    assert rules["additionalProperties"] is False
    assert set(rules["properties"]) == {kind.value for kind in SymptomKind}
    assert "%" in rules["properties"]["connections_high"]["properties"]["limit"]["pattern"]
    kinds = [
        one["properties"]["type"]["const"]
        for one in schema["properties"]["channels"]["additionalProperties"]["oneOf"]
    ]
    assert kinds == ["smtp", "webhook", "terminal"]


@pytest.mark.parametrize(
    "text",
    ["yes", "null", "a: b", " lead", "x # y", "it's", '"q"', "\x1b[0m", "1", "~", "-", "é\n"],
)
def test_text_survives_being_written_as_yaml(text: str) -> None:
    policy = template(
        Answers(
            state_directory="/s",
            person=Person(id=PersonId("p"), name="N"),
            channel=TerminalChannel(name=ChannelName("console")),
            target=TargetPolicy(
                name=TargetName("t"), dsn="service=x", protected_applications=(text,)
            ),
        )
    )
    parsed = read_policy(policy, file="t")
    assert parsed.policy is not None, parsed.findings
    assert parsed.policy.targets[0].protected_applications == (text,)
    assert yaml_text(text).isprintable()
