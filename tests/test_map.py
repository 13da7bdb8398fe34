"""The map of the house is complete, true, and kept: every package, every link, every floor."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pages import ROOT, anchors, links, pages, prose, table_keys

PAGES = pages()
PACKAGES = {path.parent.name for path in (ROOT / "src" / "stanch").glob("*/__init__.py")}
ARCHITECTURE = PAGES["docs/ARCHITECTURE.md"]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
ADRS = {page: text for page, text in PAGES.items() if page.startswith("docs/adr/")}
PATH_IN_TEXT = re.compile(r"`((?:src|tests|docs|scripts|benchmarks)/[\w./*-]+)`")


def floors() -> dict[str, int]:
    """Package to floor, as the contract has it; the lowest is 1."""
    layers: list[str] = CONTRACTS["contracts"][0]["layers"]
    return {
        name.strip(" ()"): len(layers) - n
        for n, layer in enumerate(layers)
        for name in layer.split("|")
    }


def drawn() -> dict[str, int]:
    """Package to floor, as the page has it."""
    names, numbers = table_keys(ARCHITECTURE, 1), table_keys(ARCHITECTURE, 0)
    return {name: int(n) for n, name in zip(numbers, names, strict=True) if n.isdigit()}


def test_every_package_is_on_the_map_and_back() -> None:
    assert set(drawn()) == PACKAGES


def test_the_map_has_the_floors_of_the_contract() -> None:
    assert drawn() == floors()


def test_a_stage_says_what_comes_in_what_goes_out_and_what_it_never_does() -> None:
    for name, floor in floors().items():
        if floor in (3, 4, 5, 6):
            text = (ROOT / "src" / "stanch" / name / "__init__.py").read_text()
            said = text.lower()
            assert "in:" in said or "come in" in said or "comes in" in said, name
            assert "out:" in said or "go out" in said, name
            assert "never" in said or "nothing here" in said, name


def test_the_contract_is_exhaustive_and_forbids_drivers_to_every_stage() -> None:
    layers, service, drivers = CONTRACTS["contracts"]
    for floored in (layers, service):
        assert floored["type"] == "layers"
        assert floored["exhaustive"] is True
    below = {name for name, floor in floors().items() if floor <= 4}
    assert {name.removeprefix("stanch.") for name in drivers["source_modules"]} == below
    forbidden = {"httpx", "psutil", "psycopg", "smtplib", "sqlalchemy"}
    assert set(drivers["forbidden_modules"]) >= forbidden


def test_nobody_imports_upwards_or_across() -> None:
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_an_import_across_a_floor_breaks_the_contract(tmp_path: Path) -> None:
    """A copy of the house with one wrong door: the contract has to notice it."""
    package = tmp_path / "stanch"
    for name in PACKAGES:
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    layers = CONTRACTS["contracts"][0]["layers"]
    config = tmp_path / "contract.ini"
    config.write_text(
        "[importlinter]\nroot_package = stanch\n[importlinter:contract:1]\nname = floors\n"
        "type = layers\ncontainers = stanch\nexhaustive = true\nlayers =\n"
        + "".join(f"    {layer}\n" for layer in layers)
    )

    def verdict() -> int:
        return subprocess.run(
            [
                Path(sys.executable).with_name("lint-imports"),
                "--no-cache",
                "--config",
                str(config),
            ],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            check=False,
        ).returncode

    assert verdict() == 0
    (package / "detect" / "__init__.py").write_text("import stanch.diagnose\n")
    assert verdict() == 1
    (package / "detect" / "__init__.py").write_text("import stanch.service\n")
    assert verdict() == 1
    (package / "detect" / "__init__.py").write_text("import stanch.model\n")
    assert verdict() == 0


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_inside_the_project_lead_somewhere(page: str) -> None:
    broken: list[str] = []
    for link in links(PAGES[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_a_page_names_exist(page: str) -> None:
    named = [m[1] for m in PATH_IN_TEXT.finditer(prose(PAGES[page])) if "NAME" not in m[1]]
    assert [name for name in named if not any(ROOT.glob(name.rstrip("/")))] == []


def test_modules_that_the_story_names_exist() -> None:
    story = PAGES["docs/stories/one-incident.md"]
    named = set(re.findall(r"`((?:\w+/)+[\w-]+\.(?:py|sql|md))`", story))
    assert len(named) >= 20
    src = ROOT / "src" / "stanch"
    assert {name for name in named if not (src / name).exists()} <= {
        name for name in named if (ROOT / name).exists()
    }


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(Path(page).name[:4]) for page in sorted(ADRS)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", sorted(ADRS), ids=str)
def test_a_decision_names_what_keeps_it_true(page: str) -> None:
    text = ADRS[page]
    for part in ("## Question", "## Options", "## Outcome", "## Consequences", "## Confirmation"):
        assert part in text, part
    confirmation = text.split("## Confirmation")[1]
    assert "tests/" in confirmation
