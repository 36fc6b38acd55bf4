"""The table of detectors: scores that are computed after training from logits, features or the
network itself.
"""

from .ash import fit_ash_b, fit_ash_s
from .combined import fit_combined
from .common import needs_linear_head
from .contract import Detector, FitData, Fitted, NotApplicable, Score, SetOutputs
from .energy import fit_energy
from .gen import fit_gen
from .knn import fit_knn
from .mahalanobis import fit_mahalanobis, fit_mahalanobis_plus_plus
from .mahalanobis_layers import fit_mahalanobis_layers
from .maxlogit import fit_maxlogit
from .odin import fit_odin
from .preprocessing import fit_preprocessing
from .pytorch_ood import PREFIX, get_pytorch_ood
from .react import fit_react
from .scale import fit_scale
from .vim import fit_vim

DETECTORS: dict[str, Detector] = {
    "maxlogit": Detector("MaxLogit", "logits", fit_maxlogit),
    "energy": Detector("Energy", "logits", fit_energy),
    "gen": Detector("GEN", "logits", fit_gen),
    "knn": Detector("KNN", "features", fit_knn),
    "mahalanobis": Detector("Mahalanobis", "features", fit_mahalanobis),
    "mahalanobis_plus_plus": Detector("Mahalanobis++", "features", fit_mahalanobis_plus_plus),
    "mahalanobis_layers": Detector("Mahalanobis over layers", "network", fit_mahalanobis_layers),
    "combined": Detector("own + KNN + Mahalanobis", "features", fit_combined),
    "vim": Detector("ViM", "features", fit_vim, refuses=needs_linear_head),
    "react": Detector("ReAct", "features", fit_react),
    "ash_b": Detector("ASH-B", "features", fit_ash_b, refuses=needs_linear_head),
    "ash_s": Detector("ASH-S", "features", fit_ash_s, refuses=needs_linear_head),
    "scale": Detector("SCALE", "features", fit_scale, refuses=needs_linear_head),
    "odin": Detector("ODIN", "network", fit_odin, options=("epsilon", "temperature")),
    "preprocessing": Detector("own, perturbed", "network", fit_preprocessing, options=("epsilon",)),
}


def get_detector(name: str) -> Detector:
    """Return the detector of this name: a row of the table, or `pytorch_ood:NAME`.

    Raises ValueError with the choices for an unknown name.
    """
    if name.startswith(PREFIX):
        return get_pytorch_ood(name)
    if name not in DETECTORS:
        raise ValueError(
            f"unknown detector {name!r}: choose from {', '.join(DETECTORS)}, {PREFIX}NAME"
        )
    return DETECTORS[name]


__all__ = [
    "DETECTORS",
    "Detector",
    "FitData",
    "Fitted",
    "NotApplicable",
    "Score",
    "SetOutputs",
    "get_detector",
]
