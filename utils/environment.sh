# Sourced by the scripts: sets PYTHON to an interpreter that has what the given requirements file lists, and says which.
# The active environment is used as it is if it has all of it; otherwise .venv is made beside the scripts and filled.
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

# With no index to fetch from, pip succeeds only if everything is there already.
has_requirements() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' &&
        run silent "$1" -m pip --isolated install --quiet --dry-run --no-index --no-deps -r "$2"
}

# For `run`, whose own words shall be seen.
silent() { exec "$@" >/dev/null 2>&1; }
