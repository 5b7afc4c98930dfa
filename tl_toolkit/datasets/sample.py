"""``slash_sample``: drawn pictures of products that stand in for the Slash photos where those cannot be had.

Same 8 classes, same counts, same awkwardness: few pictures, uneven classes, products that several classes
share (a box may be a game, food or cosmetics), untidy backgrounds and near duplicates. So the whole toolkit
runs and is tested on something lifelike without a download. No score on these pictures says anything about
the real ones. For orientation: EfficientNet-Lite0 features and logistic regression in 5 folds, grouped by
near duplicates, reach an accuracy of 0.82 and a macro F1 of 0.73 (2 shuffles).

Every picture is a function of its class and number alone (and of NumPy's and Pillow's code, so byte for byte
the same within one environment).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from tl_toolkit.core import console
from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.datasets import sample_shapes as shapes

SAMPLE_VERSION = 1
"""Goes up whenever a picture changes; callers put it into the folder's name, so old and new never mix."""

CLASS_COUNTS: dict[str, int] = {
    "Accessories": 85,
    "Artifacts": 23,
    "Beauty": 22,
    "Fashion": 127,
    "Games": 11,
    "Home": 81,
    "Nutrition": 25,
    "Stationary": 53,
}

# Class -> (what is shown, where), each with its weight. What classes share keeps classifiers honest.
_RECIPES: dict[str, tuple[str, str]] = {
    "Accessories": (
        "jewellery 26 phone_case 20 sleeve 11 sticker 14 plush 18 bag 8 notebook 1 mug 1 cushion 1",
        "studio 3 gradient 3 flat 2 cloth 3 planks 2 bokeh 2 grass 1",
    ),
    "Artifacts": (
        "frame 30 plate 36 bag 18 mirror 6 board 4 notebook 3 jewellery 3",
        "grass 3 room 2 cloth 2 planks 2 gradient 1 studio 1",
    ),
    "Beauty": (
        "bottle 40 jar 28 roller 16 carton 10 bag 3 plush 3",
        "studio 4 gradient 3 bokeh 2 cloth 1 grass 1 planks 1",
    ),
    "Fashion": (
        "person 51 garment 31 bag 9 shoe 7 jewellery 2",
        "studio 4 gradient 4 room 2 bokeh 2 flat 1 grass 1",
    ),
    "Games": ("game 50 cards 25 board 20 carton 5", "flat 3 studio 2 gradient 2 planks 2 cloth 1"),
    "Home": (
        "macrame 18 lamp 15 cushion 14 mug 14 basket 14 mirror 10 frame 7 jar 5 bottle 2 plate 1",
        "room 4 studio 2 planks 2 cloth 2 gradient 1 bokeh 1",
    ),
    "Nutrition": ("chip_bag 40 food_carton 25 biscuits 20 jar 15", "studio 6 gradient 2 flat 1 planks 1"),
    "Stationary": (
        "notebook 55 planner 25 pens 13 sticker 3 cards 2 sleeve 2",
        "planks 5 cloth 2 studio 2 gradient 1 flat 1",
    ),
}
_SHAPES_OF_PHOTOS = ((1, 1), (2, 3), (4, 5), (3, 4), (3, 4), (9, 16), (3, 2), (4, 3))
_STRAYS, _TWINS = 0.02, 0.06

Array = npt.NDArray[np.float32]


def _rng(class_name: str, number: int, purpose: str) -> np.random.Generator:
    key = f"slash_sample/{SAMPLE_VERSION}/{class_name}/{number}/{purpose}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()))


def _choose(rng: np.random.Generator, weighted: str) -> str:
    names, weights = weighted.split()[::2], np.array(weighted.split()[1::2], dtype=float)
    return names[rng.choice(len(names), p=weights / weights.sum())]


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: tuple[float, float]) -> Array:
    """Smooth noise, -1 to 1, shape (height, width), with bumps of about ``cell`` (across, down) pixels."""
    across, down = (max(2, round(length / step)) for length, step in zip(size, cell, strict=True))
    grain = Image.fromarray(rng.integers(0, 256, (down, across), dtype=np.uint8))
    return np.asarray(grain.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1


def _enlarge(plane: npt.NDArray[np.uint8], size: tuple[int, int]) -> Array:
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR), dtype=np.float32)


