"""Scripts that a far machine or a container runs for a diagnosis, beside that of each look.

Each is the same text every time: names and paths reach it as arguments, no file is changed, and
each part of the output begins with a word that only the asker knows.
"""

from __future__ import annotations

import re

_HEAD = r"""
word=$1
exec 2>/dev/null
export LC_ALL=C
part() { printf '\n%s %s\n' "$word" "$1"; }
part clock; read -r up rest </proc/uptime; printf "%s %s\n" "$(date +%s)" "$up"
"""
_PROCESS = r"""
# Three lines a process: its stat, its title, and for one that is no other server's child the file
# its folder is (device, inode) and the port in the lock file there.
tell() {
  stat= title= about= above=
  read -r stat <"$1/stat" || return
  read -r title <"$1/cmdline"
  case $title in postgres:*) ;; *) title=$(tr '\0\n' '  ' <"$1/cmdline") ;; esac
  rest=${stat##*) }
  rest=${rest#* }
  read -r above <"/proc/${rest%% *}/comm"
  case $above in
    postgres|postmaster|edb-postgres) ;;
    *) about="$(stat -L -c '%d %i' "$1/cwd/.") $(sed -n 4p "$1/cwd/postmaster.pid")" ;;
  esac
  printf '%s\n%s\n%s\n' "$stat" "$title" "$about"
  told="$told $1"
}
links() {
  paths=
  for p in $told; do paths="$paths $p/cwd $p/exe $p/fd/2"; done
  [ -z "$paths" ] || ls -ldnq $paths || ls -ldn $paths
}
"""
FIND_SCRIPT = (
    _HEAD
    + _PROCESS
    + r"""
port=$2
part self
[ -r /proc/1/stat ] || echo hidden
part user; id -un
part processes
for p in /proc/[0-9]*; do
  name=
  read -r name <"$p/comm" || continue
  case $name in postgres|postmaster|edb-postgres) tell "$p" ;; esac
done
part links; links
part clusters
grep -HE '^[[:space:]]*(port|data_directory)[[:space:]=]' /etc/postgresql/*/*/postgresql.conf
part sockets
for folder in /run/postgresql /tmp; do
  lock=$folder/.s.PGSQL.$port.lock
  [ -f "$lock" ] || continue
  data=$(sed -n 2p "$lock")
  printf '%s|%s|%s\n' "$(stat -c %u "$lock")" "$(stat -c %u "$data/PG_VERSION")" "$data"
done
part pgdata; printf '%s\n' "$PGDATA"
part zone; readlink -f /etc/localtime
part end
"""
)
"""Arguments: word, port. Cost there: a few short processes, and none a backend."""

FILES_SCRIPT = (
    _HEAD
    + _PROCESS
    + r"""
data=$2
part user; id -un
part folder
if [ ! -e "$data" ]; then echo absent
else
  [ -r "$data" ] && [ -x "$data" ] || printf 'denied '
  stat -L -c '%u %d %i %a' "$data"
fi
part namespace; readlink /proc/self/ns/pid
part boot; cat /proc/sys/kernel/random/boot_id
part segments; head -n 2000 /proc/sysvipc/shm
part lock
lock=$data/postmaster.pid
if [ ! -e "$lock" ]; then echo none
else stat -c '%d %i %Y' "$lock"; od -An -v -tx1 -N 8193 "$lock"; fi
part holder
pid=
read -r pid <"$lock"
pid=${pid#-}
case $pid in
  ''|*[!0-9]*) ;;
  *) if [ -d "/proc/$pid" ]; then tell "/proc/$pid"; else echo none; fi ;;
esac
part links; links
part control; od -An -v -tx1 -N 512 "$data/global/pg_control"
part version; head -n 1 "$data/PG_VERSION"
part marks
for name in global/pg_control global/pg_control.old backup_label; do
  [ ! -e "$data/$name" ] || echo "$name"
done
part owner; stat -c %u "$data/global/pg_control"
part upgrade
(cd "$data/pg_upgrade_output.d" && name=$(ls -1t | head -n 1) && stat -c '%Y %n' -- "$name")
part wal
(cd "$data/pg_wal" && name=$(ls -1t | grep -E '^[0-9A-F]{24}$' | head -n 1) &&
  stat -c '%s %n' -- "$name")
part slots
for state in "$data"/pg_replslot/*/state; do
  [ -f "$state" ] || continue
  echo "slot ${state#"$data"/pg_replslot/}"
  od -An -v -tx1 -N 200 "$state"
done
part end
"""
)
"""Arguments: word, data directory. Cost there: some dozens of short processes, a list of pg_wal."""

VOLUMES_SCRIPT = (
    _HEAD
    + r"""
data=$2 log=$3
at() {
  [ -d "$2" ] || return
  printf '%s %s\n' "$1" "$2"
  df -kP "$2" | tail -n 1
  df -iP "$2" | tail -n 1
}
part mounts; cat /proc/mounts
part volumes
at data "$data"
at wal "$data/pg_wal/"
[ -z "$log" ] || at log "$log"
for space in "$data"/pg_tblspc/*/; do at tablespace "$space"; done
part end
"""
)
"""Arguments: word, data directory, folder of the log or nothing. It waits for each of the disks."""

SIZES_SCRIPT = (
    _HEAD
    + r"""
data=$2 log=$3
kib() { printf '%s %s\n' "$1" "$(shift; du -sck "$@" | tail -n 1 | cut -f 1)"; }
part sizes
if [ ! -r "$data/base" ]; then echo denied; exit; fi
kib wal "$data/pg_wal/"
echo "segments $(ls -1 "$data/pg_wal" | grep -cE '^[0-9A-F]{24}$')"
echo "ready $(ls -1 "$data/pg_wal/archive_status" | grep -c '[.]ready$')"
kib temp "$data/base/pgsql_tmp" "$data"/pg_tblspc/*/PG_*/pgsql_tmp
[ -z "$log" ] || kib log "$log"
kib base "$data/base"
part end
"""
)
"""Arguments: word, data directory, folder of the log or nothing. Cost: a look at every file."""

OUTPUT_BYTES_MAX = 1024 * 1024


def parts_of(word: str, output: bytes) -> dict[str, str]:
    """The parts of an output by their names; of two of one name the first."""
    text = output.decode("utf-8", "replace")
    pieces = re.split(rf"(?m)^{re.escape(word)} ([a-z]+)\n", text)
    found: dict[str, str] = {}
    for name, content in zip(pieces[1::2], pieces[2::2], strict=True):
        # Each part is preceded by an empty line, which is nobody's content.
        found.setdefault(name, content.removesuffix("\n"))
    return found


def bytes_of(dump: str) -> bytes | None:
    """What `od -An -v -tx1` printed; None where it is no such thing, or nothing."""
    try:
        return bytes.fromhex("".join(dump.split())) or None
    except ValueError:
        return None
