"""DisMax in your own projects.

Functions and classes: `dismax.calibrate`, `fit_temperature`, `fit_score`, `drift`,
`replace_classifier`, `Detector`, `CalibratedNetwork`.

Modules: `dismax.losses`, `models`, `detectors`, `calibration`, `confidences`, `detector`,
`export`, `metrics`, `pytorch_ood`.

In the installed package each is loaded when it is first used. In a checkout, `losses`, `models` and
`detectors` are the repository's folders of these names, and `calibration`, `confidences` and
`metrics` are files of `utils`.
"""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibrated import CalibratedNetwork
    from .calibration import fit_temperature
    from .detector import Detector
    from .fitting import calibrate, fit_score
    from .losses import replace_classifier
    from .monitoring import drift

__version__ = "0.1.0"
__all__ = [
    "CalibratedNetwork",
    "Detector",
    "calibrate",
    "drift",
    "fit_score",
    "fit_temperature",
    "replace_classifier",
]

# Function or class → its module. Loaded when it is used, so that `import dismax` is fast.
_MODULE_OF = {
    "CalibratedNetwork": "calibrated",
    "Detector": "detector",
    "calibrate": "fitting",
    "drift": "monitoring",
    "fit_score": "fitting",
    "fit_temperature": "calibration",
    "replace_classifier": "losses",
}
_MODULES = (
    "calibration",
    "confidences",
    "detector",
    "detectors",
    "export",
    "losses",
    "metrics",
    "models",
    "pytorch_ood",
)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_MODULE_OF, *_MODULES, "__version__"])


def _take_modules_of_the_checkout() -> None:
    """Give the repository's folders and files the names that they have in the installed package."""
    import detectors
    import losses
    import models
    from utils import bins, calibration, confidences, files, metrics, versions

    modules = [detectors, losses, models]
    modules += [bins, calibration, confidences, files, metrics, versions]
    # Every file of the folders too: else Python would load it a second time as `dismax.losses.X`,
    # and the criterion of one copy would refuse the head of the other.
    for package in (detectors, losses, models):
        names = [found.name for found in iter_modules(package.__path__, f"{package.__name__}.")]
        modules += [import_module(name) for name in names]
    for module in modules:
        sys.modules[f"{__name__}.{module.__name__.removeprefix('utils.')}"] = module


if not (Path(__file__).parent / "losses").is_dir():
    _take_modules_of_the_checkout()
