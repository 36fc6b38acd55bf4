"""The command line of main.py as a configuration in which nothing is left open."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data import sources
from dismax import shipped
from losses import get_loss
from models import model_title
from utils import program
from utils.output import print_line
from utils.torchrun import rank

from . import options_file
from .config import PRETRAINED, Options, RunConfig
from .recipes import RECIPES


@dataclass(frozen=True)
class CommandLine(Options):
    """The options, and the file that holds some of them."""

    config: Path | None = None
    """A .yaml or .json file with any of these options, such as a run's config.json. Options on the
    command line win over the file."""


def read(arguments: Sequence[str] | None = None) -> CommandLine:
    """The options on the command line (`sys.argv` by default) and in the file of --config.

    Warns, once over all processes, if the file is of a run that this code cannot repeat.

    Raises ValueError for an unknown option, or a value of another type.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    given = program.read(CommandLine, "main.py", arguments, Options.__doc__)
    if given.config is None:
        return given
    values = options_file.read(given.config)
    words = options_file.words(given.config, values)
    try:
        program.read(CommandLine, "main.py", words)
    except ValueError as error:
        raise ValueError(f"--config {given.config}: {error}") from None
    if (changes := options_file.changes(given.config, values)) and rank() == 0:
        print_line(f"warning: this run does not repeat {given.config}: {'; '.join(changes)}")
    return program.read(CommandLine, "main.py", [*words, *arguments])  # the last value counts


def parse(arguments: Sequence[str] | None = None) -> RunConfig:
    """The configuration that the arguments (`sys.argv` by default) ask for.

    Reads no result and writes no file. The precision stays `auto` until the run is built.

    Raises ValueError for a value that is not allowed.
    """
    options = read(arguments)
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
    # A file of that name comes first, as for predict.py.
    if weights not in (None, PRETRAINED) and shipped.resolve(weights) == Path(weights):
        weights = str(Path(weights).resolve())
    if options.freeze and not weights:
        raise ValueError("--freeze keeps the body's weights: name them with --weights")
    model = options.model or entry.model
    # FPR costs accuracy where weights are trained on for a few epochs: see docs/your-images.md.
    loss = options.loss or ("dismax_nofpr" if weights else "dismax")
    get_loss(loss)  # an unknown name raises
    model_title(model)
    resolved: dict[str, Any] = {
        "plugin": tuple(path.resolve() for path in options.plugin),
        "data": data,
        "ood": ood,
        "recipe": recipe_name,
        "weights": weights,
        "loss": loss,
        "model": model,
        "epochs": options.epochs or recipe.epochs or entry.epochs,
        "batch_size": options.batch_size or recipe.batch_size,
    }
    values = asdict(options) | resolved
    del values["config"]  # its options are in the others
    return RunConfig(**values)
