"""DisMax in your own projects: `dismax.losses`, `dismax.calibration`, `dismax.detector`.

Installed, all of it lies in this package. In a checkout these are the repository's own `losses`,
`models`, `utils.calibration` and `utils.versions`.
"""

import sys
from pathlib import Path

__version__ = "0.1.0"

if not (Path(__file__).parent / "losses").is_dir():
    import losses
    import models
    from utils import calibration, versions

    sys.modules |= {f"{__name__}.{module.__name__.split('.')[-1]}": module for module in (losses, models, calibration, versions)}
