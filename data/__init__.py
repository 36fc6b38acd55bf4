"""The data: a file's name or a pixel's statistic is known here and nowhere else."""
