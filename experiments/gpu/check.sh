#!/usr/bin/env bash
# Answers every question that waits for a GPU, in MINUTES (default: 10); results in OUT, a line for each part in OUT/summary.md.
#   experiments/gpu/check.sh OUT [MINUTES] [--data DIR]             on a machine with a GPU; README.md beside says how to get there
#   experiments/gpu/check.sh OUT 4 --tiny --device cpu              a rehearsal on two CPU cores, in about two minutes
#   experiments/gpu/check.sh OUT 3 --parts training                 one part alone
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
exec "$PYTHON" "$ROOT/experiments/gpu/check.py" "$@"
