"""The commands on real photos of CIFAR-10: a small part of it, in its official layout, from the files to the scores."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tl_toolkit import search, train
from tl_toolkit.datasets.cifar10_files import FOLDER, META

REAL = Path(os.environ.get("TL_TOOLKIT_DATA", "-").split(os.pathsep)[0])
TOOL = REAL.parent / "tools" / "make_cifar10_batches.py"
PHOTOS = 40
"""Of each batch."""

pytestmark = [
    pytest.mark.real_photos,
    pytest.mark.skipif(
        not (REAL / "cifar10_train_jpeg.tar").is_file(), reason="no cifar10_train_jpeg.tar in $TL_TOOLKIT_DATA"
    ),
    pytest.mark.skipif(not TOOL.is_file(), reason="no ../tools/make_cifar10_batches.py beside $TL_TOOLKIT_DATA"),
]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tool makes of every 250th photo: 20 of each class for training, 4 in the test set."""
    root = tmp_path_factory.mktemp("part")
    for folder in ("datasets", "tools"):
        (root / folder).mkdir()
    for name in ("cifar10_train_jpeg.tar", "cifar10_test_jpeg.tar"):
        with tarfile.open(REAL / name) as whole, tarfile.open(root / "datasets" / name, "w") as made:
            for photo in [member for member in whole if member.isfile()][::250]:
                made.addfile(photo, whole.extractfile(photo))
    # It reads what lies beside its own folder.
    tool = shutil.copy(TOOL, root / "tools")
    subprocess.run([sys.executable, tool, str(root)], check=True, timeout=300)
    meta = pickle.loads((root / FOLDER / META).read_bytes())
    (root / FOLDER / META).write_bytes(pickle.dumps(meta | {b"num_cases_per_batch": PHOTOS}, protocol=3))
    return root


@pytest.mark.usefixtures("scored_only", "measured_here")
@pytest.mark.parametrize("network", [None, "cifar_fast"], ids=["search", "train"])
def test_the_scores_are_of_the_test_photos(
    network: str | None, part: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["cifar10", "--data-dir", str(part), "--out", str(tmp_path), "--folds", "8"]
    if network:
        assert train.main([*words, "--network", network, "--epochs", "1"]) == 0
    else:
        assert search.main([*words, "--inner-folds", "3", "--smoke", "--trials", "2", "--baseline", "none"]) == 0
    said = capsys.readouterr().err
    assert "Warning: --folds has no effect: cifar10 has an official test set" in said
    assert ("Warning: --inner-folds has no effect" in said) == (network is None)

    [folder] = (tmp_path / "cifar10").iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert run["splits"]["official_test_set"]
    assert run["splits"]["n_scored"] == PHOTOS
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    batch = pickle.loads((part / FOLDER / "test_batch").read_bytes())
    assert [row["path"] for row in rows] == [f"test_batch/{name.decode()}" for name in batch[b"filenames"]]
    truth = [run["dataset"]["class_names"][label] for label in batch[b"labels"]]
    assert [row["label"] for row in rows] == truth
    right = np.mean([row["predicted"] == label for row, label in zip(rows, truth, strict=True)])
    assert run["evaluation"]["metrics"]["accuracy"]["value"] == pytest.approx(right)
