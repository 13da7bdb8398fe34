"""`stanch changes` against a responder that runs, and out of the store of one that does not."""

from __future__ import annotations

import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_it_says_when_nobody_has_looked_and_answers_also_when_nobody_runs(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    said = stanch.cli("changes", "orders")
    assert (said.status, "nobody has looked yet" in said.out) == (0, True), said
    unknown = stanch.cli("changes", "no/such")
    assert unknown.status != 0
    wrong = stanch.cli("changes", "orders", "--since", "yesterday")
    assert wrong.status != 0
    assert "--since" in wrong.err
    stanch.stop()
    down = stanch.json("changes", "orders")
    assert (down["running"], down["changes"]) == (False, [])
