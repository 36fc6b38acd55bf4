"""The command line of main.py as a configuration in which nothing is left open."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from data import sources
from losses import get_loss
from models import model_title
from utils import program

from .config import Options, RunConfig
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
    recipe_name = options.recipe or sources.entry_of(data).recipe
    recipe, entry = RECIPES[recipe_name], sources.entry_of(data, recipe_name)
    if ood:
        ood = tuple(f"{role}={source}" for role, source in sources.ood_sets(data, ood, recipe_name))
    model = options.model or entry.model
    get_loss(options.loss)  # an unknown name raises
    model_title(model)
    resolved: dict[str, Any] = {
        "data": data,
        "ood": ood,
        "recipe": recipe_name,
        "model": model,
        "epochs": options.epochs or recipe.epochs or entry.epochs,
        "batch_size": options.batch_size or recipe.batch_size,
    }
    return RunConfig(**(asdict(options) | resolved))
