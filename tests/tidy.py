"""The house rules that a machine can check, each as a function from source text to findings.

Every rule takes what it judges as values, so that it can itself be tested on planted faults.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "stanch"

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
POSITIONAL_MAX = 4
"""Three are aimed at; from the fifth on nobody remembers the order."""

DECIDING_ROOMS = frozenset(
    {
        "detect",
        "diagnose",
        "facts",
        "incident",
        "model",
        "notify",
        "policy",
        "respond",
        "review",
        "steps",
        "watch",
    }
)

TABLES = frozenset({"model/events.py", "policy/keys.py"})
"""Declarations one after another; splitting them would only make them harder to find."""

CATCHES_ALL: Mapping[str, str] = {
    "service/supervisor.py": "a bug at one target must not keep anybody from being paged",
    "adapters/channels/threads.py": "carried from a thread to the task that waits for it",
    "adapters/hosts/threads.py": "carried from a thread to the task that waits for it",
    "drill/mailbox.py": "carried from a thread to the caller that waits for it",
}
"""Everywhere else what is caught has a name, or is raised again after tidying up."""

MANAGERS = frozenset({"adapters/hosts/manager.py", "service/watched/managers.py"})
"""Here the word has its one meaning: whoever starts a server and keeps it running."""

CLOCK_NAMES = frozenset(
    {
        "clock_gettime",
        "clock_gettime_ns",
        "monotonic",
        "monotonic_ns",
        "now",
        "perf_counter",
        "perf_counter_ns",
        "sleep",
        "time_ns",
        "today",
        "utcnow",
    }
)

VAGUE_MODULES = frozenset({"common_utils", "helper", "helpers", "misc", "util", "utils"})

CALLED_BACK = r"handle_[A-Z]+"
"""What aiosmtpd calls back is named by aiosmtpd: handle_MAIL, handle_DATA."""

# Put together here, so that this file does not contain what it looks for.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
    )
)
LEFTOVERS = tuple("".join(parts) for parts in (("TO", "DO"), ("FIX", "ME"), ("XX", "X")))
RESERVED_DOMAINS = ("example.com", "example.org", "example.net")
RESERVED_ENDINGS = (".example", ".invalid", ".test", ".localhost", ".internal")

MAIL = re.compile(r"[A-Za-z0-9_.+-]+@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})")
LEFTOVER = re.compile(rf"\b({'|'.join(LEFTOVERS)})\b")

SKIPPED_FOLDERS = frozenset(
    {
        ".demo",
        ".git",
        ".hypothesis",
        ".import_linter_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".setup",
        ".venv",
        ".servers",
        "__pycache__",
        "build",
        "dist",
    }
)
TEXT_ENDINGS = frozenset(
    {"", ".cfg", ".ini", ".json", ".jsonl", ".md", ".py", ".sh", ".sql", ".svg", ".toml", ".txt"}
    | {".typed", ".yaml", ".yml"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One broken rule and where."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


# --- what there is ------------------------------------------------------------------------------


def modules(folder: Path = SOURCE) -> dict[str, str]:
    """Every Python file below a folder: its path, relative, and its text."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*.py"))
    }


def project_texts(root: Path = ROOT) -> dict[str, str]:
    """Every text file of the project, without what tools leave behind."""
    texts: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if SKIPPED_FOLDERS & set(relative.parts) or not path.is_file():
            continue
        if path.suffix in TEXT_ENDINGS:
            texts[relative.as_posix()] = path.read_text("utf-8", errors="replace")
    return texts


# --- rules for the product ----------------------------------------------------------------------


def is_deciding(path: str) -> bool:
    """A module that takes values and returns values; only a stage's `run.py` touches the world."""
    parts = PurePosixPath(path).parts
    return parts[0] in DECIDING_ROOMS and parts[-1] != "run.py"


