"""What the SavedModel's signature of files makes of files is what training saw: upright, and on white."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from test_images import encode, photo, png

from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.datasets.images import decode_image
from tl_toolkit.exporters import saved_model
from tl_toolkit.exporters.base import Material
from tl_toolkit.exporters.preprocessing import resized

Say = Callable[[Any], np.ndarray]
LITTLE, BIG = "<", ">"
ORIENTATION, SHORT, LONG = 0x0112, 3, 4


def tiff(order: str, *entries: tuple[int, int, int, bytes], magic: int = 42) -> bytes:
    """A directory of (tag, type, count, value)."""
    head = (b"II" if order == LITTLE else b"MM") + struct.pack(f"{order}HL", magic, 8)
    body = b"".join(struct.pack(f"{order}HHL4s", *entry) for entry in entries)
    return head + struct.pack(f"{order}H", len(entries)) + body + bytes(4)


def turned(order: str, value: int) -> tuple[int, int, int, bytes]:
    return (ORIENTATION, SHORT, 1, struct.pack(f"{order}H", value))


def segment(content: bytes, marker: int = 0xE1) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def exif(content: bytes) -> bytes:
    return segment(b"Exif\0\0" + content)


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A JPEG without EXIF that looks another way in each of the eight orientations."""
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((90, 60), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    return file.getvalue()


def with_headers(plain: bytes, *segments: bytes) -> bytes:
    return plain[:2] + b"".join(segments) + plain[2:]


@pytest.fixture(scope="module")
def signatures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Say, Say]:
    """What a saved file says of the content of a JPEG, and of pixels: a softmax of four by four pixels."""
    k = keras()
    photos = k.Input((None, None, 3), dtype="uint8", name="photos")
    scores = k.layers.Flatten()(k.layers.Rescaling(1 / 32)(resized(photos, 4)))
    classifier = k.Model(photos, {"probabilities": k.layers.Softmax()(scores)})
    path = tmp_path_factory.mktemp("orientation") / "saved_model"
    names = [str(number) for number in range(48)]
    saved_model.write(path, Material(classifier=classifier, class_names=names, metadata={}, calibration=[]))
    tf = tensorflow()
    model = tf.saved_model.load(str(path))

    def of_file(content: bytes) -> np.ndarray:
        said = model.signatures["serve_jpeg"](jpeg=tf.constant([content]))
        return np.asarray(said["probabilities"])[0]

    def of_pixels(pixels: np.ndarray) -> np.ndarray:
        said = model.signatures["serving_default"](photos=tf.constant(pixels[None]))
        return np.asarray(said["probabilities"])[0]

    return of_file, of_pixels


def transparent(mode: str) -> Image.Image:
    image = Image.fromarray(photo(61, 40))
    image.putalpha(Image.fromarray(photo(61, 40, seed=1)[..., 0]))
    return image.convert(mode)


