"""Commands reach a responder that hung, once it breathes again; rubbish does not stop it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stanch.model.errors import StoreUnsuitable
from stanch.store.inbox import (
    COMMAND_BYTES_MAX,
    DONE_KEPT_MAX,
    REJECTED_KEPT_MAX,
    collect,
    drop,
    finish,
    result,
)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir(mode=0o700)
    return folder


NAME = "00000000000000000001-00000000000000aa.json"


def reasons(inbox: Path) -> list[str]:
    return [path.read_text() for path in sorted((inbox / "rejected").glob("*.reason"))]


def test_commands_are_collected_oldest_first_until_finished(inbox: Path) -> None:
    first, second = drop(inbox, '{"do": "halt"}'), drop(inbox, '{"do": "note"}')
    assert [command.id for command in collect(inbox)] == [first, second]
    assert [command.text for command in collect(inbox)] == ['{"do": "halt"}', '{"do": "note"}']
    finish(inbox, first, '{"ok": true}')
    assert [command.id for command in collect(inbox)] == [second]
    assert result(inbox, first) == '{"ok": true}'
    assert result(inbox, second) is None


def test_a_command_is_private(inbox: Path) -> None:
    command = drop(inbox, "{}")
    assert (inbox / f"{command}.json").stat().st_mode & 0o777 == 0o600


def test_only_as_many_as_asked_are_collected(inbox: Path) -> None:
    ids = [drop(inbox, "{}") for _ in range(5)]
    assert [command.id for command in collect(inbox, limit=2)] == ids[:2]


def test_a_responder_that_died_after_noting_the_result_does_not_do_it_again(inbox: Path) -> None:
    command = drop(inbox, "{}")
    finish(inbox, command, '{"ok": true}')
    (inbox / "done" / f"{command}.json").rename(inbox / f"{command}.json")
    assert collect(inbox) == []
    assert (inbox / "done" / f"{command}.json").exists()


def test_finishing_twice_is_harmless(inbox: Path) -> None:
    command = drop(inbox, "{}")
    finish(inbox, command, "{}")
    finish(inbox, command, "{}")
    assert collect(inbox) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not whole JSON"),
        (b'{"do": "hal', "not whole JSON"),
        (b"\xff\xfe{\x00}\x00", "not whole JSON in UTF-8"),
        (b"[1, 2]", "not a JSON object"),
        (b"[" * 60_000, "nested too deeply"),
        (b'{"a": "' + b"x" * COMMAND_BYTES_MAX + b'"}', "more than 65536"),
    ],
    ids=["empty", "half", "utf16", "list", "deep", "huge"],
)
def test_an_unusable_command_is_set_aside_with_a_reason(
    inbox: Path, content: bytes, reason: str
) -> None:
    (inbox / NAME).write_bytes(content)
    good = drop(inbox, "{}")
    assert [command.id for command in collect(inbox)] == [good]
    assert reason in reasons(inbox)[0]
    assert NAME in reasons(inbox)[0]
    assert [p.read_bytes() for p in (inbox / "rejected").glob("*.rejected")] == [content]


def test_what_is_no_plain_file_neither_blocks_nor_is_followed(inbox: Path) -> None:
    secret = inbox.parent / "secret"
    secret.write_text("{}")
    os.mkfifo(inbox / NAME)
    (inbox / NAME.replace("aa", "bb")).symlink_to(secret)
    (inbox / NAME.replace("aa", "cc")).mkdir()
    assert collect(inbox) == []
    assert len(reasons(inbox)) == 3
    assert secret.read_text() == "{}"


@pytest.mark.parametrize("name", ["readme", "x" * 255, "a\nb\x1b[2J", ".hidden", "1-2.json"])
def test_a_name_that_is_not_ours_is_set_aside_and_shown_escaped(inbox: Path, name: str) -> None:
    (inbox / name).write_text("{}")
    assert collect(inbox) == []
    [reason] = reasons(inbox)
    assert reason.isprintable() or reason.count("\n") == 1
    assert "\x1b" not in reason


def test_a_name_that_is_no_text_is_set_aside(inbox: Path) -> None:
    (Path(os.fsdecode(os.fsencode(inbox) + b"/\xff\xfe"))).write_text("{}")
    assert collect(inbox) == []
    assert len(reasons(inbox)) == 1


def test_a_command_being_written_is_left_alone_and_a_forgotten_half_is_set_aside(
    inbox: Path,
) -> None:
    draft = inbox / ".tmp-0011223344556677"
    draft.write_text('{"do"')
    assert collect(inbox) == []
    assert draft.exists()
    os.utime(draft, (1, 1))
    assert collect(inbox) == []
    assert not draft.exists()
    assert len(reasons(inbox)) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become somebody else")
def test_what_root_leaves_belongs_to_the_owner_of_the_inbox(inbox: Path) -> None:
    os.chown(inbox, 65534, 65534)
    command = drop(inbox, "{}")
    assert (inbox / f"{command}.json").stat().st_uid == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may make files of somebody else")
def test_a_command_of_another_user_is_refused(inbox: Path) -> None:
    (inbox / NAME).write_text("{}")
    os.chown(inbox / NAME, 65534, 65534)
    assert collect(inbox) == []
    assert "belongs to user id 65534" in reasons(inbox)[0]


def test_what_was_done_and_rejected_is_kept_up_to_a_limit(inbox: Path) -> None:
    commands = [drop(inbox, "{}") for _ in range(DONE_KEPT_MAX + 5)]
    for command in commands:
        finish(inbox, command, "{}")
    assert len(list((inbox / "done").iterdir())) == DONE_KEPT_MAX * 2
    assert result(inbox, commands[-1]) == "{}"
    for number in range(REJECTED_KEPT_MAX + 5):
        (inbox / f"rubbish{number}").write_text(str(number))
    collect(inbox)
    assert len(list((inbox / "rejected").iterdir())) == REJECTED_KEPT_MAX * 2


def test_a_missing_inbox_is_a_clear_error(tmp_path: Path) -> None:
    for attempt in (lambda: drop(tmp_path / "no", "{}"), lambda: collect(tmp_path / "no")):
        with pytest.raises(StoreUnsuitable, match="cannot"):
            attempt()


def test_a_text_with_half_characters_is_still_left(inbox: Path) -> None:
    drop(inbox, json.dumps({"text": "\udcff"}, ensure_ascii=False))
    [command] = collect(inbox)
    assert json.loads(command.text) == {"text": "?"}
