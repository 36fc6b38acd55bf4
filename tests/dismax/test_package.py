"""What `pip install .` puts into a user's environment."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib import import_module
from pkgutil import iter_modules

import pytest

import detectors
import losses
import models
from experiment import records
from tests.common import QUICK, ROOT

USE = """
import contextlib
import io
import runpy
import sys
import torch
before = {name.split(".")[0] for name in sys.modules}
import dismax
from dismax import calibration, detectors, score
from dismax.detector import Detector
from dismax.losses import DisMaxLossFirstPart, DisMaxLossSecondPart, replace_classifier
assert dismax.__file__.startswith(sys.argv[1]), dismax.__file__
assert detectors.__name__ == "dismax.detectors"
new = {name.split(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)
for name in dismax.__all__:
    assert getattr(dismax, name).__module__.startswith("dismax."), name
assert dismax.losses.replace_classifier is dismax.replace_classifier
from dismax import metrics
assert metrics.accuracy([[0.0, 1.0]], [1]) == 1
assert dismax.drift([0.0, 1.0], [0.5], 0.5).refused == 0
found = Detector.load(sys.argv[2])(torch.zeros(3, 3, 8, 8))
assert Detector.load("cifar10").class_names[3] == "cat"
overview = io.StringIO()
with contextlib.redirect_stdout(overview):
    runpy.run_module("dismax", run_name="__main__")
assert "in the repository" in overview.getvalue()
assert "main.py" not in overview.getvalue()  # the package has no programs
temperature = calibration.fit_temperature(torch.eye(2), torch.arange(2))
print(sorted(new), found.probabilities.shape[0], temperature > 0)
"""


@pytest.mark.filterwarnings("ignore")
def test_the_installed_package_is_one_name_that_loads_torch_alone(tmp_path, run_main):
    assert run_main("--loss", "dismax", *QUICK)[0] == 0
    wheels = tmp_path / "wheels"
    build = [
        "pip",
        "wheel",
        ".",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "--wheel-dir",
        str(wheels),
    ]
    subprocess.run([sys.executable, "-m", *build], cwd=ROOT, check=True)
    (wheel,) = wheels.iterdir()
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    metadata = Parser().parsestr(next(site.glob("*.dist-info/METADATA")).read_text())
    assert [needed for needed in metadata.get_all("Requires-Dist") if "extra" not in needed] == [
        "scikit-learn>=1.5",
        "scipy>=1.13",
        "torch>=2.6",
    ]
    assert metadata["License-Expression"] == "MIT"
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"dismax"}
    assert (site / "dismax" / "py.typed").exists()
    model = tmp_path / "runs" / "digits" / "smallcnn" / "dismax" / "1" / records.MODEL
    used = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", USE, str(site), str(model)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert used.stdout == "['dismax'] 3 True\n", used.stderr


@pytest.mark.parametrize("folder", [detectors, losses, models])
def test_in_a_checkout_a_module_has_two_names_and_one_copy(folder):
    for found in iter_modules(folder.__path__, f"{folder.__name__}."):
        assert import_module(f"dismax.{found.name}") is import_module(found.name)
