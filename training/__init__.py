"""Training a run's network: the trainer, its checkpoints, and what a run shows meanwhile."""
