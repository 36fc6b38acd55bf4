"""Several processes share the images of a step, and compute what one process computes.

With gloo, on the CPU.
"""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from losses import LOSSES
from tests.common import ROOT
from tests.sharing import trained
from tests.stepping import epoch_of
from utils.distributed import ALONE, World

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
# Losses whose results do not depend on the number of processes. FPR mixes images within each
# process's share, and each process draws its own dropout.
EXACT = sorted(LOSSES.keys() - {"dismax", "godin_dropout"})


@given(count=st.integers(0, 300), size=st.integers(1, 9))
def test_every_item_is_in_exactly_one_share(count, size):
    shares = [list(range(count))[World(rank, size).shard(count)] for rank in range(size)]
    assert [item for share in shares for item in share] == list(range(count))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@given(
    count=st.integers(2, 70),
    batch_size=st.integers(6, 20),
    size=st.integers(1, 3),
    start=st.integers(0, 2),
)
def test_the_batches_of_all_processes_together_are_those_of_one_process(
    count, batch_size, size, start
):
    pixels = torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8)
    device = torch.device("cpu")
    normalize = Normalizer((0.5,) * 3, (0.3,) * 3, device)
    images = Images(pixels, torch.arange(count), ())

    def epoch(world, start):
        batches = TrainingBatches(
            images, normalize, batch_size, 1, True, device, world.size, world.shard
        )
        return batches.sizes, epoch_of(batches, 3, start)

    sizes, expected = epoch(ALONE, 0)
    epochs = [epoch(World(rank, size), start) for rank in range(size)]
    shared_sizes = epochs[0][0]
    for number, total in enumerate(shared_sizes[start:]):
        shares = [batches[number] for _, batches in epochs]
        assert all(len(targets) >= 2 for _, targets in shares)
        inputs = torch.cat([inputs for inputs, _ in shares])
        targets = torch.cat([targets for _, targets in shares])
        assert len(targets) == total
        assert inputs.equal(expected[start + number][0])
        assert targets.equal(expected[start + number][1])
    # A last batch with too few images for all processes is left out.
    assert sum(sizes) - sum(shared_sizes) < 2 * size


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_the_first_steps_equal_those_of_one_process(tmp_path, count):
    path = tmp_path / "results.pt"
    command = [*TORCHRUN, f"--nproc-per-node={count}", "-m", "tests.sharing", str(path), *EXACT]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    results_of_all = torch.load(path)
    assert len(results_of_all) == count
    assert {results["first bad"] for results in results_of_all} == {"at step 3"}
    for loss in EXACT:
        expected = trained(loss, ALONE)
        for results in results_of_all:
            for name, value in expected.items():
                # SNGP's covariance is an inverse with a small ridge: an error of rounding is small
                # compared with its largest number.
                tolerance = 1e-5 * value.abs().max().item() if name.endswith("covariance") else 1e-6
                torch.testing.assert_close(
                    results[loss][name], value, rtol=1e-4, atol=tolerance, equal_nan=True
                )
