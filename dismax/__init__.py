"""DisMax in your own projects: `dismax.losses`, `dismax.calibration`, `dismax.detector`.

The installed package holds all of it. In a checkout, `dismax.losses`, `dismax.models` and
`dismax.detectors` are the repository's folders of these names. The other names, such as
`dismax.calibration`, are files of `utils`.
"""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

__version__ = "0.1.0"

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
