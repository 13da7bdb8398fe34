"""Rule files to rules, strictly: an unknown key, a missing one or a wrong unit fails the start."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar, cast

import yaml

from stanch.model.readings import Unit, unit_of
from stanch.model.rules import Direction, Judgement, Rule, Second
from stanch.model.symptoms import SymptomKind
from stanch.policy.kinds import Kind, Written, Wrong
from stanch.policy.limits import limit_kind
from stanch.policy.quantities import Duration

TEXTS = ("title", "says", "impact", "source", "names", "unit", "promql")
FLAGS = ("lasting", "at_risk", "planned", "along", "apart", "off")
TIMES = ("hold", "clear_hold", "window", "short_window")
SECONDS_OF = frozenset({"also", "either"})
LISTS = ("quiet", "only", "names_for")
KEYS = frozenset(
    {"judge", "reading", "limit", "clear", "toward", "direction", "unless", "severity"}
    | {"promql_scale", *TEXTS, *FLAGS, *TIMES, *SECONDS_OF, *LISTS}
)
ALWAYS = ("judge", "severity", "title", "impact", "source", "quiet")

NEEDS: Mapping[Judgement, tuple[str, ...]] = {
    Judgement.ABOVE: ("reading", "limit"),
    Judgement.BELOW: ("reading", "limit"),
    Judgement.RATE_ABOVE: ("reading", "limit", "window"),
    Judgement.FORECAST: ("reading", "limit", "window", "toward"),
    Judgement.SLOWER_THAN_USUAL: ("reading", "limit", "window"),
    Judgement.BURN: ("reading", "limit", "window", "short_window"),
    Judgement.ABSENT: ("reading", "limit"),
    Judgement.CHANGED: ("reading", "limit", "direction"),
    Judgement.FEWER: ("reading", "limit"),
    Judgement.CODE: (),
}
ONLY_FOR: Mapping[str, frozenset[Judgement]] = {
    "window": frozenset(j for j, needs in NEEDS.items() if "window" in needs),
    "short_window": frozenset({Judgement.BURN}),
    "toward": frozenset({Judgement.FORECAST}),
    "direction": frozenset({Judgement.CHANGED}),
    "lasting": frozenset({Judgement.ABOVE}),
    "also": frozenset({Judgement.ABOVE, Judgement.BELOW}),
    "either": frozenset({Judgement.ABOVE, Judgement.BELOW}),
}

SEVERITY_RANKS = ("1", "2", "3", "4")

Body = Mapping[str, Any]
Word = TypeVar("Word", bound=StrEnum)


class RuleInvalid(ValueError):
    """A shipped rule file is wrong: a bug, found by the first test and the first start."""

    def __init__(self, file: str, rule: str, what: str) -> None:
        super().__init__(f"{file}: {rule}: {what}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain types; a key given twice is refused, numbers and truth values stay text."""


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key in found:
            raise RuleInvalid("rules", key, f"given twice on line {key_node.start_mark.line + 1}")
        found[key] = loader.construct_object(value_node, deep=True)
    return found


def _text(loader: Any, node: Any) -> str:
    return str(node.value)


yaml.add_constructor("tag:yaml.org,2002:map", _mapping, Loader=_Loader)
for _tag in ("int", "float", "bool", "null", "timestamp"):
    yaml.add_constructor(f"tag:yaml.org,2002:{_tag}", _text, Loader=_Loader)


def read_rules(text: str, *, file: str) -> tuple[Rule, ...]:
    """The rules of one file. Raises RuleInvalid."""
    loaded = cast("object", yaml.load(text, Loader=_Loader))  # noqa: S506  # a safe loader
    if not isinstance(loaded, dict):
        raise RuleInvalid(file, "", "is not a mapping of rules")
    return tuple(
        _Rule(file, name, body).made() for name, body in cast("dict[str, Any]", loaded).items()
    )