def _backdrop(rng: np.random.Generator, style: str, size: tuple[int, int]) -> Array:
    """The place: float32 RGB 0..255, shape (3, height, width); whole planes multiply far faster."""
    width, height = size
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :]

    def wash(colour: shapes.Colour, light: Array) -> Array:
        return light * np.array(colour, dtype=np.float32)[:, None, None]

    pale, tone = shapes.paint(rng, (0.03, 0.25), (0.7, 0.98)), shapes.paint(rng)
    if style == "studio":
        light = 1 - rng.uniform(0, 0.15) * (across - rng.random()) ** 2 - rng.uniform(0, 0.2) * down**2
        return wash(shapes.shade(shapes.WHITE, rng.uniform(0.9, 1.05)), light)
    if style == "gradient":
        turn, other = rng.uniform(-1, 1), shapes.paint(rng, (0.05, 0.5), (0.5, 1.0))
        blend = np.clip(down + turn * (across - 0.5), 0, 1)
        return wash(pale, 1 - blend) + wash(other, blend)
    if style == "flat":
        return wash(tone, 1 - 0.25 * (across - 0.5) ** 2 - 0.25 * (down - 0.5) ** 2)
    if style == "cloth":
        folds = _noise(rng, size, (rng.uniform(40, 120), rng.uniform(60, 160)))
        light = 0.9 + rng.uniform(0.08, 0.25) * np.abs(folds) + 0.04 * _noise(rng, size, (2, 2))
        return wash(shapes.shade(pale, 0.9), light)
    if style == "grass":
        blades = _noise(rng, size, (3, 9)) * 0.28 + _noise(rng, size, (60, 60)) * 0.2
        light = 0.6 + blades + 0.25 * (down - 0.5) * rng.uniform(-1, 1)
        return wash(shapes.shade((112, 140, 62), rng.uniform(0.7, 1.2)), light)
    if style == "planks":
        wood = shapes.pick(rng, [shapes.WOOD, (225, 222, 216), (110, 78, 55), (60, 50, 48)])
        lying = rng.random() < 0.5
        count, run, axis = int(rng.integers(3, 8)), (150, 3) if lying else (3, 150), down if lying else across
        tints = rng.uniform(0.82, 1.05, count).astype(np.float32)
        light = tints[np.minimum((axis * count).astype(int), count - 1)] + 0.12 * _noise(rng, size, run)
        return wash(wood, light * np.where((axis * count) % 1 < 0.035, 0.45, 1.0).astype(np.float32))
    if style == "bokeh":
        spots = shapes.Sketch()
        for x, y in rng.uniform((0, 0), size, (18, 2)):
            radius = rng.uniform(8, 45)
            spots.oval(x, y, radius, radius, shapes.paint(rng), 120)
        glow, _ = _paint(spots, size)
        return wash(shapes.shade(tone, 0.6), 0.7 + 0.3 * _noise(rng, size, (90, 90))) + glow
    # A room: wall, floor or table top, skirting board, and the light of a window.
    horizon = rng.uniform(0.6, 0.85)
    slant = np.abs((across - rng.random()) + 0.4 * (down - 0.4)) < rng.uniform(0.08, 0.2)
    window = np.where(slant & (down < horizon - 0.08), np.float32(0.1), np.float32(0))
    wall = wash(pale, 0.85 + window - 0.15 * across + 0.02 * _noise(rng, size, (2, 2)))
    floor = wash(
        shapes.pick(rng, [shapes.WOOD, shapes.CREAM, shapes.shade(pale, 0.7)]),
        0.75 + 0.15 * _noise(rng, size, (90, 4)),
    )
    edge = int(horizon * height)
    wall[:, edge - 6 :] *= rng.uniform(0.7, 1.1)
    wall[:, edge:] = floor[:, edge:]
    return wall


def _paint(sketch: shapes.Sketch, size: tuple[int, int]) -> tuple[Array, Array]:
    """Rasterise at twice the size and shrink: colour (3, height, width) times cover, 0..255, and cover, 0..1.

    Solid shapes cover; translucent ones tint what they lie on and, beyond it, add light.
    """
    image, cover = (Image.new(mode, (2 * size[0], 2 * size[1])) for mode in ("RGB", "L"))
    draw, mask = ImageDraw.Draw(image, "RGBA"), ImageDraw.Draw(cover)
    for shape in sketch.shapes:
        points = (2 * shape.points).ravel().tolist()
        solid = shape.alpha == 255
        if shape.width:
            width = max(1, round(2 * shape.width))
            draw.line(points, (*shape.colour, shape.alpha), width, "curve")
            if solid:
                mask.line(points, 255, width, "curve")
        else:
            draw.polygon(points, (*shape.colour, shape.alpha))
            if solid:
                mask.polygon(points, 255)
    colour: Array = np.stack([np.asarray(band, dtype=np.float32) for band in image.reduce(2).split()])
    return colour, np.asarray(cover.reduce(2), dtype=np.float32) / np.float32(255)