def impure(path: str, text: str) -> Iterator[Found]:
    """Waiting or reading a clock in a module that decides."""
    if not is_deciding(path):
        return
    declares_ports = path.startswith("model/ports/")
    for node in nodes(text):
        if isinstance(node, ast.AsyncFunctionDef) and not (declares_ports and _is_empty(node)):
            yield Found(path=path, line=node.lineno, what=f"async {node.name} outside run.py")
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield Found(path=path, line=node.lineno, what="awaits outside run.py")
        if isinstance(node, ast.Call) and _called(node) in CLOCK_NAMES:
            what = f"reads a clock ({_called(node)}); pass `at`"
            yield Found(path=path, line=node.lineno, what=what)
        for name in _imported(node):
            if name in ("asyncio", "time", "threading"):
                yield Found(path=path, line=getattr(node, "lineno", 0), what=f"imports {name}")


def long_files(path: str, text: str) -> Iterator[Found]:
    """Files beyond the limit; tables of declarations may be longer."""
    lines = text.count("\n")
    if lines > FILE_LINES_MAX and path not in TABLES:
        yield Found(path=path, line=lines, what=f"{lines} lines; the limit is {FILE_LINES_MAX}")


def long_functions(path: str, text: str) -> Iterator[Found]:
    """Functions beyond the limit, signature and docstring included."""
    for function in functions(text):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES_MAX:
            what = f"{function.name} has {length} lines; the limit is {FUNCTION_LINES_MAX}"
            yield Found(path=path, line=function.lineno, what=what)


def too_many_positional(path: str, text: str) -> Iterator[Found]:
    """More arguments than the limit that a caller may give by place."""
    for function in functions(text):
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
        named_elsewhere = _is_command(function) or re.fullmatch(CALLED_BACK, function.name)
        if len(names) > POSITIONAL_MAX and not named_elsewhere:
            what = f"{function.name} takes {len(names)} arguments by place"
            yield Found(path=path, line=function.lineno, what=what)


def broad_excepts(path: str, text: str) -> Iterator[Found]:
    """Catching everything hides bugs, unless it only tidies up and raises again."""
    if path in CATCHES_ALL:
        return
    for node in nodes(text):
        if (
            isinstance(node, ast.ExceptHandler)
            and (node.type is None or _names(node.type) & {"Exception", "BaseException"})
            and not _raises_again(node)
        ):
            yield Found(path=path, line=node.lineno, what="a broad except outside the supervisor")
        if isinstance(node, ast.Call) and _called(node) == "suppress":
            caught = set[str]().union(*(_names(argument) for argument in node.args))
            if caught & {"Exception", "BaseException"}:
                yield Found(path=path, line=node.lineno, what="a broad suppress")


def vague_names(path: str, text: str) -> Iterator[Found]:
    """Names that say nothing: what a module or function is for has a word of its own."""
    stem = PurePosixPath(path).stem
    if stem in VAGUE_MODULES:
        yield Found(path=path, line=1, what=f"a module called {stem}")
    if stem in ("manager", "managers") and path not in MANAGERS:
        yield Found(path=path, line=1, what="`manager` is whoever keeps a server running")
    for function in functions(text):
        named_elsewhere = re.fullmatch(CALLED_BACK, function.name)
        if re.match(r"_*(handle|process)_", function.name) and not named_elsewhere:
            yield Found(path=path, line=function.lineno, what=f"{function.name} says too little")


def loose_dataclasses(path: str, text: str) -> Iterator[Found]:
    """Values that could be changed, or built by place, or take any attribute.

    Judged in the rooms of words, whose values travel; a room's own scratch values need slots only.
    """
    travels = path.startswith(("model/", "policy/"))
    wanted = ("frozen", "slots", "kw_only") if travels else ("slots",)
    for node in nodes(text):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if "dataclass" not in _names(decorator):
                continue
            given = {
                keyword.arg
                for keyword in (decorator.keywords if isinstance(decorator, ast.Call) else ())
                if isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            }
            for one in wanted:
                if one not in given:
                    yield Found(path=path, line=node.lineno, what=f"{node.name} is not {one}")


def undocumented(path: str, text: str) -> Iterator[Found]:
    """A module that does not say what it is."""
    tree = parsed(text)
    if tree.body and not ast.get_docstring(tree):
        yield Found(path=path, line=1, what="no docstring")


# --- rules for every file -----------------------------------------------------------------------


def registry_hosts(path: str, text: str) -> Iterator[Found]:
    """Where packages come from is the installing machine's matter."""
    for n, line in enumerate(text.splitlines(), 1):
        if any(host in line.lower() for host in REGISTRIES):
            yield Found(path=path, line=n, what="names a package registry")


