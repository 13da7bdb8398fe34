"""A server's log file on a machine seen over ssh, read by the same rules as one of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from stanch.adapters.hosts.ssh_link import SshLink
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition

DEADLINE_S = 5.0
FIND_BYTES_MAX = 16_384

_FIND = r"""
given=$1 data=$2 folder=$3 inode=$4
tell() { printf '%s %s %s\n' "$1" "$(stat -L -c '%d %i %s' -- "$2")" "$2"; }
if [ -d "$given" ]; then
  name=$(ls -1tp -- "$given" | grep -v '/$' | head -n 1)
  path=$given/$name
elif [ -n "$given" ]; then path=$given
else
  path=
  for kind in jsonlog csvlog stderr; do
    name=$(sed -n "s/^$kind //p" "$data/current_logfiles" 2>/dev/null | head -n 1)
    if [ -n "$name" ]; then
      case $name in /*) path=$name ;; *) path=$data/$name ;; esac
      break
    fi
  done
fi
if [ -f "$path" ]; then tell current "$path"; else echo "none $path"; fi
[ -z "$inode" ] || find "$folder" -maxdepth 1 -type f -inum "$inode" 2>/dev/null | head -n 1 |
  while IFS= read -r old; do tell old "$old"; done
"""
"""Arguments: file or folder, data directory, folder and inode of the file read before."""

_READ = r"""
[ -f "$1" ] && exec 3<"$1" || exit 1
stat -L -c '%d %i %s' /proc/self/fd/3 && tail -c "+$2" <&3 | head -c "$3"
"""
"""Arguments: file, first byte counted from 1, most bytes. What is told is what was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: str
    device: int
    inode: int
    size: int

    def is_at(self, position: LogPosition) -> bool:
        return (self.device, self.inode) == (position.device, position.inode)


class SshLog:
    """A `LogReader` over ssh. `given` is a file or a folder; empty: as the server itself says."""

    def __init__(self, link: SshLink, *, given: str, data_directory: Callable[[], str]) -> None:
        self._link = link
        self._given = given
        self._data_directory = data_directory

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        files = await self._find(None)
        current = files if isinstance(files, Missing) else files.get("current")
        if current is None or isinstance(current, Missing):
            return current or _not_there(self._given)
        begin = max(0, current.size - bytes_max)
        chunk = await self._read(current.path, begin, bytes_max, anew=True)
        if isinstance(chunk, Missing) or begin == 0:
            return chunk
        line_end = chunk.content.find(b"\n") + 1
        return LogChunk(
            path=chunk.path,
            content=chunk.content[line_end:],
            position=chunk.position,
            started_anew=True,
            skipped_bytes=begin + line_end,
            more=chunk.more,
        )

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        files = await self._find(position)
        if isinstance(files, Missing):
            return files
        current, old = files.get("current"), files.get("old")
        if current is not None and current.is_at(position):
            if current.size == position.offset:
                return LogChunk(path=current.path, content=b"", position=position)
            return await self._read(current.path, position.offset, bytes_max)
        # Read everything of the old file before the new one: what ended the server is in there.
        if old is not None and old.is_at(position) and old.size > position.offset:
            rest = await self._read(old.path, position.offset, bytes_max)
            if isinstance(rest, Missing) or (rest.content and not rest.started_anew):
                return rest if isinstance(rest, Missing) else _with_more(rest)
        if current is None:
            return _not_there(self._given)
        chunk = await self._read(current.path, 0, bytes_max, anew=True)
        if isinstance(chunk, LogChunk) and (old is None or not old.is_at(position)):
            return replace(chunk, gap="the file read before is gone")
        return chunk

    async def _find(self, position: LogPosition | None) -> dict[str, _File] | Missing:
        folder = position.path.rpartition("/")[0] or "/" if position else ""
        inode = str(position.inode) if position else ""
        ran = await self._link.run(
            *("sh", "-c", _FIND, "stanch", self._given, self._data_directory(), folder, inode),
            bytes_max=FIND_BYTES_MAX,
            deadline_s=DEADLINE_S,
        )
        if isinstance(ran, Missing):
            return Missing(what="log", reason=ran.reason)
        if ran.ended:
            return Missing(what="log", reason=f"{self._link.source}: {ran.ended}")
        found: dict[str, _File] = {}
        for line in ran.output.decode("utf-8", "replace").splitlines():
            word, _, rest = line.partition(" ")
            file = _file(rest)
            if word in ("current", "old") and file is not None:
                found.setdefault(word, file)
        return found

    async def _read(
        self, path: str, offset: int, bytes_max: int, *, anew: bool = False
    ) -> LogChunk | Missing:
        ran = await self._link.run(
            *("sh", "-c", _READ, "stanch", path, str(offset + 1), str(bytes_max)),
            bytes_max=bytes_max + FIND_BYTES_MAX,
            deadline_s=DEADLINE_S,
        )
        if isinstance(ran, Missing):
            return Missing(what="log", reason=ran.reason)
        head, _, content = ran.output.partition(b"\n")
        file = _file(f"{head.decode('ascii', 'replace')} {path}")
        if file is None:
            reason = ran.ended or f"{path} cannot be read there"
            return Missing(what="log", reason=reason)
        if offset > file.size:
            # Truncated: copytruncate, or somebody emptied it.
            chunk = await self._read(path, 0, bytes_max, anew=True)
            return (
                replace(chunk, gap="the file was emptied") if isinstance(chunk, LogChunk) else chunk
            )
        end = offset + len(content)
        at = LogPosition(path=path, device=file.device, inode=file.inode, offset=end)
        return LogChunk(
            path=path,
            content=content,
            position=at,
            started_anew=anew,
            more=end < file.size and bool(content),
        )


def _file(text: str) -> _File | None:
    parts = text.split(" ", 3)
    if len(parts) < 4 or not all(part.isascii() and part.isdigit() for part in parts[:3]):
        return None
    device, inode, size = (int(part[:20]) for part in parts[:3])
    return _File(path=parts[3], device=device, inode=inode, size=size)


def _not_there(given: str) -> Missing:
    if given:
        return Missing(what="log", reason=f"there is no log file at {given}")
    reason = "the server does not collect its log itself, and no path was given"
    return Missing(what="log", reason=reason)


def _with_more(chunk: LogChunk) -> LogChunk:
    return LogChunk(path=chunk.path, content=chunk.content, position=chunk.position, more=True)
