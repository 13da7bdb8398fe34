"""Whatever stands in the file, the parser answers with a policy or with findings."""

from __future__ import annotations

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stanch.model.errors import PolicyInvalid
from stanch.policy.canonical import canonical_text
from stanch.policy.dsn import read_conninfo, without_secrets
from stanch.policy.keys import POLICY
from stanch.policy.parse import parse_policy, read_policy
from stanch.policy.shapes import Named, Section, Variants


def known_names(section: Section) -> set[str]:
    names: set[str] = set()
    for key in section.keys:
        names.add(key.name)
        holds = key.holds
        if isinstance(holds, Section):
            names |= known_names(holds)
        if isinstance(holds, Named):
            entry = holds.entry
            inner = entry.by_type.values() if isinstance(entry, Variants) else [entry]
            for each in inner:
                names |= known_names(each)
    return names


NAMES = sorted(known_names(POLICY) | {"type", "orders", "asha", "1", "<<"})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.dates(),
    st.sampled_from(["30s", "5m", "80%", "32MiB", "service=x", "smtp", "act", "/x", "a@b.example"]),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=6),
    ),
    max_leaves=40,
)


def answers(text: str) -> None:
    try:
        policy = parse_policy(text, file="x.yaml")
    except PolicyInvalid as error:
        invalid = error
    else:
        assert parse_policy(canonical_text(policy), file="stored") is not None
        return
    assert invalid.findings
    assert all(f.line >= 1 and f.column >= 1 for f in invalid.findings)
    assert all(f.what and f.hint for f in invalid.findings)


@given(st.text())
def test_any_text_is_a_policy_or_findings(text: str) -> None:
    answers(text)


@given(st.text(alphabet="&*<>:-[]{}!|%@`'\"#?, \n\tab1~\\U\x00\ud800"))
def test_any_soup_of_yaml_marks_is_a_policy_or_findings(text: str) -> None:
    answers(text)


@settings(max_examples=150)
@given(TREES)
def test_any_tree_of_known_keys_is_a_policy_or_findings(tree: object) -> None:
    answers(yaml.safe_dump(tree, allow_unicode=True))


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([k.name for k in POLICY.keys]), TREES, min_size=3))
def test_any_tree_under_the_top_keys_is_a_policy_or_findings(tree: object) -> None:
    answers(yaml.safe_dump(tree, default_flow_style=True))


@given(st.text(), st.text(min_size=1, alphabet="hunter2!:?#[]% +'\\"))
def test_a_password_never_survives_its_removal(junk: str, password: str) -> None:
    marked = f"Zq{password}qZ"
    quoted = marked.replace("\\", "\\\\").replace("'", "\\'")
    for dsn in (
        f"host=h password='{quoted}' {junk}",
        f"postgresql://u:{marked}@h/{junk}",
        f"postgres://u@h/?password={marked.replace('&', '')}&x={junk}",
    ):
        assert "Zq" not in without_secrets(dsn) or "Zq" in junk
        known = read_conninfo(dsn)
        assert known is None or known.has_secret


@given(st.text())
def test_an_unreadable_file_is_told_apart_from_a_wrong_one(text: str) -> None:
    parsed = read_policy(text, file="x.yaml")
    assert (parsed.policy is None) == bool(parsed.errors)
