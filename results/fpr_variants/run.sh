#!/usr/bin/env bash
# Makes runs of this study. Start it again after a stop.
#
# Usage: bash results/fpr_variants/run.sh DATA RUNS LOSSES SEEDS
# The choice:    run.sh /data /study/variants "dismax_growing dismax_blended dismax_quarter" "1 2"
# The judgement: run.sh /data /study/variants "THE_CHOSEN_ONE" "3 4 5 6 7"
#                run.sh /data /study/variants "dismax dismax_nofpr" "4 5 6 7"
# ../two_at_once.sh says what is in DATA.
set -u
data=$1 runs=$2 losses=$3 seeds=$4

for seed in $seeds; do
  for loss in $losses; do
    echo "--model wideresnet102 --epochs 15 --loss $loss --seed $seed --runs '$runs'" \
      "--plugin results/fpr_variants/variants.py --compile"
  done
done | bash results/two_at_once.sh "$data"
