"""The command line of main.py as a configuration in which nothing is left open."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data import sources
from losses import get_loss
from models import model_title
from utils import program

from .config import PRETRAINED, Options, RunConfig
from .recipes import RECIPES


def parse(arguments: Sequence[str] | None = None) -> RunConfig:
    """The configuration that the arguments (`sys.argv` by default) ask for.

    Reads no result and writes nothing. The precision stays `auto` until the run is built.

    Raises ValueError for a value that is not allowed.
    """
    options = program.read(Options, "main.py", arguments)
    options.check()
    # The same data is the same run, however its path is written.
    data = sources.absolute_source(options.data, options.data_dir)
    ood = tuple(sources.absolute_source(source, options.data_dir) for source in options.ood)
    default = "finetune" if options.weights else sources.entry_of(data, size=options.size).recipe
    recipe_name = options.recipe or default
    recipe = RECIPES[recipe_name]
    entry = sources.entry_of(data, recipe_name, options.size)
    if ood:
        ood = tuple(f"{role}={source}" for role, source in sources.ood_sets(data, ood, recipe_name))
    weights = options.weights
    if weights not in (None, PRETRAINED):
        weights = str(Path(weights).resolve())
    if options.freeze and not weights:
        raise ValueError("--freeze keeps the body's weights: name them with --weights")
    model = options.model or entry.model
    # FPR costs accuracy where weights are trained on for a few epochs: see docs/your-images.md.
    loss = options.loss or ("dismax_nofpr" if weights else "dismax")
    get_loss(loss)  # an unknown name raises
    model_title(model)
    resolved: dict[str, Any] = {
        "data": data,
        "ood": ood,
        "recipe": recipe_name,
        "weights": weights,
        "loss": loss,
        "model": model,
        "epochs": options.epochs or recipe.epochs or entry.epochs,
        "batch_size": options.batch_size or recipe.batch_size,
    }
    return RunConfig(**(asdict(options) | resolved))
