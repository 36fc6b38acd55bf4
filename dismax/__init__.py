"""DisMax in your own projects: `dismax.losses`, `dismax.calibration`, `dismax.detector`.

The installed package holds all of it. In a checkout, `dismax.losses`, `dismax.models` and
`dismax.detectors` are the repository's folders of these names. The other names, such as
`dismax.calibration`, are files of `utils`.

`dismax.calibrate`, `dismax.drift` and `dismax.fit_score` are functions. They are loaded
when they are first used.
"""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fitting import calibrate, fit_score
    from .monitoring import drift

__version__ = "0.1.0"
__all__ = ["calibrate", "drift", "fit_score"]

# Function → its module.
_MODULES = {"calibrate": "fitting", "drift": "monitoring", "fit_score": "fitting"}


def __getattr__(name: str) -> Any:
    """Load a function of `__all__`. This keeps `import dismax` fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


if not (Path(__file__).parent / "losses").is_dir():
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
