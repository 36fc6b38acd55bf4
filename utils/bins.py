"""The bins of the expected calibration error (ECE).

The bins have equal width and are closed above: bin k of n holds the confidences in (k/n, (k+1)/n],
k = 0 ... n-1. `metrics.bin_of` computes k with NumPy, `calibration.fit_temperature` with PyTorch.
This is a file of its own since `metrics` imports SciPy, and `calibration` needs PyTorch alone.
"""

BINS = 15
