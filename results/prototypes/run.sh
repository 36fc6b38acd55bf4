#!/usr/bin/env bash
# Makes runs of this study. Start it again after a stop.
#
# Usage: bash results/prototypes/run.sh DATA RUNS EPOCHS LOSSES SEEDS
# The cause:     run.sh /data /study/prototypes 4 "dismax_start3" "1 2"
#                run.sh /data /study/prototypes 4 "dismax_start1 dismax_start2" "3"
# The trial:     run.sh /data /study/prototypes 4 "dismax_short dismax_nofpr_short" "1 2 3"
# The judgement: run.sh /data /study/prototypes 15 "dismax_short dismax_nofpr_short" "4 5 6"
#                run.sh /data /study/prototypes 15 "dismax dismax_nofpr" "4 5 6"
# ../two_at_once.sh says what is in DATA.
set -u
data=$1 runs=$2 epochs=$3 losses=$4 seeds=$5

for seed in $seeds; do
  for loss in $losses; do
    echo "--model wideresnet102 --epochs $epochs --loss $loss --seed $seed" \
      "--runs '$runs/$epochs-epochs' --plugin results/prototypes/starts.py --compile"
  done
done | bash results/two_at_once.sh "$data"
