"""The names and values that a run's record must have.

Every record is checked when it is read, so no program needs to check it again.
"""

from collections.abc import Callable
from typing import Any

from .recipes import ELSEWHERE, RECIPES

# What a value must be, in words, and a function that tests it.
Rule = tuple[str, Callable[[Any], bool]]

TEXT: Rule = ("text", lambda value: isinstance(value, str))
TEXTS: Rule = (
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
)
FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
WHOLE: Rule = ("a whole number above 0", lambda value: type(value) is int and 0 < value < 2**63)
SEVERAL: Rule = ("a whole number above 1", lambda value: type(value) is int and 1 < value < 2**63)
POSITIVE: Rule = (
    "a number above 0",
    lambda value: type(value) in (int, float) and 0 < value < float("inf"),
)
AMOUNT: Rule = (
    "a number, 0 or more",
    lambda value: type(value) in (int, float) and 0 <= value < float("inf"),
)
# Sums may round to slightly more than 1.
SHARE: Rule = (
    "a number from 0 to 1",
    lambda value: type(value) in (int, float) and -1e-9 <= value <= 1 + 1e-9,
)
CONSTANT: Rule = ("a number or text", lambda value: type(value) in (int, float, str))
# ensemble.py names a folder after the loss and the seed, so neither may contain ../ or the like.
NAME: Rule = (
    "a name",
    lambda value: isinstance(value, str) and value.strip(". ") != "" and not {*"/\\\0"} & {*value},
)
SEED: Rule = (
    "a seed, or an ensemble's seeds such as 1+2",
    lambda value: _is_seed(value) or _are_seeds(value),
)
SEEDS: Rule = (
    "a list of seeds",
    lambda value: isinstance(value, list) and value != [] and all(map(_is_seed, value)),
)

INTERVAL: Rule = (
    "a number above 0, and minutes or epochs",
    lambda value: (
        isinstance(value, list)
        and len(value) == 2
        and POSITIVE[1](value[0])
        and value[1] in ("minutes", "epochs")
    ),
)


def _one_of(*values: str) -> Rule:
    return f"one of {', '.join(values)}", lambda value: value in values


def _or_null(rule: Rule) -> Rule:
    description, test = rule
    return f"{description}, or null", lambda value: value is None or test(value)


