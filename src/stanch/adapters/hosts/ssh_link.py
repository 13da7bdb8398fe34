"""One ssh connection to a machine, kept open: commands are fixed words, and the key is known.

Needs the extra `hosts` (asyncssh).
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stanch.adapters.channels.threads import in_own_thread
from stanch.model.diagnosis import Missing
from stanch.policy.hosts import SshHost

if TYPE_CHECKING:
    import asyncssh

KEEPALIVE_S = 15
REFUSED_RETRY_S = 60.0
"""After a login that was refused, or a key that is not the known one: our own tries must not make
a guard such as fail2ban lock us out."""
LOST_RETRY_S = 5.0
SAID_BYTES_MAX = 4096
EXIT_S = 1.0
"""So long the exit code of a command is waited for behind its last byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one command printed."""

    output: bytes
    ended: str
    """Why the output is incomplete; empty where it is whole."""
    heard_s: float
    """On the loop's clock, when the first byte came."""
    asked_s: float
    exit_code: int | None = None
    """None: it did not end by itself, or the machine did not say."""
    said: bytes = b""
    """The beginning of standard error, where that was asked for."""


class SshLink:
    """Runs commands on one machine, over one connection that is opened when it is needed.

    Never: a connection to a machine whose key is not in `known_hosts`, or a look at the OS user's
    ssh configuration, which could weaken that.
    """

    def __init__(self, host: SshHost) -> None:
        self.host = host
        self._connection: asyncssh.SSHClientConnection | None = None
        self._opening = asyncio.Lock()
        self._failed: Missing | None = None
        self._retry_at_s = 0.0

    @property
    def source(self) -> str:
        return f"ssh {self.host.host}"

    async def run(
        self, *argv: str, bytes_max: int, deadline_s: float, errors_too: bool = False
    ) -> Ran | Missing:
        """What a command prints, up to a limit of bytes and of time. Every word is quoted."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + deadline_s
        connection = await self._connected(deadline_s)
        if isinstance(connection, Missing):
            return connection
        import asyncssh

        asked_s, output, heard_s, ended, said = loop.time(), bytearray(), 0.0, "", b""
        process: asyncssh.SSHClientProcess[bytes] | None = None
        try:
            async with asyncio.timeout_at(end_s):
                process = await connection.create_process(
                    shlex.join(argv),
                    encoding=None,
                    stdin=asyncssh.DEVNULL,
                    stderr=asyncssh.PIPE if errors_too else asyncssh.DEVNULL,
                )
                while len(output) < bytes_max:
                    piece = await process.stdout.read(min(65536, bytes_max - len(output)))
                    if not piece:
                        break
                    heard_s = heard_s or loop.time()
                    output += piece
                else:
                    ended = f"more than {bytes_max} bytes"
                if errors_too and not ended:
                    said = await process.stderr.read(SAID_BYTES_MAX)
                if not ended:
                    # Something it left behind may hold the channel open.
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(process.wait_closed(), EXIT_S)
        except TimeoutError:
            ended = f"no end within {deadline_s:g} s"
        except (OSError, asyncssh.Error) as error:
            self._drop()
            return Missing(what="host", reason=f"{self.source}: {_words(error)}")
        finally:
            if process is not None:
                process.close()
        return Ran(
            output=bytes(output),
            ended=ended,
            heard_s=heard_s or loop.time(),
            asked_s=asked_s,
            exit_code=None if ended or process is None else process.exit_status,
            said=said,
        )

    async def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connected(self, deadline_s: float) -> asyncssh.SSHClientConnection | Missing:
        async with self._opening:
            if self._connection is not None and not self._connection.is_closed():
                return self._connection
            self._connection = None
            loop = asyncio.get_running_loop()
            if self._failed is not None and loop.time() < self._retry_at_s:
                return self._failed
            found = await self._open(deadline_s)
            self._failed = found if isinstance(found, Missing) else None
            if not isinstance(found, Missing):
                self._connection = found
            return found

    async def _open(self, deadline_s: float) -> asyncssh.SSHClientConnection | Missing:
        try:
            # Two hundred modules, which take longer than the loop may stand still.
            await in_own_thread(lambda: importlib.import_module("asyncssh"), name="stanch-ssh")
        except ImportError:
            return self._refused("needs stanch[hosts]: pip install 'stanch[hosts]'")
        import asyncssh

        reason = await asyncio.to_thread(self._unusable)
        if reason:
            return self._refused(reason)
        host = self.host
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncssh.connect(
                    host.host,
                    host.port,
                    username=host.user or getpass.getuser(),
                    known_hosts=host.known_hosts_path,
                    client_keys=[host.key_file] if host.key_file else (),
                    agent_path=None if host.key_file else os.environ.get("SSH_AUTH_SOCK"),
                    config=None,
                    preferred_auth="publickey",
                    keepalive_interval=KEEPALIVE_S,
                    keepalive_count_max=2,
                )
        except TimeoutError:
            return self._lost(f"no connection within {deadline_s:g} s")
        except asyncssh.HostKeyNotVerifiable as error:
            return self._refused(
                f"the machine's key is not the one that {host.known_hosts_path} has for it"
                f" ({_words(error)})"
            )
        except asyncssh.PermissionDenied:
            return self._refused(f"{host.user or getpass.getuser()} may not log in with these keys")
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            return self._refused(f"{host.key_file}: {_words(error)}")
        except (OSError, asyncssh.Error) as error:
            return self._lost(_words(error))

    def _unusable(self) -> str:
        """What is missing on our own side; asyncssh would quietly go on without it."""
        for path in filter(None, (self.host.known_hosts_path, self.host.key_file)):
            try:
                with open(Path(path), "rb"):
                    pass
            except OSError as error:
                return f"{path}: {(error.strerror or str(error)).lower()}"
        return ""

    def _refused(self, reason: str) -> Missing:
        return self._failing(reason, REFUSED_RETRY_S)

    def _lost(self, reason: str) -> Missing:
        return self._failing(reason, LOST_RETRY_S)

    def _failing(self, reason: str, retry_s: float) -> Missing:
        self._retry_at_s = asyncio.get_running_loop().time() + retry_s
        return Missing(what="host", reason=f"{self.source}: {reason}")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        # asyncio puts the address in place of the reason.
        return os.strerror(error.errno).lower()
    told = str(getattr(error, "reason", "") or error).splitlines()
    return told[0][:200] if told else type(error).__name__
