"""Greets a server again and again, and now and then logs in, while a session to it is open."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from stanch.model.reach import Reach, ReachState
from stanch.watch.silence import NOBODY_IN, Patience

AUTH_RETRY_S = 60.0
"""After refused credentials: our own retries must not look like an attack."""

GREET_EVERY_S = 1.5
GREET_FIRST_S = 1.0
GREETINGS = 6
GREET_APART_S = 0.15
GREET_AGAIN_S = 1.2
"""With three packets in ten lost, six greetings that are accepted and then unanswered for 1.2 s
happen less than once in 10,000; all of it together stays below five seconds."""

LOGIN_EVERY_S = 10.0
"""A server may greet and still let nobody log in, so now and then the greeting is a whole login."""
LOGIN_FIRST_S = 2.0
LOGIN_GREETINGS = 14
LOGIN_GREET_APART_S = 0.25
LOGIN_GREET_S = 0.8
"""A login is many packets, and with three in ten lost it may well take longer than patience lasts.
So the odds rest on the greetings, which leave nothing behind, and not on more logins, each of which
may leave a process at the server; and on the knocks before them, as a greeting that finds no
connection speaks for nobody. With a tenth of all packets lost, fourteen knocks are answered in time
once in twenty of the few times in which two logins stall; with three in ten, once in 20,000."""

REFUSES = frozenset({ReachState.AUTH_FAILED, ReachState.NO_SUCH_DATABASE, ReachState.TLS_FAILURE})
"""How a login ends that nobody but the server decided about, and that the next will end as."""

STOPPED_S = 0.5
"""A turn that comes later than this was not late for its own target alone."""

STUCK_RETRY_S = (1.5, 3.0, 6.0, 12.0, 30.0)
"""Waits between logins while none comes to its end: each may leave a process at the server."""


class Newcomers:
    """What happens to those who come to a server now. One call of `kept_out` at a time."""

    def __init__(
        self,
        *,
        probe: Callable[[float], Awaitable[Reach]],
        greet: Callable[[float], Awaitable[bool]],
        knock: Callable[[float], Awaitable[bool]],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter`: a number from 0 to 1 that differs from target to target."""
        self._probe = probe
        self._greet = greet
        self._knock = knock
        self._jitter = jitter
        self._hung = 0
        self.refusal: Reach | None = None
        """How the newest login was refused; None where it was not."""
        self._login_at_s = 0.0
        self._soon: asyncio.Event | None = None
        """Only while logins are stuck: of a thousand targets hardly one ever needs it."""

    @property
    def stuck(self) -> bool:
        """Logins are known to come to no end."""
        return self._hung > 0

    def note_login(self) -> None:
        """A session was opened just now."""
        self._hung, self.refusal = 0, None
        self._login_at_s = asyncio.get_running_loop().time() + LOGIN_EVERY_S

    def note_hung(self) -> None:
        """Somebody else found, with a second witness, that a login comes to no end."""
        self._hung += 1

    def try_soon(self) -> None:
        """Something changed for the better: do not wait for the next login until it is due."""
        if self.stuck:
            self._waking().set()

    async def until_next(self) -> None:
        """Until the next greeting is due."""
        if not self.stuck:
            self._soon = None
            due_s = asyncio.get_running_loop().time() + GREET_EVERY_S
            await asyncio.sleep(GREET_EVERY_S)
            await self._after_a_stop(asyncio.get_running_loop().time() - due_s)
        else:
            wait_s = STUCK_RETRY_S[min(self._hung, len(STUCK_RETRY_S)) - 1]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._waking().wait()
            self._soon = None

    async def _after_a_stop(self, late_s: float) -> None:
        """Where this process did nothing for a while the greetings and logins of all targets are
        due at once: they are spread over their turns again, as they were before."""
        if late_s < STOPPED_S:
            return
        await asyncio.sleep(self._jitter() * GREET_EVERY_S)
        again_s = asyncio.get_running_loop().time() + self._jitter() * LOGIN_EVERY_S
        self._login_at_s = max(self._login_at_s, again_s)

    def _waking(self) -> asyncio.Event:
        if self._soon is None:
            self._soon = asyncio.Event()
        return self._soon

    async def kept_out(self, limits: Patience) -> Reach | None:
        """How a fresh connection ends if nobody new is served; None while anybody is.

        Cost: one greeting; every ten seconds also one login of a few round trips.
        """
        return await self._turned_away() or await self._login_stuck(limits)

    async def _turned_away(self) -> Reach | None:
        """One lost packet leaves a greeting unanswered as well, so several are sent, and each must
        have been accepted and then ignored.
        """
        if await self._greet(GREET_FIRST_S):
            return None
        probe = asyncio.ensure_future(self._probe(GREETINGS * GREET_APART_S + GREET_AGAIN_S))
        again = [self._greet_after(n * GREET_APART_S, GREET_AGAIN_S) for n in range(GREETINGS)]
        answered = await asyncio.gather(*again)
        reach = await probe
        return reach if reach.state is ReachState.HUNG and not any(answered) else None

    async def _login_stuck(self, limits: Patience) -> Reach | None:
        loop = asyncio.get_running_loop()
        if not self.stuck and loop.time() < self._login_at_s:
            return None
        reach = await self._probe(limits.hung_after_s if self.stuck else LOGIN_FIRST_S)
        refused = reach.state is ReachState.AUTH_FAILED
        self._login_at_s = loop.time() + (AUTH_RETRY_S if refused else LOGIN_EVERY_S)
        if reach.login_ended:
            # By whom is not known: the next login will tell.
            self._login_at_s = loop.time()
            return None
        if reach.state is ReachState.SHUTTING_DOWN:
            # The server's own word: a smart shutdown, which open sessions hear nothing of.
            return reach
        if reach.state is not ReachState.HUNG:
            self.refusal = reach if reach.state in REFUSES else None
            self._hung = self._hung if reach.state in NOBODY_IN else 0
            return None
        if not reach.in_turn:
            # It waited for another login of ours, and saw nothing itself.
            self._login_at_s = loop.time()
            return None
        if self.stuck or await self._another_hangs(limits):
            self._hung += 1
            return reach
        return None

    async def _another_hangs(self, limits: Patience) -> bool:
        """A second login hangs, after the first was given up, while every greeting is answered: so
        the way there is in order. Never two at once: they would wait for each other, and be one
        witness and several processes at the server."""
        login = self._probe(limits.hung_after_s)
        greetings = [
            self._welcome_after(n * LOGIN_GREET_APART_S, LOGIN_GREET_S)
            for n in range(LOGIN_GREETINGS)
        ]
        end, answered = await asyncio.gather(login, asyncio.gather(*greetings))
        return all(answered) and end.state is ReachState.HUNG and end.in_turn

    async def _welcome_after(self, wait_s: float, deadline_s: float) -> bool:
        """A connection stands in time, and one is greeted: no packet of either was lost."""
        await asyncio.sleep(wait_s)
        both = await asyncio.gather(self._knock(deadline_s), self._greet(deadline_s))
        return all(both)

    async def _greet_after(self, wait_s: float, deadline_s: float) -> bool:
        await asyncio.sleep(wait_s)
        return await self._greet(deadline_s)
