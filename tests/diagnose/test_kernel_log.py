"""A server process that the kernel's own log has hang, where nobody watches the machine."""

from __future__ import annotations

import pytest

import evidences as w
from stanch.diagnose.clues.storage import kernel_stall
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.outside import Kernel, Stall


def hung(seconds_ago: float, **differs: object) -> Evidence:
    stall = Stall(pid=77, name="postgres", at=w.ago(seconds_ago))
    return w.healthy(kernel=w.read(Kernel(oom_kills=0, stalls=(stall,))), **differs)


@pytest.mark.parametrize(("seconds_ago", "yes"), [(1, True), (170, True), (190, False)])
def test_a_process_that_hangs_is_told_while_the_kernel_repeats_it(
    seconds_ago: float, yes: bool
) -> None:
    answer = kernel_stall.ask(hung(seconds_ago))
    assert bool(answer.yes) is yes
    assert ("process 77 (postgres)" in answer.text) is yes


def test_without_a_word_of_the_kernel_nothing_is_known_where_nobody_watches() -> None:
    assert kernel_stall.ask(w.healthy(onset=None)).yes is None
    assert kernel_stall.ask(w.healthy()).yes is False


def test_where_the_machine_was_not_looked_at_the_watch_alone_says() -> None:
    assert kernel_stall.ask(w.far(onset=None)).yes is None