def _lay(canvas: Array, sketch: shapes.Sketch, rng: np.random.Generator, cloth: bool) -> Array:
    """Put a sketch, in pixels of the canvas, onto it: with light, weave and a soft shadow."""
    height, width = canvas.shape[1:]
    colour, cover = _paint(sketch, (width, height))
    small = Image.fromarray((255 * cover).astype(np.uint8)).reduce(4)
    soft = np.asarray(small.filter(ImageFilter.GaussianBlur(rng.uniform(1, 5))))
    right, low = rng.integers(-4, 5), rng.integers(0, 5)
    rows, columns = soft.shape
    framed = np.pad(soft, 5, mode="edge")
    moved = framed[5 - low : 5 - low + rows, 5 - right : 5 - right + columns]
    shadow = _enlarge(moved, (width, height))
    # The soft silhouette is a height map as well: edges that face the lamp are bright, the others dark.
    edges = moved // 2 + 127 - framed[5 + low : 5 + low + rows, 5 + right : 5 + right + columns] // 2
    slope = rng.uniform(-0.2, 0.2, 2).astype(np.float32)
    light = slope[0] * np.linspace(-1, 1, width, dtype=np.float32) - np.float32(
        rng.uniform(0, 0.8 if cloth else 0.35) / 127
    ) * (_enlarge(edges, (width, height)) - 127)
    light += 1 + slope[1] * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    if cloth:
        light = light + 0.13 * _noise(rng, (width, height), (28, 45)) + 0.05 * _noise(rng, (width, height), (2.5, 2.5))
    darkness = np.float32(rng.uniform(0.2, 0.6) / 255)
    canvas *= (1 - darkness * shadow) * (1 - cover)
    colour *= light
    canvas += colour
    return canvas


def _photograph(picture: Array, rng: np.random.Generator) -> Image.Image:
    """What a camera adds: exposure, a colour cast, uneven light, blur and noise."""
    height, width = picture.shape[1:]
    gain = rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, (3, 1, 1)).astype(np.float32)
    if rng.random() < 0.12:
        gain *= rng.uniform(0.45, 1.1)
    picture *= gain * (1 + rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, width, dtype=np.float32))
    picture += rng.uniform(3, 20) * (rng.random((height, width), dtype=np.float32) - np.float32(0.5))
    planes = np.clip(picture, 0, 255, out=picture).astype(np.uint8)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in planes])
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6))) if rng.random() < 0.3 else image


def _pose(rng: np.random.Generator, at: npt.NDArray[np.float64], size: float, tilt: float) -> npt.NDArray[np.float64]:
    """The 2 x 3 matrix that puts a product at ``at``, ``size`` pixels to a unit, slightly skewed."""
    angle, squeeze, skew = rng.normal(0, tilt), rng.uniform(0.88, 1.12), rng.normal(0, tilt / 4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([size * turn @ np.array([[squeeze, skew], [0, 1]]), at])


def near_duplicate_of(class_name: str, number: int) -> int:
    """The number of the picture that picture ``number`` repeats; ``number`` itself where it repeats none."""
    while number > 1 and _rng(class_name, number, "twin").random() < _TWINS:
        number -= 1
    return number


def draw(class_name: str, number: int) -> Image.Image:
    """Picture ``number`` of a class: RGB, longest side 384 to 512 pixels, the same in every process.

    About 1 in 20 is a near duplicate of the one before it: same product and place, other crop and light.

    Raises:
        UnknownNameError: there is no such class.
    """
    if class_name not in _RECIPES:
        raise UnknownNameError("class of slash_sample", class_name, _RECIPES)
    original = near_duplicate_of(class_name, number)
    rng, camera = _rng(class_name, original, "scene"), _rng(class_name, number, "camera")
    longest, aspect = int(rng.integers(384, 513)), _SHAPES_OF_PHOTOS[rng.integers(len(_SHAPES_OF_PHOTOS))]
    width, height = (round(longest * side / max(aspect)) for side in aspect)
    short = min(width, height)

    products, places = _RECIPES[class_name]
    if rng.random() < _STRAYS:
        products = _RECIPES[list(_RECIPES)[rng.integers(len(_RECIPES))]][0]
    kind, place = shapes.KINDS[_choose(rng, products)], _choose(rng, places)
    canvas = _backdrop(rng, place, (width, height))
    if place not in ("studio", "flat") and rng.random() < 0.6:
        clutter = shapes.Sketch()
        for _ in range(rng.integers(1, 6)):
            item, spot = shapes.Sketch(), rng.uniform((0, 0), (width, height))
            (shapes.sprig, shapes.sweets, shapes.pens, shapes.planner)[rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])](item, rng)
            clutter.place(item, _pose(rng, spot, short * rng.uniform(0.1, 0.25), 2.0))
        canvas = _lay(canvas, clutter, rng, cloth=False)
    main, pieces = shapes.Sketch(), 2 if width >= height and rng.random() < 0.25 else 1
    filled = rng.uniform(0.6, 0.95) * (1.4 if rng.random() < 0.12 else 1.0)
    for piece in range(pieces):
        product = shapes.Sketch()
        kind.draw(product, rng)
        across, down = 2 * np.max([np.abs(shape.points).max(axis=0) for shape in product.shapes], axis=0)
        size = filled * min(width / pieces / across, height / down)
        middle = np.array([width * (piece + 0.5) / pieces, height / 2]) + rng.normal(0, 0.03, 2) * short
        main.place(product, _pose(rng, middle, size, 0.04 if kind.stands else 0.3))
    canvas = _lay(canvas, main, rng, kind.cloth)
    image = _photograph(canvas, camera)
    if original != number:
        left, top, right, bottom = camera.uniform(0, 0.04, 4) * (width, height, width, height)
        image = image.resize((width, height), Image.Resampling.BICUBIC, (left, top, width - right, height - bottom))
    return image


