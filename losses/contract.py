"""The contract between a loss, a network and the training loop, and the base class of all heads.

A loss has two parts. The *first part* is the head, the classifier's last layer; it replaces
`nn.Linear`. The *second part* is the criterion; it replaces `nn.CrossEntropyLoss`. The training
loop knows only these two base classes. A method may need more than a forward pass: mix the batch,
penalize the inputs' gradients, act after each step or epoch, or train parameters without weight
decay. Each of these is a hook of `LossSecondPart`, in `criterion.py`, and does nothing by default.
What a method changes in the network itself is `wrap` in the table of losses: a saved network is
rebuilt from the table, without a criterion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from . import loading
from . import scores as score_functions
from .common import at_least_float32, without_autocast
from .thresholds import no_thresholds, percentiles, threshold_at

Outputs = Mapping[str, Tensor]  # a head's named outputs
# A function of named outputs, with logits divided by the temperature, to scores [B].
Score = Callable[[Outputs], Tensor]


class LossFirstPart(nn.Module):
    """Base of all classifier heads: features [B, num_features] to logits [B, num_classes].

    A subclass defines `raw_logits`, or `raw_outputs` if its scores need more than logits. The head
    has two buffers that belong to the deployed classifier:

    - `temperature` [1]. In evaluation mode `forward` returns logits that are already divided by it,
      so do not divide them again. In training mode the logits are not divided. `train()` sets the
      temperature to 1; fit it after training.
    - `thresholds` [len(PERCENTILES)]: percentiles of in-distribution scores, NaN until
      `set_thresholds` is called.

    Both stay in float32 or wider if the head is in half precision.
    """

    temperature: Tensor
    thresholds: Tensor
    score_type: ClassVar[str]  # the detection score of the method's paper
    # Scores of this head besides the scores of logits in `scores.SCORES`.
    own_scores: ClassVar[Mapping[str, Score]] = {}
    is_linear: ClassVar[bool] = False  # logits are features · `weight`ᵀ + `bias`
    # The authors' checkpoints: their name of an entry → ours.
    authors_names: ClassVar[Mapping[str, str]] = {}
    # Their entries that we do not need → shape. Loading drops these.
    authors_extras: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def __init__(self, num_features: int, num_classes: int):
        super().__init__()
        if num_features < 1 or num_classes < 2:
            raise ValueError(
                f"a head needs 1 feature or more and 2 classes or more, got {num_features=} and "
                f"{num_classes=}"
            )
        self.num_features, self.num_classes = num_features, num_classes
        self.register_buffer("temperature", at_least_float32(torch.ones(1)))
        self.register_buffer("thresholds", no_thresholds())

    def options(self) -> dict[str, Any]:
        """Return what the constructor was given besides the numbers of features and classes."""
        return {}

    def reset_parameters(self) -> None:
        """Initialise the head anew, as its constructor does, and forget the calibration.

        Make a new head instead if it is sharded, parametrized, or on the meta device.
        """
        new = type(self)(self.num_features, self.num_classes, **self.options())
        self.load_state_dict(new.state_dict())

    def start_as_pytorch(self) -> None:
        """Initialise the parameters as PyTorch's own layer does, for recipes that need it.

        Most heads have no such parameters.
        """

    def raw_logits(self, features: Tensor) -> Tensor:
        """Return logits [B, C] at temperature 1 for features [B, D] in float32 or wider."""
        raise NotImplementedError

    def raw_outputs(self, features: Tensor) -> dict[str, Tensor]:
        """Return `logits`, as `raw_logits` does, and all other outputs that the scores need.

        The first dimension of each output is B.
        """
        return {"logits": self.raw_logits(features)}

    def named_outputs(self, features: Tensor) -> dict[str, Tensor]:
        """Return all outputs that the head's scores are computed from, by name.

        There is at least `logits` [B, C], at temperature 1. All are computed in float32 or wider,
        under autocast too.
        """
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__} takes features [B, {self.num_features}], got "
                f"{list(features.shape)}"
            )
        with without_autocast(features):
            return self.raw_outputs(at_least_float32(features))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits [B, C], in evaluation mode divided by the temperature."""
        # A head is a single node of a torch.fx graph, like the layers of torch.nn.
        if isinstance(features, torch.fx.Proxy):
            tracer = cast(torch.fx.Tracer, features.tracer)
            if not (path := tracer.path_of_module(self)):
                raise TypeError("torch.fx takes a network with a head, not a head alone")
            return cast(Tensor, tracer.create_proxy("call_module", path, (features,), {}))
        logits = self.named_outputs(features)["logits"]
        return logits if self.training else logits / self.temperature

    def scores(self, outputs: Tensor | Outputs, temperature: float | None = None) -> Tensor:
        """Return the head's own detection score [B]. A higher score is more in-distribution.

        The score is NaN if a logit is NaN or if the largest logit is infinite.

        Args:
            outputs: the logits [B, C] that the head returned, or its `named_outputs`. A score that
                is computed from more than logits needs the latter.
            temperature: what the logits of `named_outputs` are divided by, by default the head's.

        Raises:
            TypeError: for logits, if the score needs more.
        """
        if isinstance(outputs, Tensor):
            scaled: Outputs = {"logits": outputs}
        else:
            divisor = self.temperature if temperature is None else temperature
            scaled = {**outputs, "logits": outputs["logits"] / divisor}
        return self._compute_scores([self.score_type], scaled)[self.score_type]

    def all_scores(self, outputs: Outputs, temperature: float) -> dict[str, Tensor]:
        """Return every score [B] of this head by name, from its `named_outputs` and a
        temperature.
        """
        return self._compute_scores(
            [*score_functions.SCORES, *self.own_scores],
            {**outputs, "logits": outputs["logits"] / temperature},
        )

    def _compute_scores(self, names: Iterable[str], outputs: Outputs) -> dict[str, Tensor]:
        outputs = {name: at_least_float32(value) for name, value in outputs.items()}
        scores = {}
        try:
            for name in names:
                if name in self.own_scores:
                    scores[name] = self.own_scores[name](outputs)
                else:
                    scores[name] = score_functions.SCORES[name](outputs["logits"])
        except KeyError as missing:
            raise TypeError(
                f"a score of {type(self).__name__} needs {missing} besides the logits: "
                "give it head.named_outputs(features) of evaluation mode, or take one of "
                "losses.scores"
            ) from None
        # A largest logit that overflowed would be the best score. And other outputs may be finite
        # although the logits are not.
        invalid = ~outputs["logits"].amax(-1).isfinite()
        return {name: score.masked_fill(invalid, torch.nan) for name, score in scores.items()}

    def train(self, mode: bool = True):
        """Set the mode, as `nn.Module.train` does. Training mode also calls `forget_calibration`.

        Otherwise a calibrated network that is trained further would divide its logits by the old
        temperature, and keep the thresholds of the old weights. A user who replaces `nn.Linear`
        with this head does not expect that.
        """
        if mode:
            self.forget_calibration()
        return super().train(mode)

    def forget_calibration(self) -> None:
        """Set the temperature to 1 and the thresholds to NaN: new weights need new values."""
        # .data, since a backward pass that uses the temperature may still follow. (Its forward pass
        # was in training mode, so the value was 1.)
        self.temperature.data.fill_(1)
        self.thresholds.data.fill_(torch.nan)

    @torch.no_grad()
    def set_thresholds(self, in_scores: Tensor) -> None:
        """Store the percentiles of the in-distribution scores [N], a tensor or array.

        Each percentile is one of the scores, without interpolation. Raises ValueError if there are
        no scores, or if some are not finite.
        """
        self.thresholds.copy_(percentiles(in_scores, self.thresholds.dtype))

    def threshold(self, tpr: float = 0.95) -> float:
        """Return the threshold for a true-positive rate of at least `tpr`.

        An image whose score is at or above it counts as in-distribution. It is the percentile that
        is stored for this rate, or for the next higher rate.

        Raises:
            ValueError: for a rate outside [0, 1].
            RuntimeError: if no thresholds were set.
        """
        return threshold_at(self.thresholds, tpr)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True):
        """Like `nn.Module._apply`, which half() and to() call, but keep the buffers wide.

        A threshold that is rounded up would reject images that it must accept.
        """
        before = {name: getattr(self, name) for name in loading.UNCALIBRATED}
        super()._apply(fn, recurse)
        for name, value in before.items():
            changed = getattr(self, name)
            if changed.element_size() < torch.float32.itemsize:
                setattr(self, name, at_least_float32(value).to(changed.device))
        return self

    def extra_repr(self) -> str:
        return f"num_features={self.num_features}, num_classes={self.num_classes}"

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        loading.sign(self, destination, prefix)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Mapping[str, Any], *args, **options
    ) -> None:
        """Load a state dict of this head, of `nn.Linear` (weights alone), or of the authors' head.

        Of another head, such as IsoMax+'s for DisMax, the weights are loaded and the calibration is
        not.
        """
        loading.adapt(self, state_dict, prefix, metadata)
        super()._load_from_state_dict(state_dict, prefix, metadata, *args, **options)
