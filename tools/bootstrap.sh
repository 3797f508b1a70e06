#!/usr/bin/env bash
# Makes .venv: every package that requirements-dev.txt pins, and this project installed editable.
#
# Does nothing when neither requirements-dev.txt nor pyproject.toml changed since the last time. Takes `uv` when it is on
# PATH, otherwise venv and pip. PYTHON=/path/to/python names the interpreter; BOOTSTRAP_WITH=pip leaves uv aside.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.bootstrapped  # the folder, the lock and the metadata that .venv was made from
unfinished=.venv/.unfinished  # stands while .venv is being filled; left behind by an interrupted run
log=.venv/bootstrap.log
started=$SECONDS

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

state() { echo "$PWD"; cat requirements-dev.txt pyproject.toml tools/bootstrap.sh; }

suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3; do
        # Run, not only looked up: a version manager puts commands on PATH that fail when they are called.
        if suits "$candidate"; then echo "$candidate"; return; fi
        [ -z "${PYTHON:-}" ] || return 1  # the one that was asked for, or none
    done
    return 1
}

# What pip and uv say goes to the log as a whole, and to the terminal as a few lines of progress.
progress() {
    tee -a "$log" | awk '
        /^Collecting / { if (++found % 25 == 0) say("found " found " packages") }
        /^Installing collected packages/ && found { say("installing " found " packages") }
        /^(Using|Resolved|Prepared|Uninstalled|Installed|Audited|Successfully) / { say(substr($0, 1, 70)) }
        function say(line) { print "bootstrap:   " line; fflush() }' >&2
}

install_with_uv() {
    say "installing with uv into .venv"
    [ -x .venv/bin/python ] || uv venv --quiet --allow-existing --python "${python:-3.11}" .venv
    uv pip sync --python .venv/bin/python requirements-dev.txt 2>&1 | progress
    uv pip install --python .venv/bin/python --no-deps --no-build-isolation --editable . 2>&1 | progress
}

install_with_pip() {
    say "installing with pip into .venv (one to five minutes the first time)"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >>"$log"
    local pip=(.venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-input)
    # pip repeats what never began, and gives up where a download breaks off; whatever came whole is in its cache.
    "${pip[@]}" --requirement requirements-dev.txt 2>&1 | progress || {
        say "that failed; trying once more"
        "${pip[@]}" --requirement requirements-dev.txt 2>&1 | progress
    }
    "${pip[@]}" --no-deps --no-build-isolation --editable . 2>&1 | progress
}

failed() {
    say "the installation failed; the last lines of $log:"
    tail -n 12 "$log" >&2
    die "mend that (is a package index reachable?) and run the same command again: it starts afresh."
}

# Two runs at once would fill one .venv together: the second waits, where the system has flock.
if command -v flock >/dev/null; then
    exec 9<tools/bootstrap.sh
    flock --nonblock 9 || { say "waiting for another run to end"; flock 9 || true; }  # some network file systems cannot
fi
if [ -x .venv/bin/python ] && [ ! -e "$unfinished" ] && state | cmp -s - "$stamp"; then exit 0; fi

use_uv=
if command -v uv >/dev/null && [ "${BOOTSTRAP_WITH:-uv}" = uv ]; then use_uv=yes; fi
if ! python=$(find_python); then
    [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a Python from 3.11 to 3.13."
    [ -n "$use_uv" ] || die "no Python from 3.11 to 3.13 on PATH. Install one (Debian, Ubuntu: apt install python3 python3-venv)," \
        "name one with PYTHON=/path/to/python, or install uv, which brings its own."
elif [ -z "$use_uv" ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    die "$python lacks the venv module. Install it (Debian, Ubuntu: apt install python3-venv) or install uv."
fi

# Scripts in .venv carry its path, so one that was moved with its folder is made again, as is one that was left half done.
if [ -e "$unfinished" ] || { [ -e .venv ] && ! suits .venv/bin/python; } ||
    { [ -e "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$PWD" ]; }; then
    say "clearing a .venv that is unfinished or was made elsewhere"
    rm -rf .venv
fi
mkdir -p .venv
touch "$unfinished"
rm -f "$stamp"
: >"$log"

# A function called under `if` or `||` runs without errexit, hence the subshell.
trap 'status=$?; [ "$status" = 0 ] || failed' EXIT
if [ -n "$use_uv" ]; then install_with_uv; else install_with_pip; fi
trap - EXIT
state >"$stamp"
rm "$unfinished"
say ".venv is ready ($((SECONDS - started)) s)"
