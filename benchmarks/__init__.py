"""Side-by-side measurements that anyone can run: `python -m benchmarks.NAME` in the repository's root."""
