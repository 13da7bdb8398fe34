"""Statements without what may be secret in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.redacting import redacted

SECRET = "hunter2"


@pytest.mark.parametrize(
    "sql",
    [
        f"CREATE ROLE app LOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE app PASSWORD E'a\\'{SECRET}'",
        f"ALTER USER app PASSWORD $${SECRET}$$",
        f"ALTER USER app PASSWORD $x$a$$ {SECRET}$x$",
        f'ALTER USER app PASSWORD "{SECRET}"',
        f"ALTER USER app PASSWORD {SECRET}",
        f"ALTER USER app PASSWORD U&'\\0041{SECRET}'",
        f"ALTER USER app PASSWORD 'half {SECRET}",
        f"ALTER USER app PASSWORD 'a\\' {SECRET}'",
        f"CREATE TABLE t (a text DEFAULT 'it''s {SECRET}')",
        f"/* {SECRET} /* nested */ {SECRET} */ DROP TABLE t -- {SECRET}",
        f"/* {SECRET} without an end",
        f"CREATE SUBSCRIPTION s CONNECTION 'password={SECRET}' PUBLICATION p",
        f'CREATE TABLE "half {SECRET}',
        f"DO $do$ BEGIN {SECRET} $do",
    ],
)
def test_no_literal_and_no_comment_is_left(sql: str) -> None:
    assert SECRET not in redacted(sql)


def test_names_and_words_stay_and_numbers_go() -> None:
    sql = 'CREATE TABLE t_2024 ("a 1" varchar(20) DEFAULT 123456789)\n\n  WITH (fillfactor=70);'
    assert redacted(sql) == 'CREATE TABLE t_2024 ("a 1" varchar(?) DEFAULT ?) WITH (fillfactor=?);'


@given(st.text(alphabet="'\"$/*-\\ab1;\n e", max_size=60))
def test_whatever_comes_it_ends_and_is_one_line(sql: str) -> None:
    assert "\n" not in redacted(sql)


@given(st.text(alphabet="ab '", max_size=20))
def test_what_stands_in_quotes_is_gone_whatever_stands_before(before: str) -> None:
    sql = before.replace("'", "") + " '" + SECRET.replace("'", "''") + "' x"
    assert SECRET not in redacted(sql)