class _Rule:
    """One rule being read."""

    def __init__(self, file: str, name: str, body: object) -> None:
        self._file, self._name = file, name
        if not isinstance(body, dict):
            raise self._wrong("is not a mapping of keys")
        self._body = cast("Body", body)

    def made(self) -> Rule:
        body, judgement = self._body, self._one_of(Judgement, "judge")
        self._keys_fit(judgement)
        reading = self._text("reading")
        shell = Rule(
            kind=self._kind(self._name),
            judgement=judgement,
            title=self._text("title"),
            impact=self._text("impact"),
            source=" ".join(self._text("source").split()),
            quiet=self._list("quiet"),
            severity=int(self._severity()),
            reading=reading,
        )
        limit = limit_kind(shell.limit_unit) if judgement is not Judgement.CODE else None
        extra: dict[str, Any] = {
            **{key: " ".join(self._text(key).split()) for key in TEXTS if key in body},
            **{key: self._flag(key) for key in FLAGS if key in body},
            **{f"{key}_s": self._read(Duration(), key) for key in TIMES if key in body},
            **{key: self._read(limit, key) for key in ("limit", "clear") if key in body},
            **{key: self._second(key) for key in SECONDS_OF if key in body},
        }
        if "toward" in body:
            extra["toward"] = self._read(limit_kind(unit_of(reading)), "toward")
        if "direction" in body:
            extra["direction"] = self._one_of(Direction, "direction")
        if "unless" in body:
            extra["unless"] = self._kind(self._text("unless"))
        if "promql_scale" in body:
            extra["promql_scale"] = float(self._read(limit_kind(Unit.COUNT), "promql_scale"))
        extra |= {"subjects": self._list("only"), "names_for": self._list("names_for")}
        return Rule(**{**{n: getattr(shell, n) for n in _GIVEN}, **extra})

    def _keys_fit(self, judgement: Judgement) -> None:
        given = set(self._body)
        if unknown := given - KEYS:
            raise self._wrong(f"unknown key {sorted(unknown)[0]}")
        for key in (*ALWAYS, *NEEDS[judgement]):
            if key not in given:
                raise self._wrong(f"{key} is missing, and {judgement} needs it")
        for key in sorted(given):
            if judgement not in ONLY_FOR.get(key, {judgement}):
                raise self._wrong(f"{key} means nothing to {judgement}")
        if judgement is Judgement.CODE and given & {"reading", "limit", "clear", "hold", "says"}:
            raise self._wrong("is judged in code and declares no limit")

    def _severity(self) -> str:
        rank = self._text("severity")
        if rank not in SEVERITY_RANKS:
            raise self._wrong(f"severity {rank} is none of {', '.join(SEVERITY_RANKS)}")
        return rank

    def _kind(self, name: str) -> SymptomKind:
        try:
            return SymptomKind(name)
        except ValueError as error:
            raise self._wrong(f"{name} is no SymptomKind") from error

    def _one_of(self, words: type[Word], key: str) -> Word:
        said = self._text(key)
        try:
            return words(said)
        except ValueError as error:
            raise self._wrong(f"{key}: {said} is none of {', '.join(words)}") from error

    def _text(self, key: str) -> str:
        value = self._body.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(f"{key} is not one value")
        return value

    def _flag(self, key: str) -> bool:
        if self._text(key) not in ("true", "false"):
            raise self._wrong(f"{key} is neither true nor false")
        return self._text(key) == "true"

    def _list(self, key: str) -> tuple[str, ...]:
        value = self._body.get(key, [])
        if not isinstance(value, list) or not all(
            isinstance(item, str) for item in cast("list[object]", value)
        ):
            raise self._wrong(f"{key} is not a list of sentences")
        return tuple(" ".join(item.split()) for item in cast("list[str]", value))

    def _read(self, kind: Kind | None, key: str) -> Any:
        assert kind is not None
        return self._quantity(kind, self._text(key), key)

    def _quantity(self, kind: Kind, text: str, key: str) -> Any:
        value = kind.read(Written(text=text, is_text=True))
        if isinstance(value, Wrong):
            raise self._wrong(f"{key}: {value.what}")
        return value

    def _second(self, key: str) -> Second:
        value = self._body[key]
        if not isinstance(value, dict) or len(cast("Body", value)) != 2 or "reading" not in value:
            raise self._wrong(f"{key} is not a reading and its limit")
        [(word, text)] = (pair for pair in cast("Body", value).items() if pair[0] != "reading")
        if word not in ("above", "below"):
            raise self._wrong(f"{key}: {word} is neither above nor below")
        reading = str(cast("Body", value)["reading"])
        limit = self._quantity(limit_kind(unit_of(reading)), str(text), key)
        return Second(reading=reading, judgement=Judgement(word), limit=limit)

    def _wrong(self, what: str) -> RuleInvalid:
        return RuleInvalid(self._file, self._name, what)


_GIVEN = ("kind", "judgement", "title", "impact", "source", "quiet", "severity", "reading")
