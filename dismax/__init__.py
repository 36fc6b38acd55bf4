"""DisMax in your own projects: `dismax.losses`, `dismax.calibration`, `dismax.detector`.

Installed, all of it lies in this package. In a checkout these are the repository's own `losses`,
`models`, `utils.calibration` and `utils.versions`.
"""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

__version__ = "0.1.0"

if not (Path(__file__).parent / "losses").is_dir():
    import losses
    import models
    from utils import calibration, versions

    parts = [losses, models, calibration, versions]
    # Each file of the folders too: Python would load it a second time under its name in this
    # package, and a head of the one copy is no head for the criterion of the other.
    for folder in (losses, models):
        parts += [
            import_module(found.name)
            for found in iter_modules(folder.__path__, f"{folder.__name__}.")
        ]
    sys.modules |= {
        f"{__name__}.{module.__name__.removeprefix('utils.')}": module for module in parts
    }
