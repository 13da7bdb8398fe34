"""A stand-in server, or a proxy before it, that lets a probe in and refuses libpq behind it."""

from __future__ import annotations

from stanch.testing.fakepg import FakePostgres
from stanch.testing.pgmessages import SqlError

PROXYS = "a startup parameter that this proxy does not take"


class TwoFaced(FakePostgres):
    """Every second login is refused, as long as it is two-faced."""

    def __init__(self) -> None:
        super().__init__()
        self.logins = 0
        self.two_faced = True
        self.full = 0
        """So many logins more are refused because it is full."""

    def admit(self, user: str, database: str) -> SqlError | None:
        if self.full:
            self.full -= 1
            return SqlError(severity="FATAL", sqlstate="53300", message="sorry, too many clients")
        self.logins += 1
        if self.two_faced and self.logins % 2 == 0:
            return SqlError(severity="FATAL", sqlstate="08P01", message=PROXYS)
        return super().admit(user, database)
