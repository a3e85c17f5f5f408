#!/usr/bin/env bash
# Packs this repository, and what parts 4 and 5 of check.sh read, for a machine without a network.
#   experiments/gpu/pack.sh OUT.zip --stills DIR --videos DIR --excerpts DIR [--stem FILE] [--wheels DIR] [--limit MIB]
# Prints what each part takes and the sum, and refuses to write more than --limit (default: 60 MiB). --help says more.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
exec "${PYTHON:-python3}" "$ROOT/experiments/gpu/pack.py" "$@"
