# shellcheck shell=sh
# Sourced by setup-demo and setup-test from the top of the checkout: makes .venv and fills it from
# one requirement file, verified by hash. Done again, it costs a moment; PYTHON chooses the Python.

VENV=.venv
PYTHON_MINIMUM=3.11
PYTHON_TEST='import sys; sys.exit(sys.version_info < (3, 11))'

say() { printf '%s\n' "$*"; }
complain() { printf '%s\n' "$*" >&2; }
die() { complain "$*"; exit 1; }

# Prints the first Python that is new enough; otherwise says which were tried, and stops.
find_python() {
    tried=""
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        command -v "$candidate" >/dev/null 2>&1 || { tried="$tried
  $candidate: not found"; continue; }
        if "$candidate" -c "$PYTHON_TEST" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
        tried="$tried
  $candidate: $("$candidate" --version 2>&1 | head -n 1) ($(command -v "$candidate"))"
    done
    die "Python $PYTHON_MINIMUM or newer is needed. Tried:$tried
Install one, or name it: PYTHON=/path/to/python3 make ..."
}

venv_works() { [ -x "$VENV/bin/python" ] && "$VENV/bin/python" -c "$PYTHON_TEST" 2>/dev/null; }

# Debian and Ubuntu ship python3 without ensurepip, in a package of its own: three ways round that.
make_venv() {
    python=$1
    if "$python" -c 'import ensurepip' 2>/dev/null; then
        "$python" -m venv --clear "$VENV" && return
    elif "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --clear --without-pip "$VENV" &&
            "$python" -m pip --quiet --python "$VENV/bin/python" install pip && return
    fi
    package=$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "installing $package, which this Python lacks"
        apt_install "$package" && "$python" -m venv --clear "$VENV" && return
    fi
    die "$python cannot make a virtual environment: install $package (or virtualenv's equivalent)."
}

# apt_install PACKAGE...: without questions; with fresh lists if the present ones do not do.
apt_install() {
    apt_try "$@" && return
    complain "apt: trying again with fresh package lists"
    apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null && apt_try "$@"
}

apt_try() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" </dev/null
}

# What an installation depends on; it changes when the installation has to be repeated.
# The folder counts because installed scripts name it.
fingerprint() {
    "$VENV/bin/python" - "$1" <<'PYTHON'
import hashlib, os, sys
digest = hashlib.sha256(os.getcwd().encode() + sys.version.encode())
for name in (sys.argv[1], "pyproject.toml"):
    with open(name, "rb") as file:
        digest.update(file.read())
print(digest.hexdigest())
PYTHON
}

installed() { [ "$(cat "$VENV/.installed-$1" 2>/dev/null)" = "$(fingerprint "requirements/$1.txt")" ]; }

# fill_venv SET: the packages of requirements/SET.txt, then this project itself, editable.
fill_venv() {
    set=$1
    if ! venv_works; then
        python=$(find_python)
        say "making $VENV with $python"
        make_venv "$python"
    fi
    installed "$set" && return
    say "installing requirements/$set.txt"
    rm -f "$VENV/.installed-$set"
    "$VENV/bin/python" -m pip --quiet --disable-pip-version-check install --no-compile \
        --require-hashes --only-binary :all: -r "requirements/$set.txt" </dev/null
    # On every core, where pip would take one. Some packages bring files that are no Python yet.
    "$VENV/bin/python" -m compileall -q -j 0 "$VENV/lib" >/dev/null 2>&1 </dev/null || true
    "$VENV/bin/python" -m pip --quiet --disable-pip-version-check install \
        --no-deps --no-build-isolation -e . </dev/null
    fingerprint "requirements/$set.txt" >"$VENV/.installed-$set"
}
