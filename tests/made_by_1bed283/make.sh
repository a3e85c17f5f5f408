#!/usr/bin/env bash
# Makes what lies beside it, with the program as it was at 1bed283: `make.sh CHECKOUT PYTHON OUT`.
# In what was made, the folders of that machine have other names of the same length since.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) checkout=$1 python=$2 out=$3
cd "$checkout"
export PYTHONPATH=$PWD OMP_NUM_THREADS=1 MMG_FOLDER="$out/videos"
mkdir -p "$out"
cp "$here/legacy.yaml" "$here/make.sh" "$out"
"$python" tracking/prepare.py render synthetic --out "$MMG_FOLDER" --sequences 2 --frames 5
"$python" tracking/train.py --config "$out/legacy.yaml" --run "$out/run" --device cpu
weights=$out/run/step_00000008.pth
rm -r "$out/run/tensorboard" "$out/run/latest.pth"
"$python" tracking/export.py --checkpoint "$weights" --out "$out/legacy.onnx"
"$python" tracking/export.py --checkpoint "$weights" --out "$out/legacy.safetensors"
"$python" tracking/test.py mmg folder --checkpoint "$weights" --config "$out/legacy.yaml" --results-dir "$out/tracked" \
    --device cpu --masks box
"$python" tracking/analyze.py folder mmg/legacy --results-dir "$out/tracked" --no-plots --json "$out/scores.json"
"$python" tracking/prepare.py crops folder --out "$out/crops" --config "$out/legacy.yaml"
rm -f "$out/crops/lock.mdb"
