#!/bin/sh
# Builds the engine on this machine from what lies beside this file; README.txt says how. Arguments are passed on to
# `edgekit build-engine`, after those that were packed: the last one counts. Files are named from this folder.
set -u
CDPATH= cd -- "$(dirname -- "$0")" || exit 1
# "." and not $PWD, which may hold a colon. No __pycache__: the folder stays as it was packed.
export PYTHONPATH=".${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1

stop() { # exit code, what was expected and found, what to do
    printf 'edgekit: error: %s; next: %s\n' "$2" "$3" >&2
    exit "$1"
}

has_packages() { # edgekit.recipe needs a reader of TOML, which Python 3.10 has not
    "$1" -c 'import click, numpy, onnx, onnxruntime, rich, edgekit.recipe' >/dev/null 2>&1
}

has_tensorrt() { # module, what brings it; a folder of type stubs has no Builder
    "$python" -c "import $1; $1.Builder" >/dev/null 2>&1 ||
        stop 6 "expected the Python module $1 to build for target $target, found none with $python" "$2"
}

target=@{target}
before=
for argument in "$@"; do
    [ "$before" != --target ] || target=$argument
    case $argument in --target=*) target=${argument#--target=} ;; esac
    before=$argument
done

# 1. What was packed is what is here.
command -v sha256sum >/dev/null || stop 1 "expected the command sha256sum, found none" "sudo apt install coreutils"
checked=$(LC_ALL=C sha256sum -c SHA256SUMS 2>/dev/null) || stop 7 \
    "expected the files as they were packed, found $(printf '%s\n' "${checked:-SHA256SUMS: not readable}" |
        grep -v ': OK$' | head -n 1)" "copy the whole folder anew"

# 2. A Python with TensorRT, which JetPack's apt brings and pip does not.
python=$(command -v python3) || stop 6 "expected python3, found none" "sudo apt install python3 python3-venv"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    stop 6 "expected Python 3.10 or later, found $("$python" -V 2>&1)" "PATH with another python3 first"
case $target in jetpack*) has_tensorrt tensorrt "sudo apt install python3-libnvinfer; then PATH with the system's \
python3 first, or a venv made with --system-site-packages" ;; esac

# 3. The Python packages that edgekit needs: here already, or in a venv beside this file that sees the system's.
if ! has_packages "$python"; then
    if ! has_packages .venv/bin/python; then
        "$python" -m venv --system-site-packages .venv >&2 ||
            stop 1 "expected $python to make a venv in $PWD/.venv, found that it failed" "sudo apt install python3-venv"
        .venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt >&2 ||
            stop 1 "expected pip to install requirements.txt, found that it failed" "the same again with a network"
        has_packages .venv/bin/python ||
            stop 1 "expected Python packages that load, found some that do not" "$PWD/.venv removed, then the same again"
    fi
    python=.venv/bin/python
fi
case $target in
    rtx) has_tensorrt tensorrt_rtx "$python -m pip install tensorrt-rtx-cu13, in the package's folder" ;;
    desktop) has_tensorrt tensorrt "$python -m pip install tensorrt, in the package's folder" ;;
esac

# 4. Edgekit's kernels, where the model has layers for them and this machine nvcc. The engine is built without, too.
archs=@{archs}
if [ -n "$archs" ] && [ "$target" = @{target} ]; then
    if PATH=$PATH:/usr/local/cuda/bin command -v nvcc >/dev/null; then
        "$python" -m edgekit plugins build --archs "$archs" >&2 ||
            echo "edgekit: warning: edgekit's kernels were not built; the engine goes without them" >&2
    else
        echo "edgekit: warning: no nvcc (sudo apt install cuda-toolkit); the engine goes without edgekit's kernels" >&2
    fi
fi

# 5. The engine. The device that it was packed for is one of the packed target.
[ "$target" != @{target} ] || set -- @{device}"$@"
exec "$python" -m edgekit build-engine @{arguments} "$@"