def bmp(pixels: np.ndarray, bits: int, compression: int = 0, top_down: bool = False) -> bytes:
    """A BMP of blue, green, red, and zeros where there are 32 bits; put together by hand, for what Pillow cannot write.

    Args:
        pixels: uint8 RGB (height, width, 3), width divisible by 4.
    """
    height, width = pixels.shape[:2]
    stored = np.concatenate([pixels[..., ::-1], np.zeros((height, width, bits // 8 - 3), np.uint8)], -1)
    content = (stored if top_down else stored[::-1]).tobytes()
    rest = (1, bits, compression, len(content), 0, 0, 0, 0)
    header = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, *rest)
    return b"BM" + struct.pack("<IHHI", 54 + len(content), 0, 0, 54) + header + content


PHOTO = Image.fromarray(photo(61, 40))
ROWS = b"".join(b"\0" + bytes([value, 99]) for value in range(0, 240, 10))
OTHER_FILES = {
    "PNG": encode(PHOTO, "PNG"),
    "grey PNG": encode(PHOTO.convert("L"), "PNG"),
    "PNG of 1 bit": encode(PHOTO.convert("1"), "PNG"),
    "PNG of 2 bits": encode(PHOTO.quantize(4), "PNG"),
    "PNG of 4 bits": png(4, 24, 4, 0, ROWS),
    "PNG of 4 bits with a transparent colour": png(4, 24, 4, 0, ROWS, transparent=b"\0\6"),
    "PNG with a palette": encode(PHOTO.quantize(64), "PNG"),
    "PNG with a palette with alpha": encode(PHOTO.quantize(64), "PNG", transparency=bytes(range(0, 256, 4))),
    "PNG of 2 bits with alpha": encode(PHOTO.quantize(4), "PNG", transparency=bytes([0, 90, 180, 255])),
    "PNG with a transparent colour": encode(PHOTO, "PNG", transparency=PHOTO.getpixel((5, 5))),
    "PNG with alpha": encode(transparent("RGBA"), "PNG"),
    "PNG with grey and alpha": encode(transparent("LA"), "PNG"),
    "GIF": encode(PHOTO.quantize(64), "GIF"),
    "GIF with frames": encode(PHOTO.quantize(64), "GIF", save_all=True, append_images=[PHOTO.rotate(180)]),
    "BMP": encode(PHOTO, "BMP"),
    "BMP of 32 bits": bmp(photo(60, 40), 32),
    "BMP from the top": bmp(photo(60, 40), 24, top_down=True),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_formats(signatures: tuple[Say, Say], name: str) -> None:
    of_file, of_pixels = signatures
    content = OTHER_FILES[name]
    np.testing.assert_allclose(of_file(content), of_pixels(decode_image(content)), atol=1e-4)


@pytest.mark.parametrize(
    "content",
    [
        encode(PHOTO.quantize(64), "BMP"),
        encode(PHOTO.convert("1"), "BMP"),
        bmp(photo(60, 40), 32, compression=3),
        encode(PHOTO, "TIFF"),
        b"BM",
        b"\x89PNG",
        b"",
    ],
)
def test_what_would_be_misread_is_refused(signatures: tuple[Say, Say], content: bytes) -> None:
    of_file, _ = signatures
    with pytest.raises(tensorflow().errors.InvalidArgumentError):
        of_file(content)


@pytest.mark.parametrize("order", [LITTLE, BIG])
@pytest.mark.parametrize("value", range(1, 9))
def test_all_orientations(signatures: tuple[Say, Say], plain: bytes, order: str, value: int) -> None:
    of_file, of_pixels = signatures
    content = with_headers(plain, exif(tiff(order, turned(order, value))))
    said = of_file(content)
    np.testing.assert_allclose(said, of_pixels(decode_image(content)), atol=1e-4)
    transposed = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert transposed is not None
    np.testing.assert_allclose(said, of_pixels(np.asarray(transposed)), atol=1e-4)


@pytest.fixture(scope="module")
def possible(signatures: tuple[Say, Say], plain: bytes) -> list[np.ndarray]:
    """What is said of the photo in each orientation."""
    of_file, _ = signatures
    return [of_file(with_headers(plain, exif(tiff(BIG, turned(BIG, value))))) for value in range(1, 9)]


def test_orientations_differ(possible: list[np.ndarray]) -> None:
    """Or the other tests would say nothing."""
    assert min(np.abs(one - other).max() for i, one in enumerate(possible) for other in possible[:i]) > 0.01


MAKE = (0x010F, 2, 9, struct.pack("<L", 60))


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([segment(b"JFIF\0" + bytes(9), 0xE0), exif(tiff(BIG, turned(BIG, 6)))], 6),
        ([segment(b"http://ns.adobe.com/xap/1.0/\0"), segment(bytes(65533), 0xE2), exif(tiff(BIG, turned(BIG, 6)))], 6),
        ([exif(tiff(BIG, turned(BIG, 3))), exif(tiff(BIG, turned(BIG, 6)))], 3),
        ([b"\xff\xff" + exif(tiff(BIG, turned(BIG, 8)))], 8),
        ([exif(tiff(LITTLE, MAKE, turned(LITTLE, 5), (0x0132, 3, 1, b"\7\0")) + bytes(99))], 5),
        ([exif(tiff(LITTLE, (ORIENTATION, LONG, 1, struct.pack("<L", 7))))], 7),
        ([exif(tiff(LITTLE, (ORIENTATION, 77, 1, b"\3\0"), turned(LITTLE, 2)))], 2),
        ([exif(tiff(LITTLE, turned(LITTLE, 0)))], 1),
        ([exif(tiff(LITTLE, turned(LITTLE, 9)))], 1),
        ([exif(tiff(LITTLE, (ORIENTATION, LONG, 1, struct.pack("<L", 0x10006))))], 1),
        ([exif(tiff(BIG, turned(LITTLE, 6)))], 1),
        ([exif(tiff(LITTLE, turned(LITTLE, 6), magic=7))], 1),
        ([exif(tiff(LITTLE))], 1),
        ([exif(b"")], 1),
        ([segment(tiff(LITTLE, turned(LITTLE, 6)))], 1),
        ([segment(b"Exif\0\0" + tiff(LITTLE, turned(LITTLE, 6)), 0xE3)], 1),
    ],
)
def test_it_is_read_where_it_is_and_only_there(
    signatures: tuple[Say, Say], plain: bytes, possible: list[np.ndarray], headers: list[bytes], value: int
) -> None:
    of_file, of_pixels = signatures
    content = with_headers(plain, *headers)
    np.testing.assert_array_equal(of_file(content), possible[value - 1])
    np.testing.assert_allclose(of_file(content), of_pixels(decode_image(content)), atol=1e-4)


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_what_is_cut_off_does_not_turn_a_photo(signatures: tuple[Say, Say], plain: bytes, order: str) -> None:
    of_file, _ = signatures
    upright, whole = of_file(plain), tiff(order, turned(order, 6))
    entry_ends = 8 + 2 + 12
    for length in range(len(whole)):
        said = of_file(with_headers(plain, exif(whole[:length])))
        assert np.array_equal(said, upright) == (length < entry_ends), length


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_nothing_in_the_segment_makes_it_fail(
    data: st.DataObject, signatures: tuple[Say, Say], plain: bytes, possible: list[np.ndarray]
) -> None:
    of_file, _ = signatures
    order = data.draw(st.sampled_from([LITTLE, BIG]))
    content = data.draw(
        st.one_of(
            st.binary(max_size=80),
            # A head that is right, so that what is behind it is read.
            st.binary(max_size=80).map(lambda rest: tiff(order)[:4] + rest),
            st.tuples(st.integers(0, 2**16 - 1), st.binary(max_size=80)).map(
                lambda drawn: tiff(order)[:8] + struct.pack(f"{order}H", drawn[0]) + drawn[1]
            ),
        )
    )
    said = of_file(with_headers(plain, exif(content)))
    assert any(np.array_equal(said, one) for one in possible)


def test_the_walk_through_a_file_of_padding_ends(signatures: tuple[Say, Say], plain: bytes) -> None:
    of_file, _ = signatures
    padded = with_headers(plain, b"\xff" * 100_000, exif(tiff(BIG, turned(BIG, 6))))
    np.testing.assert_array_equal(of_file(padded), of_file(plain))