def write_sample(folder: Path, counts: Mapping[str, int] | None = None) -> Path:
    """Draw the data set into ``<folder>/<Class>/<class>_<number>.jpg``; a complete folder is left as it is.

    Pictures are drawn beside ``folder`` and moved there in one step, so it is never seen half-filled,
    whatever stops this process and however many do the same at once. A folder that lost pictures is redrawn.

    Args:
        folder: Where the pictures go; its name should hold :data:`SAMPLE_VERSION`. Parent folders are made.
        counts: Class -> number of pictures; :data:`CLASS_COUNTS` if not given.

    Returns:
        ``folder``.

    Raises:
        UnknownNameError: ``counts`` has a class that the sample has not.
        UserError: ``folder`` holds other files, a count is below 1, or the system does not let it be written
            (no space, no permission).
    """
    counts = CLASS_COUNTS if counts is None else counts
    for class_name, count in counts.items():
        if class_name not in _RECIPES:
            raise UnknownNameError("class of slash_sample", class_name, _RECIPES)
        if count < 1:
            raise UserError(f"A class needs at least 1 picture, got {class_name}={count}.")
    wanted = {
        f"{class_name}/{class_name.lower()}_{number:03d}.jpg": (class_name, number)
        for class_name, count in counts.items()
        for number in range(1, count + 1)
    }
    if _is_complete(folder, wanted.keys()):
        return folder
    console.note(f"Drawing {len(wanted)} sample pictures into {folder}.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.partial-", dir=folder.parent) as partial:
            pictures = Path(partial) / "pictures"
            for class_name in counts:
                (pictures / class_name).mkdir(parents=True)
            with console.progress() as display:
                for name, (class_name, number) in display.track(wanted.items(), description="Drawing the sample"):
                    draw(class_name, number).save(pictures / name, quality=90)
            _put_in_place(pictures, folder, wanted.keys())
    except OSError as error:
        raise UserError(
            f"The sample pictures cannot be written to {folder}: {error.strerror or error}. "
            "Make room there or choose another folder."
        ) from error
    return folder


def _is_complete(folder: Path, wanted: Set[str]) -> bool:
    """Whether ``folder`` holds exactly the ``wanted`` files, hidden ones aside.

    Raises:
        UserError: it is no folder, or holds files that are not ours and that a new drawing would remove.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder for sample pictures: choose another name.")
    # os.walk, unlike Path.rglob, bears with a folder that another process moves away meanwhile.
    paths = (Path(root, name) for root, _, names in os.walk(folder) for name in names if not name.startswith("."))
    present = {path.relative_to(folder).as_posix() for path in paths}
    if foreign := sorted(present - wanted):
        raise UserError(f"{folder} holds files that are not part of the sample, such as {foreign[0]}: move them away.")
    return present == wanted


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind; a living one needs seconds, not an hour."""
    for partial in folder.parent.glob(f".{folder.name}.partial-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > 3600:
                shutil.rmtree(partial)


def _put_in_place(pictures: Path, folder: Path, wanted: Set[str]) -> None:
    """Rename ``pictures`` to ``folder``, unless another process has just put the same pictures there."""
    for attempt in itertools.count():
        try:
            pictures.rename(folder)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if _is_complete(folder, wanted):
            return
        with contextlib.suppress(FileNotFoundError):
            folder.rename(pictures.with_name(f"incomplete_{attempt}"))
