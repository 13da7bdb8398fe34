"""Evidence in a file: judged again it says the same, and no secret is in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

import evidences as w
from cases import ALL
from stanch.diagnose.bundle import bundle_bytes, hidden, read_bundle, redacted
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import diagnose
from stanch.model.errors import SetupError

EVIDENCE = {"healthy": w.healthy(), "killed": w.KILLED, "stopped": w.STOPPED, **ALL}


@pytest.mark.parametrize("name", sorted(EVIDENCE))
def test_a_bundle_gives_the_same_verdict(name: str) -> None:
    evidence = EVIDENCE[name]
    again = read_bundle(bundle_bytes(evidence, made_by="9.9"), on="x").evidence
    assert again == redacted(evidence)
    found, before = diagnose(again), diagnose(evidence)
    assert found.verdict is before.verdict
    assert [(c.id, c.probability) for c in found.causes] == [
        (c.id, c.probability) for c in before.causes
    ]


@pytest.mark.parametrize(
    "text",
    [
        "could not connect: postgresql://app:SECRET@db.example.com/shop",
        "invalid option password=SECRET in it",
        "password = 'SECRET' host=db.example.com",
        "syntax error at or near 'SECRET'",
        'token: "SECRET"',
        "Key (email)=(SECRET) already exists.",
        "it''s 'SEC''RET' here SECRE".replace("SECRE", ""),
    ],
)
def test_what_looks_like_a_secret_is_not_in_a_bundle(text: str) -> None:
    assert "SECRET" not in hidden(text)
    assert "SEC''RET" not in hidden(text)
    evidence = w.healthy(log=w.log(w.line("out_of_memory", 5, text)), reach=w.reach("up", text))
    assert b"SECRET" not in bundle_bytes(evidence, made_by="9.9")


@pytest.mark.parametrize("text", ['relation "orders" does not exist', "pid 77, role app", "5 of 9"])
def test_what_somebody_needs_to_act_stays(text: str) -> None:
    assert hidden(text) == text


def test_settings_that_hold_a_password_are_left_out() -> None:
    told = w.figure("role_settings", None, "app@", "primary_conninfo=host=a password=x")
    evidence = w.healthy(figures=w.figures(told, work_mem="4MB"))
    content = bundle_bytes(evidence, made_by="9.9")
    assert b"password=x" not in content
    assert b"4MB" in content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": "stanch.evidence/9", "evidence": {}}',
        b"\xff\xfe",
        b"{" * 9999,
    ],
)
def test_what_is_no_bundle_is_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(SetupError) as refused:
        read_bundle(content, on="f.json")
    assert "f.json" in str(refused.value)


def test_a_bundle_of_a_release_with_other_fields_says_who_made_it() -> None:
    content = bundle_bytes(w.healthy(), made_by="9.9")
    broken = content.replace(b'"elapsed_ms"', b'"elapsed_weeks"')
    with pytest.raises(SetupError) as refused:
        read_bundle(broken, on="f.json")
    assert "9.9" in refused.value.hint


def test_hostile_names_survive_the_way() -> None:
    names = w.healthy(target="a\x1b[31m\ud800<script>'; DROP TABLE x; --")
    evidence: Evidence = read_bundle(bundle_bytes(names, made_by="9.9"), on="x").evidence
    assert evidence.target.endswith("DROP TABLE x; --")
    assert replace(evidence, target="") == replace(redacted(names), target="")