EACH = "*"  # stands for every name in the record
# A name that ends in ? may be missing.
METRICS = dict.fromkeys(("auroc", "aupr_in", "aupr_out", "tnr95", "dtacc", "aurc?"), SHARE)
SCORES = {EACH: METRICS | dict.fromkeys(("fpr95_in", "fpr95_out"), SHARE)}
CLASSIFIED = {"accuracy": SHARE, "ece": SHARE, "adaptive_ece?": SHARE, "class_wise_ece?": SHARE}
# auroc and fpr95 are null if all answers are right, or all wrong.
FAILURES = {"aurc": SHARE, "auroc": _or_null(SHARE), "fpr95": _or_null(SHARE)}
# The fields of `config.RunConfig`. Those that were added later may be missing.
CONFIG = {
    "data": TEXT,
    "model": TEXT,
    "loss": NAME,
    "seed": SEED,
    "protocol": _one_of("heldout", "paper"),
    "weights?": _or_null(TEXT),
    "freeze?": FLAG,
    "size?": _or_null(WHOLE),
    "recipe": _one_of(*RECIPES, ELSEWHERE),
    "learning_rate?": _or_null(AMOUNT),
    "weight_decay?": _or_null(AMOUNT),
    "workers?": _or_null(WHOLE),
    "epochs": _or_null(WHOLE),  # null: evaluate.py was not told
    "batch_size?": SEVERAL,
    "ood": TEXTS,
    "limit_train?": _or_null(SEVERAL),
    "limit_eval?": _or_null(WHOLE),
    "precision?": _one_of("fp32", "bf16", "fp16"),  # a run that has begun has chosen
    "compile?": FLAG,
    "cuda_graph?": _one_of("auto", "off"),
    "sync_batchnorm?": FLAG,
    "checkpoint_every?": INTERVAL,
    "keep_features?": FLAG,
    "tensorboard?": FLAG,
    "device?": TEXT,
    "runs?": TEXT,
    "data_dir?": TEXT,
    "plugin?": TEXTS,
    "versions?": {EACH: WHOLE},
}
RECORD = {
    "config": CONFIG,
    "titles": {"data": TEXT, "model": TEXT, "loss": TEXT},
    "score": TEXT,
    "scores_at": _one_of("t1", "calibrated"),
    "parameters?": WHOLE,
    "train_images?": WHOLE,
    "recipe": {},
    "fingerprints?": {EACH: TEXT},
    "notes?": TEXTS,
    "body_sha256?": TEXT,
    "plugins?": {EACH: TEXT},
    "members?": SEEDS,
    "temperature": {"value": POSITIVE, "split": _one_of("validation", "test")},
    "classification": {"test": {"n": WHOLE, "t1": CLASSIFIED, "calibrated": CLASSIFIED}},
    "misclassification?": {"t1": {EACH: FAILURES}, "calibrated": {EACH: FAILURES}},
    "detection": {
        EACH: {
            "title": TEXT,
            "n": WHOLE,
            "role": _one_of("near", "far", "very_far"),
            "scores": {"t1": SCORES, "calibrated": SCORES},
        }
    },
    "detectors?": {
        EACH: {
            "title": TEXT,
            "version?": WHOLE,
            "constants?": {EACH: CONSTANT},
            "parameters?": {EACH: CONSTANT},
            "misclassification?": FAILURES,
            "sets?": {EACH: METRICS},
        }
    },
}


def check_config(config: Any) -> None:
    """Raises ValueError, naming the field, if a value of a configuration is missing or wrong.

    Fields that this version does not know are not checked.
    """
    _check(config, CONFIG, "")


def check(record: Any) -> None:
    """Raises ValueError, naming the place, if a value is missing or wrong."""
    _check(record, RECORD, "")
    seed, score = record["config"]["seed"], record["score"]
    if isinstance(seed, str) != ("members" in record):
        raise ValueError(
            f"config.seed must be a number for a run, and text for an ensemble, got {seed!r:.60}"
        )
    if record["config"]["epochs"] is None and record["config"]["recipe"] != ELSEWHERE:
        raise ValueError("config.epochs must be a whole number above 0, got null")
    for source, detection in record["detection"].items():
        for at, scores in detection["scores"].items():
            if score not in scores:
                raise ValueError(
                    f"detection.{source}.scores.{at} lacks {score}, the run's own score"
                )
    for name, detector in record.get("detectors", {}).items():
        if "sets" in detector and detector["sets"].keys() != record["detection"].keys():
            raise ValueError(f"detectors.{name}.sets are not the sets of detection")


def _check(value: Any, rule: Rule | dict[str, Any], place: str) -> None:
    """Check a value of the record against a rule, or a dict against a dict of rules."""
    if isinstance(rule, tuple):
        description, test = rule
        if not test(value):
            shown = f"{value!r:.60}" if type(value) in (int, float, str) else type(value).__name__
            raise ValueError(f"{place} must be {description}, got {shown}")
        return
    if not isinstance(value, dict):
        raise ValueError(f"{place or 'it'} must hold names and values, got {type(value).__name__}")
    for rule_name, inner in rule.items():
        names = list(value) if rule_name == EACH else [rule_name.removesuffix("?")]
        for name in names:
            if name in value:
                _check(value[name], inner, f"{place}.{name}".lstrip("."))
            elif not rule_name.endswith("?"):
                raise ValueError(f"{place or 'it'} lacks {name}")


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**32


def _are_seeds(value: Any) -> bool:
    return isinstance(value, str) and all(
        each.isascii() and each.isdecimal() for each in value.split("+")
    )
