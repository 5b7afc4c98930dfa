"""The audit on real files: copies, twins, conflicts and broken files; and the memory of decoded photos."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tl_toolkit.core.records import Audit, Dataset
from tl_toolkit.datasets.audit import BACKBONE, OF_SMALL, Examination, examine, group, limits_of
from tl_toolkit.datasets.images import BrokenImageError
from tl_toolkit.datasets.photos import Photos


def picture(seed: int, width: int = 96, height: int = 64) -> Image.Image:
    """A picture of soft blobs, unlike that of any other seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return image.filter(ImageFilter.GaussianBlur(2))


def simple_features(photos: Photos) -> np.ndarray:
    """float32, shape (n, 192): an 8 x 8 thumbnail about its mean, so that unlike pictures are orthogonal or so."""
    thumbnails = [np.asarray(Image.fromarray(photos[i]).resize((8, 8)), np.float32).ravel() for i in range(len(photos))]
    return np.stack([t - t.mean() for t in thumbnails])


def dataset_of(root: Path, names: list[str], labels: list[int]) -> Dataset:
    return Dataset(
        name="test",
        root=root,
        paths=tuple(names),
        labels=np.array(labels, np.int64),
        class_names=("left", "right"),
        source="Drawn by the test.",
        licence="None needed.",
    )


