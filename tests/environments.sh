#!/usr/bin/env bash
# Makes environments that together hold the oldest allowed and the newest packages, and runs the tests in each.
#   tests/environments.sh                  all of them, the fast suite
#   tests/environments.sh oldest newest    these, and in these two the slow suite as well
#   SLOW=0 tests/environments.sh oldest    the fast suite alone
# Each pair of extremes (torch, timm, OpenCV, numpy; oldest or newest) is in one of the six at least, but for numpy 1.26
# with OpenCV 5, which wants numpy 2. `python3.10`, `python3.11` and `python3.12` must be on the path; an environment
# takes 6 GB in ENVIRONMENTS (.environments), where PyTorch is one for GPUs. The outcomes go to outcomes.txt there;
# docs/environments.md keeps them.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
folder=${ENVIRONMENTS:-$here/.environments}
mkdir -p "$folder"
export PYTHONPATH=$here OMP_NUM_THREADS=1
# Kernels as on a CPU without AVX-512 and AMX, of oneDNN and of PyTorch itself. OpenCV has OPENCV_CPU_DISABLE, whose names
# differ from release to release, and it prints those that it does not know into what the tests read.
export ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2

old_torch="torch==2.8.0 torchvision==0.23.0" new_torch="torch torchvision"
old_timm="timm==1.0.22" new_timm="timm"
old_opencv="opencv-python==4.10.0.84" new_opencv="opencv-python"
old_numpy="numpy==1.26.4" new_numpy="numpy"
onnx="onnxscript>=0.5 onnxruntime>=1.18"

make_environment() { # NAME PYTHON PACKAGE...
    local name=$1 python=$2
    shift 2
    [ -e "$folder/$name/.ready" ] && return
    rm -rf "${folder:?}/$name"
    "$python" -m venv "$folder/$name"
    # One call, so that pip refuses what does not go together.
    sed '/^-e/d; s/ *#.*//; /^torch\|^timm\|^opencv\|^numpy/d' requirements.txt > "$folder/$name/others.txt"
    "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check \
        "$@" $onnx "pytest>=8.0" "setuptools>=70.1" "turbojpeg>=0.0.2" -r "$folder/$name/others.txt"
    touch "$folder/$name/.ready"
}

run_tests() { # NAME MARKERS
    local log=$folder/$1.$([ "$2" = "slow and not gpu" ] && echo slow || echo fast).txt outcome=0
    "$folder/$1/bin/python" -m pytest -p no:cacheprovider -m "$2" > "$log" 2>&1 || outcome=$?
    "$folder/$1/bin/python" - "$1" "$2" "$outcome" "$(tail -n 1 "$log")" <<'PY' | tee -a "$folder/outcomes.txt"
import platform
import sys
from importlib.metadata import version

name, markers, code, last = sys.argv[1:]
packages = ", ".join(f"{each} {version(each)}" for each in ("torch", "timm", "opencv-python", "numpy"))
print(f"{name}: Python {platform.python_version()}, {packages}; pytest -m '{markers}' ended with {code}: {last}")
PY
    return "$outcome"
}

failed=()
for name in "${@:-oldest torch timm numpy opencv newest}"; do
    for each in $name; do
        case $each in
            oldest) make_environment "$each" python3.10 $old_torch $old_timm $old_opencv $old_numpy ;;
            torch) make_environment "$each" python3.12 $old_torch $new_timm $new_opencv $new_numpy ;;
            timm) make_environment "$each" python3.11 $new_torch $old_timm $new_opencv $new_numpy ;;
            numpy) make_environment "$each" python3.11 $new_torch $new_timm $old_opencv $old_numpy ;;
            opencv) make_environment "$each" python3.12 $new_torch $new_timm $old_opencv $new_numpy ;;
            newest) make_environment "$each" python3.12 $new_torch $new_timm $new_opencv $new_numpy ;;
            *) echo "no environment $each: oldest torch timm numpy opencv newest" >&2 && exit 2 ;;
        esac
        run_tests "$each" "not slow and not gpu" || failed+=("$each")
        if [ "$each" = oldest ] || [ "$each" = newest ]; then
            [ "${SLOW:-1}" = 0 ] || run_tests "$each" "slow and not gpu" || failed+=("$each, slow")
        fi
    done
done
[ ${#failed[@]} = 0 ] || { printf 'failed: %s\n' "${failed[@]}" && exit 1; }
