# Sourced by the scripts: sets PYTHON to an interpreter that has the packages of a requirements file.
# The active environment is used if it has all of them. Otherwise the packages are installed into .venv beside the scripts.
. "$(dirname "${BASH_SOURCE[0]}")/stopping.sh"
use_environment() {
    local requirements=$1 candidate
    for candidate in python python3 .venv/bin/python; do
        if command -v "$candidate" >/dev/null && has_requirements "$candidate" "$requirements"; then
            PYTHON=$candidate
            return
        fi
    done
    for candidate in python python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            [ -x .venv/bin/python ] || run "$candidate" -m venv .venv || return
            PYTHON=.venv/bin/python
            echo "installing $requirements into .venv"
            run "$PYTHON" -m pip install --quiet -r "$requirements"
            return
        fi
    done
    echo "error: no Python 3.11 or newer found: install one, or activate an environment that has it" >&2
    return 2
}

# Whether an interpreter ($1) has all packages of a requirements file ($2). Without a package index, pip succeeds only if all of
# them are installed already.
has_requirements() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' &&
        run silently "$1" -m pip --isolated install --quiet --dry-run --no-index --no-deps -r "$2"
}

# Runs a command without its output. `run silently ...` still prints the messages of `run`.
silently() { exec "$@" >/dev/null 2>&1; }