def audited(dataset: Dataset) -> tuple[Examination, Audit]:
    """Both steps, with the readable photos selected in between."""
    photos = Photos(dataset.root, dataset.paths)
    seen = examine(dataset, photos)
    readable = dataset_of(
        dataset.root, [dataset.paths[i] for i in seen.readable], dataset.labels[seen.readable].tolist()
    )
    return seen, group(readable, seen, simple_features(photos.select(seen.readable)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a, b, c, d: different pictures. a_copy: the bytes of a. b_again: b in another format. broken: half of c."""
    for seed, name in enumerate("abcd"):
        picture(seed).save(tmp_path / f"{name}.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "a_copy.png")
    picture(1).save(tmp_path / "b_again.jpg", quality=60)
    whole = (tmp_path / "c.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    return tmp_path


NAMES = ["a.png", "broken.png", "b.png", "a_copy.png", "c.png", "b_again.jpg", "d.png"]
LABELS = [0, 0, 0, 0, 1, 1, 1]


def test_every_file_is_digested_measured_and_hashed(folder: Path) -> None:
    picture(9, 48, 80).save(folder / "upright.png")
    steps: list[None] = []
    dataset = dataset_of(folder, [*NAMES, "upright.png"], [*LABELS, 0])
    seen = examine(dataset, Photos(folder, dataset.paths), advance=lambda: steps.append(None))
    assert len(steps) == len(dataset)
    assert seen.readable.tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert seen.sha256[0] == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    assert seen.widths.tolist() == [96] * 6 + [48]
    assert seen.heights.tolist() == [64] * 6 + [80]
    assert seen.hashes.shape == (7, 64)
    assert seen.hashes.dtype == bool


def test_broken_and_missing_files_are_quarantined_with_a_reason(folder: Path) -> None:
    (folder / "text.jpg").write_text("no photo")
    (folder / "empty.jpg").touch()
    before = (folder / "broken.png").read_bytes()
    names = ["a.png", "broken.png", "text.jpg", "empty.jpg", "missing.png", "d.png"]
    seen, audit = audited(dataset_of(folder, names, [0, 0, 0, 0, 0, 1]))
    assert [q.path for q in audit.quarantined] == ["broken.png", "text.jpg", "empty.jpg", "missing.png"]
    reasons = [q.reason for q in audit.quarantined]
    assert all(reason and "\n" not in reason and str(folder) not in reason for reason in reasons)
    assert "not a JPEG" in reasons[1]
    assert reasons[2:] == ["the file is empty", "No such file or directory"]
    assert audit.paths == ("a.png", "d.png")
    assert seen.readable.tolist() == [0, 5]
    assert (folder / "broken.png").read_bytes() == before


def test_exact_copies_and_near_duplicates_are_grouped(folder: Path) -> None:
    _, audit = audited(dataset_of(folder, NAMES, LABELS))
    assert audit.paths == ("a.png", "b.png", "a_copy.png", "c.png", "b_again.jpg", "d.png")
    assert audit.exact == ((0, 2),)
    assert audit.near == ((1, 4),)
    a, b, a_copy, c, b_again, d = audit.groups
    assert a == a_copy
    assert b == b_again
    assert len({a, b, c, d}) == 4


def test_groups_with_different_labels_are_conflicts(folder: Path) -> None:
    _, audit = audited(dataset_of(folder, NAMES, LABELS))
    assert audit.conflicts == ((1, 4),)  # b is "left", its twin is "right"
    _, audit = audited(dataset_of(folder, NAMES, [0, 0, 0, 1, 1, 0, 1]))
    assert audit.conflicts == ((0, 2),)


def test_clean_photos_have_no_groups(folder: Path) -> None:
    _, audit = audited(dataset_of(folder, ["a.png", "b.png", "c.png", "d.png"], [0, 0, 1, 1]))
    assert (audit.exact, audit.near, audit.conflicts, audit.quarantined) == ((), (), (), ())
    assert len(set(audit.groups.tolist())) == 4


def test_identical_files_are_together_whatever_the_features_say(folder: Path) -> None:
    names, labels = ["a.png", "d.png", "a_copy.png"], [0, 1, 0]
    dataset = dataset_of(folder, names, labels)
    seen = examine(dataset, Photos(folder, dataset.paths))
    audit = group(dataset, seen, np.eye(3, dtype=np.float32))
    assert audit.exact == ((0, 2),)
    assert audit.groups[0] == audit.groups[2] != audit.groups[1]
    assert audit.near == ()


def test_a_chain_of_twins_is_one_group(folder: Path) -> None:
    # First and last are alike to no rule, each is alike to the middle one.
    angles = np.deg2rad([0, 20, 40])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32) * [[1], [7], [0.1]]
    dataset = dataset_of(folder, ["a.png", "c.png", "d.png"], [0, 1, 1])
    seen = examine(dataset, Photos(folder, dataset.paths))
    audit = group(dataset, seen, features.astype(np.float32))
    assert audit.near == ((0, 1, 2),)


@pytest.mark.parametrize(
    ("backbone", "distance", "cosine", "near"),
    [
        (BACKBONE, 8, 0.51, True),
        (BACKBONE, 8, 0.49, False),
        (BACKBONE, 9, 0.51, False),
        (BACKBONE, 12, 0.81, True),
        (BACKBONE, 12, 0.79, False),
        (BACKBONE, 13, 0.81, False),
        (BACKBONE, 64, 0.91, True),
        (BACKBONE, 64, 0.89, False),
        (OF_SMALL, 6, 0.66, True),
        (OF_SMALL, 6, 0.64, False),
        (OF_SMALL, 8, 0.72, False),
        (OF_SMALL, 12, 0.78, True),
        (OF_SMALL, 12, 0.76, False),
        (OF_SMALL, 18, 0.86, True),
        (OF_SMALL, 19, 0.89, False),
        (OF_SMALL, 64, 0.91, True),
    ],
)
def test_the_rule_of_near_duplicates(backbone: str, distance: int, cosine: float, near: bool) -> None:
    hashes = np.zeros((2, 64), bool)
    hashes[1, :distance] = True
    features = np.array([[3, 0], [2 * cosine, 2 * np.sqrt(1 - cosine**2)]], np.float32)
    seen = Examination(
        readable=np.arange(2),
        sha256=("1" * 64, "2" * 64),
        widths=np.full(2, 9),
        heights=np.full(2, 9),
        hashes=hashes,
        quarantined=(),
    )
    audit = group(dataset_of(Path(), ["x", "y"], [0, 1]), seen, features, limits=limits_of(backbone))
    assert audit.near == (((0, 1),) if near else ())


def test_twins_are_found_across_blocks_of_rows() -> None:
    # More photos than are compared at a time, with twins inside the blocks and across them.
    n = 2500
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 64)).astype(np.float32)
    twins = [(3, 5), (10, 2400), (1023, 1024), (1500, 2499)]
    for one, other in twins:
        features[other] = features[one]
    seen = Examination(
        readable=np.arange(n),
        sha256=tuple(f"{i:064x}" for i in range(n)),
        widths=np.full(n, 9),
        heights=np.full(n, 9),
        hashes=rng.random((n, 64)) < 0.5,
        quarantined=(),
    )
    audit = group(dataset_of(Path(), [str(i) for i in range(n)], [i % 2 for i in range(n)]), seen, features)
    assert sorted(audit.near) == sorted(twins)


def test_the_fingerprint_is_of_content_and_labels_not_of_names_or_order(folder: Path) -> None:
    names, labels = ["a.png", "b.png", "c.png"], [0, 0, 1]
    _, first = audited(dataset_of(folder, names, labels))
    _, reversed_ = audited(dataset_of(folder, names[::-1], labels[::-1]))
    shutil.copy(folder / "a.png", folder / "renamed.png")
    _, renamed = audited(dataset_of(folder, ["renamed.png", "b.png", "c.png"], labels))
    assert first.fingerprint == reversed_.fingerprint == renamed.fingerprint
    _, relabelled = audited(dataset_of(folder, names, [0, 1, 1]))
    _, other_photo = audited(dataset_of(folder, ["a.png", "b.png", "d.png"], labels))
    assert len({first.fingerprint, relabelled.fingerprint, other_photo.fingerprint}) == 3


def test_sizes_are_of_the_file_after_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture(0, 1200, 800).save(tmp_path / "turned.jpg", exif=exif)
    picture(1, 1200, 800).save(tmp_path / "plain.jpg")
    dataset = dataset_of(tmp_path, ["turned.jpg", "plain.jpg"], [0, 1])
    photos = Photos(tmp_path, dataset.paths)
    seen = examine(dataset, photos)
    assert seen.widths.tolist() == [800, 1200]
    assert seen.heights.tolist() == [1200, 800]
    assert [max(photos[i].shape) for i in range(2)] == [512, 512]


def test_an_almost_square_photo_is_not_laid_on_its_side(tmp_path: Path) -> None:
    # Decoded it is square: 512 x 512.
    picture(0, 2000, 1999).save(tmp_path / "wide.jpg")
    dataset = dataset_of(tmp_path, ["wide.jpg"], [0])
    seen = examine(dataset, Photos(tmp_path, dataset.paths))
    assert (seen.widths.tolist(), seen.heights.tolist()) == ([2000], [1999])


def test_photos_are_decoded_once_while_they_fit(folder: Path) -> None:
    photos = Photos(folder, ("a.png", "b.png", "c.png"), budget=2 * 96 * 64 * 3)
    assert len(photos) == 3
    first, second, third = (photos[i] for i in range(3))
    assert first.shape == (64, 96, 3)
    assert first.dtype == np.uint8
    assert photos[0] is first
    assert photos[1] is second
    assert photos[2] is not third  # no room: decoded again
    np.testing.assert_array_equal(photos[2], third)


def test_a_budget_of_nothing_keeps_nothing(folder: Path) -> None:
    photos = Photos(folder, ("a.png",), budget=0)
    first = photos[0]
    (folder / "a.png").unlink()
    with pytest.raises(FileNotFoundError):
        photos[0]
    assert first.size


def test_kept_photos_cannot_be_written_to(folder: Path) -> None:
    photos = Photos(folder, ("a.png",))
    with pytest.raises(ValueError, match="read-only"):
        photos[0][0, 0] = 0


def test_a_photo_kept_twice_costs_once(folder: Path) -> None:
    photos = Photos(folder, ("a.png", "b.png"), budget=2 * 96 * 64 * 3)
    first = photos[0]
    photos.keep(0, first.copy())
    assert photos[0] is first
    assert photos[1] is photos[1]


def test_a_selection_keeps_what_is_decoded(folder: Path) -> None:
    photos = Photos(folder, ("a.png", "b.png", "c.png"))
    third = photos[2]
    chosen = photos.select(np.array([2, 0]))
    assert len(chosen) == 2
    assert chosen[0] is third
    assert chosen.file(1) == folder / "a.png"
    np.testing.assert_array_equal(chosen[1], photos[0])


def test_a_broken_photo_raises_when_asked_for(folder: Path) -> None:
    with pytest.raises(BrokenImageError):
        Photos(folder, ("broken.png",))[0]
