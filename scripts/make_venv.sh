#!/usr/bin/env bash
# Makes .venv with a new pip and maturin. Usage: make_venv.sh PYTHON
set -euo pipefail
python=${1:-python3}

fail() { echo "setup: $1" >&2; exit 1; }

command -v "$python" >/dev/null || fail "there is no $python; install Python 3.11 or newer, or say which: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "$("$python" --version) is too old; install Python 3.11 or newer, or say which: make PYTHON=/path/to/python3.12"
command -v cargo >/dev/null || { [ -x "$HOME/.cargo/bin/cargo" ] && fail "cargo is in ~/.cargo/bin, which is not on the PATH: run '. ~/.cargo/env' first"; fail "there is no cargo; install Rust 1.88 or newer"; }
command -v cc >/dev/null || command -v gcc >/dev/null || fail "there is no C compiler (cc); install gcc or clang"

if [ ! -x .venv/bin/pip ]; then
    rm -rf .venv
    if ! "$python" -m venv .venv 2>/dev/null; then
        # Debian ships venv apart from Python.
        rm -rf .venv
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -qq && apt-get install -y -qq "python$version-venv" >/dev/null
            "$python" -m venv .venv
        else
            fail "$python has no venv module; install it (Debian and Ubuntu: sudo apt install python$version-venv)"
        fi
    fi
fi
.venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.16,<2'