def strangers_addresses(path: str, text: str) -> Iterator[Found]:
    """Mail addresses that may be somebody's."""
    for n, line in enumerate(text.splitlines(), 1):
        for match in MAIL.finditer(line):
            domain = match[1].lower()
            reserved = any(domain == d or domain.endswith(f".{d}") for d in RESERVED_DOMAINS)
            # postgresql@15-main.service is a unit of systemd, not an address.
            if not reserved and not domain.endswith((*RESERVED_ENDINGS, ".service")):
                yield Found(path=path, line=n, what=f"{match[0]} is outside example.com")


def leftovers(path: str, text: str) -> Iterator[Found]:
    """Notes to oneself: what is not built is absent, not announced."""
    for n, line in enumerate(text.splitlines(), 1):
        if LEFTOVER.search(line):
            yield Found(path=path, line=n, what="a note to oneself")


# --- rules for tests ----------------------------------------------------------------------------


def asserting_functions(texts: Mapping[str, str]) -> frozenset[str]:
    """Names of functions in the tests that assert, themselves or through another one."""
    bodies = [f for text in texts.values() for f in functions(text)]
    asserting = {f.name for f in bodies if _asserts(f)}
    while True:
        more = {f.name for f in bodies if f.name not in asserting and _calls(f) & asserting}
        if not more:
            return frozenset(asserting)
        asserting |= more


def tests_that_cannot_fail(path: str, text: str, asserting: frozenset[str]) -> Iterator[Found]:
    """Tests without an assertion, and assertions of a constant.

    A test over generated values may promise only that nothing raises.
    """
    for function in functions(text):
        if not function.name.startswith("test_"):
            continue
        generated = any("given" in _names(d) for d in function.decorator_list)
        machine = "run_state_machine_as_test" in _calls(function)
        if not (_asserts(function) or generated or machine or _calls(function) & asserting):
            yield Found(path=path, line=function.lineno, what=f"{function.name} asserts nothing")
    for node in nodes(text):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant) and node.test.value:
            yield Found(path=path, line=node.lineno, what="asserts a constant")
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple) and node.test.elts:
            yield Found(path=path, line=node.lineno, what="asserts a tuple, which is always true")


def patched_own_code(path: str, text: str) -> Iterator[Found]:
    """Replacing our own code in a test: pass a value or a stand-in instead."""
    for node in nodes(text):
        if any(name.split(".")[-1] == "mock" for name in _imported(node)):
            yield Found(path=path, line=getattr(node, "lineno", 0), what="imports mock")
        if (
            isinstance(node, ast.Call)
            and _called(node) == "setattr"
            and "monkeypatch" in _names(node.func)
        ):
            yield Found(path=path, line=node.lineno, what="patches code; pass a stand-in")


# --- reading syntax trees -----------------------------------------------------------------------


@cache
def parsed(text: str) -> ast.Module:
    """Once for all rules."""
    return ast.parse(text)


@cache
def nodes(text: str) -> tuple[ast.AST, ...]:
    """Of a whole text."""
    return tuple(ast.walk(parsed(text)))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(text: str) -> list[Function]:
    return [n for n in nodes(text) if isinstance(n, Function)]


def _is_empty(node: ast.AsyncFunctionDef) -> bool:
    """Only a docstring and `...`: the shape of a port, not code."""
    return all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in node.body)


def _is_command(function: Function) -> bool:
    """The command line names every argument of a command by itself."""
    annotations = [a.annotation for a in function.args.args if a.annotation is not None]
    return any("Option" in ast.unparse(a) or "Argument" in ast.unparse(a) for a in annotations)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _calls(function: Function) -> set[str]:
    return {_called(n) for n in ast.walk(function) if isinstance(n, ast.Call)} - {""}


def _asserts(function: Function) -> bool:
    if any(isinstance(n, ast.Assert) for n in ast.walk(function)):
        return True
    expecting = {"raises", "warns", "fail"}
    return any(
        isinstance(n, ast.Call)
        and isinstance(n.func, ast.Attribute)
        and n.func.attr in expecting
        and _names(n.func.value) == {"pytest"}
        for n in ast.walk(function)
    )
