#!/usr/bin/env bash
# Tables IV, V and VI with the small model on the embedded data: every row at one budget and with several seeds.
#   experiments/ablations/tiny_study.sh             trains and tests with seeds 1, 2, 3, two jobs at a time
#   SEEDS="4 5" JOBS=8 experiments/ablations/tiny_study.sh
#   python tracking/analyze.py synthetic --ablations                          the tables, mean and spread over seeds
#   python tracking/visualize.py curves runs/study/tiny_table4_*.seed*/ --out table4.png
# A row sees 6,400 samples, a sixth of what mmg_tiny sees; Table VI tests the full model's weights, after a second stage of as many,
# with three updates. Run it again to continue.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SEEDS=${SEEDS:-1 2 3} PYTHON=${PYTHON:-.venv/bin/python} OMP_NUM_THREADS=1
STUDY=runs/study
mkdir -p $STUDY

budget='data: {samples_per_epoch: 1600, curriculum_epochs: 2, validation_samples: 512, workers: 0}'
rows="table4_all table4_none table4_self table4_o2s_s2o table4_self_o2s table4_self_s2o table5_mask00 table5_mask25 table5_mask50"

train() { # NAME BASE SEED FURTHER_KEYS: writes the run's config beside it and trains
    local config=$STUDY/$1.yaml
    printf 'base: %s\n%s\ntrain: {epochs: 4, batch_size: 16, total_batch: 16, seed: %s, validate_every: 1, picture_every: 0%s}\n' "$2" "$budget" "$3" "$4" >"$config"
    $PYTHON tracking/train.py --config "$config" --run "$STUDY/$1" >"$STUDY/$1.log" 2>&1 || echo "failed: $STUDY/$1.log"
}
train_row() { train "tiny_$1.seed$2" "tiny_$1" "$2" ""; }
train_score() { train "score.seed$1" mmg_tiny_score "$1" ", start_from: $STUDY/tiny_table4_all.seed$1/latest.pth"; }
test_row() { # ROW SEED CHECKPOINT
    local config=$STUDY/test/tiny_$1.seed$2.yaml
    mkdir -p $STUDY/test
    printf 'base: tiny_%s\n' "$1" >"$config"
    $PYTHON tracking/test.py mmg synthetic --config "$config" --checkpoint "$3" >"$config.log" 2>&1 || echo "failed: $config.log"
}
export -f train train_row train_score test_row
export STUDY budget

each() { xargs -P "${JOBS:-2}" -I{} bash -c '{}'; }
for seed in $SEEDS; do for row in $rows; do echo "train_row $row $seed"; done; done | each
for seed in $SEEDS; do echo "train_score $seed"; done | each
for seed in $SEEDS; do
    for mode in none fixed score; do echo "test_row table6_$mode $seed $STUDY/score.seed$seed/latest.pth"; done
done | each
for seed in $SEEDS; do for row in $rows; do echo "test_row $row $seed $STUDY/tiny_$row.seed$seed/latest.pth"; done; done | each
