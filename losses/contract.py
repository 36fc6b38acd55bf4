"""The contract between a loss, a network and the training loop.

A loss has two parts. The *first part* is the classifier's last layer, in the place of `nn.Linear`;
the *second part* is the criterion, in the place of `nn.CrossEntropyLoss`. The training loop knows
these two classes and nothing else: whatever a method needs beyond a forward pass (mixing the batch,
a penalty on the inputs' gradients, something after each step or epoch, parameters without weight
decay) is a hook of `LossSecondPart`, in `criterion.py`, with an empty default. What it changes in
the network itself stands in the table of losses, as `wrap`: a saved network is rebuilt from there,
without a criterion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from . import scores as score_functions
from .precision import at_least_float32, without_autocast

# The percentiles of the in-distribution scores that are kept with the weights.
PERCENTILES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 2, 3, 4, *range(5, 101, 5))


Outputs = Mapping[str, Tensor]  # a head's named outputs
# Of named outputs whose logits are divided by the temperature, to [B].
Score = Callable[[Outputs], Tensor]


class LossFirstPart(nn.Module):
    """Base of all classifier heads: features [B, num_features] to logits [B, num_classes].

    A subclass defines `raw_logits`, or `raw_outputs` where its scores need more than logits. The
    head owns what belongs to the deployed classifier:

    - `temperature`, a buffer [1]. `forward` returns logits already divided by it, so nothing
      divides again. It is 1 while training (`train()` resets it) and is fitted afterwards.
    - `thresholds`, a buffer [len(PERCENTILES)]: percentiles of in-distribution scores, NaN until
      `set_thresholds` is called.
    """

    temperature: Tensor
    thresholds: Tensor
    score_type: ClassVar[str]  # the score that the method's paper takes for detection
    # What this head offers besides the scores of logits in `scores.SCORES`.
    own_scores: ClassVar[Mapping[str, Score]] = {}
    is_linear: ClassVar[bool] = False  # logits are features · `weight`ᵀ + `bias`
    # What the authors' checkpoints name otherwise, and what they hold besides, with its shape: it
    # is dropped.
    authors_names: ClassVar[Mapping[str, str]] = {}
    authors_extras: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        if num_features < 1 or num_classes < 2:
            raise ValueError(
                f"a head needs 1 feature or more and 2 classes or more, got {num_features=} and "
                f"{num_classes=}"
            )
        self.num_features, self.num_classes = num_features, num_classes
        self.register_buffer("temperature", torch.ones(1))
        self.register_buffer("thresholds", torch.full((len(PERCENTILES),), torch.nan))

    def start_as_pytorch(self) -> None:
        """Draw again what PyTorch's own layer for it draws and this head sets; for recipes that
        train so.

        Most heads have nothing of the kind.
        """

    def raw_logits(self, features: Tensor) -> Tensor:
        """Logits [B, C] at temperature 1 of features [B, D] that are float32 or wider."""
        raise NotImplementedError

    def raw_outputs(self, features: Tensor) -> dict[str, Tensor]:
        """As `raw_logits`, with whatever else the scores need beside `logits`; each output's first
        dimension is B.
        """
        return {"logits": self.raw_logits(features)}

    def named_outputs(self, features: Tensor) -> dict[str, Tensor]:
        """Everything the head's scores are functions of, by name; at least `logits` [B, C] at
        temperature 1.

        Computed in float32 or wider, under autocast too.
        """
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} takes features [B, {self.num_features}], got "
                f"{list(features.shape)}"
            )
        with without_autocast(features):
            return self.raw_outputs(at_least_float32(features))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, C] divided by the temperature."""
        # A head is one node of a torch.fx graph, as the layers of torch.nn are.
        if isinstance(features, torch.fx.Proxy):
            tracer = cast(torch.fx.Tracer, features.tracer)
            if not (path := tracer.path_of_module(self)):
                raise TypeError("torch.fx takes a network with a head, not a head alone")
            return cast(Tensor, tracer.create_proxy("call_module", path, (features,), {}))
        return self.named_outputs(features)["logits"] / self.temperature

    def scores(self, outputs: Tensor | Outputs) -> Tensor:
        """The head's own detection score [B]; higher is more in-distribution, and NaN where a logit
        is NaN or the largest infinite.

        Args:
            outputs: the logits [B, C] that the head returned; or its `named_outputs`, which a score
                of more than logits needs.

        Raises TypeError for logits where the score needs more.
        """
        if isinstance(outputs, Tensor):
            given: Outputs = {"logits": outputs}
        else:
            given = {**outputs, "logits": outputs["logits"] / self.temperature}
        return self._scored([self.score_type], given)[self.score_type]

    def all_scores(self, outputs: Outputs, temperature: float) -> dict[str, Tensor]:
        """Every score [B] this head offers, by name, from its `named_outputs` and a temperature."""
        return self._scored(
            [*score_functions.SCORES, *self.own_scores],
            {**outputs, "logits": outputs["logits"] / temperature},
        )

    def _scored(self, names: Iterable[str], outputs: Outputs) -> dict[str, Tensor]:
        given = {name: at_least_float32(value) for name, value in outputs.items()}
        try:
            found = {
                name: self.own_scores[name](given)
                if name in self.own_scores
                else score_functions.SCORES[name](given["logits"])
                for name in names
            }
        except KeyError as missing:
            raise TypeError(
                f"a score of {type(self).__name__} needs {missing} besides the logits: "
                "give it head.named_outputs(features) of evaluation mode, or take one of "
                "losses.scores"
            ) from None
        # The largest logit would be the best score where it overflowed. And other outputs may be
        # finite where the logits are not.
        known = given["logits"].amax(-1).isfinite()
        return {name: score.masked_fill(~known, torch.nan) for name, score in found.items()}

    def train(self, mode: bool = True):
        """As `nn.Module.train`; training mode also calls `forget_calibration`.

        Otherwise a calibrated network that is trained further would train with logits divided by
        its old temperature, and keep thresholds of its old weights. Nobody who puts this head in
        the place of `nn.Linear` would think of that.
        """
        if mode:
            self.forget_calibration()
        return super().train(mode)

    def forget_calibration(self) -> None:
        """Set the temperature to 1 and the thresholds to NaN: new weights need new ones."""
        # .data, since a backward pass may still be to come that holds the temperature (at 1: it was
        # training).
        self.temperature.data.fill_(1)
        self.thresholds.data.fill_(torch.nan)

    @torch.no_grad()
    def set_thresholds(self, in_scores: Tensor) -> None:
        """Keep the percentiles of the in-distribution scores [N], a tensor or array. Each is one of
        the scores: no interpolation.

        Raises ValueError for no scores or non-finite ones.
        """
        ordered = at_least_float32(torch.as_tensor(in_scores).flatten()).sort().values
        if not len(ordered) or not ordered.isfinite().all():
            raise ValueError("thresholds need one finite in-distribution score or more")
        # Rounding the position down keeps the share of scores at or above the threshold at least 1
        # - percentile/100.
        positions = [int((len(ordered) - 1) * percentile / 100) for percentile in PERCENTILES]
        exact = ordered[positions]
        stored = exact.to(self.thresholds.dtype)
        # Likewise where a score has more digits than the buffer.
        self.thresholds.copy_(
            torch.where(
                stored > exact, stored.nextafter(torch.full_like(stored, -torch.inf)), stored
            )
        )

    def threshold(self, tpr: float = 0.95) -> float:
        """The score at or above which an image counts as in-distribution, at a true-positive rate
        of at least `tpr`.

        Of the stored percentiles it is the highest that still keeps the rate. Raises ValueError for
        a rate outside [0, 1] and RuntimeError if no thresholds were set.
        """
        if not 0 <= tpr <= 1:
            raise ValueError(f"tpr is a rate in [0, 1], got {tpr}")
        allowed = max(
            i for i, percentile in enumerate(PERCENTILES) if percentile <= 100 * (1 - tpr) + 1e-9
        )
        value = float(self.thresholds[allowed])
        if value != value:
            raise RuntimeError(
                "this head has no thresholds: call set_thresholds(scores) with in-distribution "
                "scores first"
            )
        return value

    def extra_repr(self) -> str:
        return f"num_features={self.num_features}, num_classes={self.num_classes}"

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args, **options
    ) -> None:
        """Load also what carries only the weights, as `nn.Linear` does, and the authors'
        checkpoints.

        Their heads have other shapes for one number, other names, and entries that are not needed.
        """
        for theirs, ours in self.authors_names.items():
            if prefix + theirs in state_dict and prefix + ours not in state_dict:
                state_dict[prefix + ours] = state_dict.pop(prefix + theirs)
        for name, shape in self.authors_extras.items():
            if prefix + name in state_dict and state_dict[prefix + name].shape == shape:
                del state_dict[prefix + name]
        fresh = {
            "temperature": torch.ones_like(self.temperature),
            "thresholds": torch.full_like(self.thresholds, torch.nan),
        }
        for name, value in fresh.items():
            state_dict.setdefault(prefix + name, value)
        for name, own in self.state_dict().items():
            given = state_dict.get(prefix + name)
            if own.numel() == 1 and given is not None and given.numel() == 1:
                state_dict[prefix + name] = given.reshape(own.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
