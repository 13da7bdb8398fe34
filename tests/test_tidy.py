"""The house rules hold everywhere, and each of them notices what it is there for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import tidy
from tidy import Found

Rule = Callable[[str, str], Iterator[Found]]

MODULES = tidy.modules()
TESTS = tidy.modules(tidy.ROOT / "tests")
BENCHMARKS = tidy.modules(tidy.ROOT / "benchmarks")
TEXTS = tidy.project_texts()


def broken(rule: Rule, texts: dict[str, str]) -> list[str]:
    return [str(found) for path, text in texts.items() for found in rule(path, text)]


# --- the project keeps them ---------------------------------------------------------------------


def test_deciding_modules_neither_wait_nor_read_a_clock() -> None:
    assert broken(tidy.impure, MODULES) == []


@pytest.mark.parametrize(
    "rule",
    [
        tidy.long_functions,
        tidy.long_files,
        tidy.too_many_positional,
        tidy.broad_excepts,
        tidy.vague_names,
        tidy.loose_dataclasses,
        tidy.undocumented,
    ],
    ids=lambda rule: rule.__name__,
)
def test_the_product_keeps_the_house_rule(rule: Rule) -> None:
    assert broken(rule, MODULES) == []


@pytest.mark.parametrize(
    "rule", [tidy.long_functions, tidy.vague_names], ids=lambda rule: rule.__name__
)
def test_tests_and_benchmarks_keep_the_rules_of_size_and_name(rule: Rule) -> None:
    assert broken(rule, TESTS) == []
    assert broken(rule, BENCHMARKS) == []


@pytest.mark.parametrize(
    "rule",
    [tidy.registry_hosts, tidy.strangers_addresses, tidy.leftovers],
    ids=lambda rule: rule.__name__,
)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    assert broken(rule, TEXTS) == []


def test_every_test_can_fail() -> None:
    asserting = tidy.asserting_functions(TESTS)
    found = [
        str(f)
        for path, text in TESTS.items()
        for f in tidy.tests_that_cannot_fail(path, text, asserting)
    ]
    assert found == []


def test_no_test_patches_our_own_code() -> None:
    assert broken(tidy.patched_own_code, TESTS) == []


def test_tests_mirror_the_folders_of_the_product() -> None:
    rooms = {path.split("/")[0] for path in MODULES if "/" in path}
    beside = {"stories", "sim", "benchmarks"}
    assert {path.split("/")[0] for path in TESTS if "/" in path} <= rooms | beside


def test_the_exceptions_are_files_that_exist() -> None:
    named = {*tidy.TABLES, *tidy.CATCHES_ALL, *tidy.MANAGERS}
    assert named <= set(MODULES)
    assert {path.split("/")[0] for path in MODULES} >= tidy.DECIDING_ROOMS


# --- and each of them notices -------------------------------------------------------------------


def lines(rule: Rule, text: str, *, path: str = "detect/rules.py") -> list[int]:
    return [found.line for found in rule(path, text)]


@pytest.mark.parametrize(
    "text",
    [
        "async def look():\n    pass\n",
        "async def look(): ...\n",
        "at = datetime.now(UTC)\n",
        "at = loop.time_ns()\n",
        "import asyncio\n",
        "from time import monotonic\n",
    ],
)
def test_a_deciding_module_that_touches_time_or_world_is_found(text: str) -> None:
    assert set(lines(tidy.impure, text)) == {1}


@pytest.mark.parametrize("path", ["watch/run.py", "service/clock.py", "adapters/hosts/local.py"])
def test_the_edge_may_wait_and_read_clocks(path: str) -> None:
    text = "import asyncio\nasync def look():\n    await asyncio.sleep(datetime.now(UTC))\n"
    assert lines(tidy.impure, text, path=path) == []


def test_a_field_called_now_is_no_clock() -> None:
    assert lines(tidy.impure, "if weight.now and at > since: pass\n") == []


def test_a_port_may_be_declared_async_and_not_implemented_where_ports_are() -> None:
    declared = 'async def ask(self) -> str:\n    """What it says."""\n    ...\n'
    assert lines(tidy.impure, declared, path="model/ports/host.py") == []
    written = "async def ask(self) -> str:\n    return self.answer\n"
    assert lines(tidy.impure, written, path="model/ports/host.py") == [1]


def test_a_function_of_sixty_lines_passes_and_one_more_does_not() -> None:
    body = "    pass\n"
    assert lines(tidy.long_functions, "def f():\n" + body * 59) == []
    assert lines(tidy.long_functions, "x = 1\ndef f():\n" + body * 60) == [2]


def test_a_file_of_four_hundred_lines_passes_and_one_more_does_not() -> None:
    assert lines(tidy.long_files, "x = 1\n" * 400) == []
    assert lines(tidy.long_files, "x = 1\n" * 401) == [401]
    assert lines(tidy.long_files, "x = 1\n" * 401, path="model/events.py") == []


def test_the_fifth_argument_has_to_be_named() -> None:
    assert lines(tidy.too_many_positional, "def f(self, a, b, c, d, *, e): ...\n") == []
    assert lines(tidy.too_many_positional, "def f(a, b, c, d, e): ...\n") == [1]
    command = "def f(a: Annotated[str, typer.Option()], b: str, c: str, d: str, e: str): ...\n"
    assert lines(tidy.too_many_positional, command) == []


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    f()\nexcept Exception:\n    pass\n",
        "try:\n    f()\nexcept (OSError, BaseException) as error:\n    log(error)\n",
        "try:\n    f()\nexcept:\n    pass\n",
        "#\n#\nwith contextlib.suppress(Exception): f()\n",
    ],
)
def test_catching_everything_is_found(text: str) -> None:
    assert lines(tidy.broad_excepts, text) == [3]


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    f()\nexcept OSError:\n    pass\n",
        "try:\n    f()\nexcept BaseException:\n    close()\n    raise\n",
        "with contextlib.suppress(OSError): f()\n",
    ],
)
def test_catching_by_name_or_to_tidy_up_is_fine(text: str) -> None:
    assert lines(tidy.broad_excepts, text) == []


def test_raising_something_else_does_not_excuse_catching_everything() -> None:
    text = "try:\n    f()\nexcept Exception as error:\n    raise Other from error\n"
    assert lines(tidy.broad_excepts, text) == [3]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("notify/utils.py", ""),
        ("notify/manager.py", ""),
        ("notify/texts.py", "def handle_page(): ...\n"),
        ("notify/texts.py", "def _process_page(): ...\n"),
    ],
)
def test_a_name_that_says_nothing_is_found(path: str, text: str) -> None:
    assert lines(tidy.vague_names, text, path=path) == [1]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("adapters/hosts/manager.py", ""),
        ("adapters/hosts/processes.py", "def processes(): ...\n"),
        ("drill/mailbox.py", "def handle_MAIL(): ...\n"),
    ],
)
def test_a_word_with_one_meaning_is_not_vague(path: str, text: str) -> None:
    assert lines(tidy.vague_names, text, path=path) == []


def test_values_that_travel_are_frozen_slotted_and_built_by_name() -> None:
    good = "@dataclass(frozen=True, slots=True, kw_only=True)\nclass A: ...\n"
    assert lines(tidy.loose_dataclasses, good, path="model/ids.py") == []
    assert len(lines(tidy.loose_dataclasses, "@dataclass\nclass A: ...\n", path="model/a.py")) == 3
    own = "@dataclass(slots=True)\nclass A: ...\n"
    assert lines(tidy.loose_dataclasses, own, path="store/verify.py") == []
    assert len(lines(tidy.loose_dataclasses, own, path="model/ids.py")) == 2


def test_a_module_has_to_say_what_it_is() -> None:
    assert lines(tidy.undocumented, "import json\n") == [1]
    assert lines(tidy.undocumented, '"""Reads JSON."""\nimport json\n') == []
    assert lines(tidy.undocumented, "") == []


def test_package_registries_are_found_in_any_file() -> None:
    assert lines(tidy.registry_hosts, f"x\nsee {tidy.REGISTRIES[0]}/stanch\n") == [2]
    assert lines(tidy.registry_hosts, "see www.postgresql.org\n") == []


@pytest.mark.parametrize("address", ["ann@example.com", "a@mail.example.org", "x@db.internal"])
def test_addresses_nobody_can_have_are_fine(address: str) -> None:
    assert lines(tidy.strangers_addresses, f"mail {address}\n") == []


def test_an_address_somebody_may_have_is_found() -> None:
    stranger = "ann@" + "a-company.com"
    assert lines(tidy.strangers_addresses, f"x\nmail {stranger}\n") == [2]
    assert lines(tidy.strangers_addresses, "unit postgresql@15-main.service\n") == []


@pytest.mark.parametrize("word", tidy.LEFTOVERS)
def test_notes_to_oneself_are_found(word: str) -> None:
    assert lines(tidy.leftovers, f"x\n# {word}: later\n") == [2]
    assert lines(tidy.leftovers, f"x{word}x\n") == []


def cannot_fail(text: str) -> list[int]:
    asserting = tidy.asserting_functions({"t": text})
    return [f.line for f in tidy.tests_that_cannot_fail("t", text, asserting)]


@pytest.mark.parametrize(
    "text",
    [
        "def test_a():\n    run()\n",
        "def test_a():\n    assert True\n",
        "def test_a():\n    assert (run(), 'ran')\n",
        "def look():\n    run()\n\ndef test_a():\n    look()\n",
    ],
)
def test_a_test_that_cannot_fail_is_found(text: str) -> None:
    assert len(cannot_fail(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "def test_a():\n    assert run()\n",
        "def test_a():\n    with pytest.raises(ValueError):\n        run()\n",
        "def look():\n    assert run()\n\ndef again():\n    look()\n\ndef test_a():\n    again()\n",
        "@given(st.text())\ndef test_a(text):\n    run(text)\n",
    ],
)
def test_a_test_that_asserts_directly_or_through_another_function_passes(text: str) -> None:
    assert cannot_fail(text) == []


def test_replacing_our_own_code_in_a_test_is_found() -> None:
    patch = "def test_a(monkeypatch):\n    monkeypatch.setattr(book, 'now', fake)\n"
    assert lines(tidy.patched_own_code, patch) == [2]
    assert lines(tidy.patched_own_code, "from unittest import mock\n") == [1]
    environment = "def test_a(monkeypatch):\n    monkeypatch.setenv('PGHOST', 'x')\n"
    assert lines(tidy.patched_own_code, environment) == []
