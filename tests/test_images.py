"""Every format, mode and kind of damage that `decode_image` promises to handle, on files made here."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tl_toolkit.datasets.images import MAX_BYTES, MAX_SIDE, SUFFIXES, BrokenImageError, decode_image, upright_size


def photo(width: int, height: int, seed: int = 0, detail: int = 8) -> np.ndarray:
    """Something like a photo: blobs of ``detail`` px and some grain; uint8, shape (height, width, 3)."""
    rng = np.random.default_rng(seed)
    grid = (height // detail + 2, width // detail + 2, 3)
    blobs = Image.fromarray(rng.integers(0, 256, grid, dtype=np.uint8))
    smooth = np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    grain = rng.integers(-9, 10, (height, width, 1), dtype=np.int16)
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, file_format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes = b"", transparent: bytes = b"") -> bytes:
    """A PNG put together by hand, for what Pillow cannot write. ``rows``: one filter byte before each row."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    alpha = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + alpha + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def retag(tiff: bytes, tag: int, old: int, new: int) -> bytes:
    """A little-endian TIFF with one 16-bit tag changed."""
    before, after = (struct.pack("<HHIHH", tag, 3, 1, value, 0) for value in (old, new))
    assert tiff.count(before) == 1
    return tiff.replace(before, after)


# pytest resets the filters with which the module keeps Pillow quiet.
pytestmark = [pytest.mark.filterwarnings(f"ignore:::PIL.{module}") for module in ("Image", "TiffImagePlugin")]

PHOTO = photo(61, 40)
EXIF_TRANSFORMS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes()


class TestFormats:
    @pytest.mark.parametrize(
        ("file_format", "options"),
        [
            ("PNG", {}),
            ("WEBP", {"lossless": True}),
            ("BMP", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}),
            ("TIFF", {"compression": "packbits"}),
        ],
    )
    def test_lossless_files_give_back_their_pixels(
        self, file_format: str, options: dict[str, Any], tmp_path: Path
    ) -> None:
        data = encode(PHOTO, file_format, **options)
        path = tmp_path / "photo.jpg"  # by content, not by name
        path.write_bytes(data)
        for source in (path, data):
            pixels = decode_image(source)
            assert pixels.dtype == np.uint8
            assert pixels.flags.writeable
            np.testing.assert_array_equal(pixels, PHOTO)

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"optimize": True}])
    def test_jpeg(self, options: dict[str, Any]) -> None:
        pixels = decode_image(encode(PHOTO, "JPEG", quality=95, **options))
        assert np.abs(pixels.astype(int) - PHOTO).mean() < 4

    def test_grey_and_one_bit(self) -> None:
        grey = PHOTO[..., 0]
        for file_format in ("PNG", "BMP", "TIFF"):
            np.testing.assert_array_equal(decode_image(encode(grey, file_format)), np.stack([grey] * 3, -1))
        bits = Image.fromarray(grey > 128)
        assert bits.mode == "1"
        black_or_white = np.stack([np.where(grey > 128, 255, 0)] * 3, -1)
        for options in ({}, {"compression": "group4"}):
            np.testing.assert_array_equal(decode_image(encode(bits, "TIFF", **options)), black_or_white)
        np.testing.assert_array_equal(decode_image(encode(bits, "PNG")), black_or_white)

    def test_palette(self) -> None:
        image = Image.fromarray(PHOTO).quantize(64)
        for file_format in ("PNG", "GIF", "BMP", "TIFF"):
            np.testing.assert_array_equal(decode_image(encode(image, file_format)), image.convert("RGB"))

    def test_cmyk_has_adobes_polarity_in_jpeg_and_profiles_are_ignored(self) -> None:
        colours = np.zeros((32, 48, 3), np.uint8)
        colours[:, :16], colours[:, 16:32], colours[:, 32:] = (200, 30, 60), (255, 255, 255), (10, 90, 20)
        image = Image.fromarray(colours).convert("CMYK")
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        for options in ({}, {"icc_profile": profile}):
            jpeg = encode(image, "JPEG", quality=95, subsampling=0, **options)
            assert b"Adobe" in jpeg
            assert np.abs(decode_image(jpeg).astype(int) - colours).max() <= 4
        np.testing.assert_array_equal(decode_image(encode(image, "TIFF")), colours)

    @pytest.mark.parametrize(
        ("file_format", "options"),
        [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}), ("MPO", {"quality": 95})],
    )
    def test_first_frame_or_page(self, file_format: str, options: dict[str, Any]) -> None:
        first = Image.fromarray(PHOTO).quantize(64).convert("RGB")
        later = [Image.fromarray(photo(61, 40, seed)) for seed in (1, 2)]
        several = encode(first, file_format, save_all=True, append_images=later, **options)
        with Image.open(io.BytesIO(several)) as check:
            assert getattr(check, "n_frames", 1) == 3
        alone = encode(first, "JPEG" if file_format == "MPO" else file_format, **options)
        np.testing.assert_array_equal(decode_image(several), decode_image(alone))

    def test_suffixes_are_lower_case(self) -> None:
        assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_is_applied(self, file_format: str, orientation: int) -> None:
        options: dict[str, Any] = {"lossless": True} if file_format == "WEBP" else {}
        plain = decode_image(encode(PHOTO, file_format, **options))
        tag = {"tiffinfo": {274: orientation}} if file_format == "TIFF" else {"exif": exif(orientation)}
        file = encode(PHOTO, file_format, **options, **tag)
        turned = decode_image(file)
        np.testing.assert_array_equal(turned, EXIF_TRANSFORMS[orientation](plain))
        assert upright_size(file) == (turned.shape[1], turned.shape[0])

    @pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
    def test_goes_with_shrinking(self, file_format: str) -> None:
        big = photo(1300, 900)
        tag = {"tiffinfo": {274: 6}} if file_format == "TIFF" else {"exif": exif(6)}
        turned = decode_image(encode(big, file_format, **tag))
        assert turned.shape == (512, 354, 3)
        plain = decode_image(encode(big, file_format))
        assert np.abs(turned.astype(int) - np.rot90(plain, -1)).mean() < 0.5

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
    @pytest.mark.parametrize("damage", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(9)])
    def test_damaged_or_undefined_counts_as_none(self, damage: bytes, file_format: str) -> None:
        plain, damaged = encode(PHOTO, file_format), encode(PHOTO, file_format, exif=damage)
        assert damaged != plain
        np.testing.assert_array_equal(decode_image(damaged), decode_image(plain))


class TestDepth:
    def test_16_bit_grey_is_divided_by_257(self) -> None:
        values = np.array([[0, 128, 129, 257, 30000, 65279, 65406, 65407, 65535]], np.uint16)
        grey = np.round(values / 257).astype(np.uint8)
        expected = np.stack([grey] * 3, -1)
        for file_format in ("PNG", "TIFF"):
            np.testing.assert_array_equal(decode_image(encode(values, file_format)), expected)
        big_endian = Image.frombytes("I;16B", (9, 1), values.astype(">u2").tobytes())
        np.testing.assert_array_equal(decode_image(encode(big_endian, "TIFF")), expected)
        lzw = encode(values, "TIFF", compression="tiff_lzw")
        np.testing.assert_array_equal(decode_image(lzw), expected)

    @pytest.mark.parametrize("channels", [3, 4])
    @pytest.mark.parametrize("suffix", [".png", ".tiff"])
    def test_16_bit_colour_is_neither_clipped_nor_off_by_more_than_one(self, suffix: str, channels: int) -> None:
        values = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
        if channels == 4:
            values[..., 3] = 65535
        _, data = cv2.imencode(suffix, values)  # BGR
        rgb = values[..., 2::-1]
        difference = decode_image(data.tobytes()).astype(int) - np.round(rgb / 257)
        assert np.abs(difference).max() <= 1
        _, data = cv2.imencode(suffix, values // 256 * 257)  # what was 8 bits comes back exactly
        np.testing.assert_array_equal(decode_image(data.tobytes()), rgb // 256)

    def test_12_bit_grey_tiff(self) -> None:
        packed = bytes([0x00, 0x08, 0x00, 0xFF, 0xF7, 0xFF])  # 0, 2048, 4095, 2047
        tiff = encode(Image.frombytes("I;16", (4, 1), packed + b"\0\0"), "TIFF")
        np.testing.assert_array_equal(decode_image(retag(tiff, 258, 16, 12))[0, :, 0], [0, 128, 255, 127])

    def test_white_is_zero_tiff(self) -> None:
        tiff = encode(np.array([[0, 257, 65535]], np.uint16), "TIFF")
        np.testing.assert_array_equal(decode_image(retag(tiff, 262, 1, 0))[0, :, 0], [255, 254, 0])

    @pytest.mark.parametrize(
        ("dtype", "values", "expected"),
        [
            (np.int32, [0, 100, 255], [0, 100, 255]),
            (np.int32, [-5, 257, 65535], [0, 1, 255]),
            (np.int32, [0, 500_000, 2_000_000], [0, 64, 255]),
            (np.float32, [0.0, 0.5, 1.0], [0, 128, 255]),
            (np.float32, [-1.0, 100.0, 200.0], [0, 100, 200]),
            (np.float32, [0.0, 25700.0, np.nan], [0, 100, 0]),
            (np.float32, [0.0, 1.0, np.inf], [0, 255, 255]),
            (np.float32, [0.0, 0.0, 0.0], [0, 0, 0]),
        ],
    )
    def test_32_bits_take_the_smallest_usual_white(self, dtype: type, values: list[float], expected: list[int]) -> None:
        tiff = encode(np.array([values], dtype), "TIFF")
        np.testing.assert_array_equal(decode_image(tiff)[0, :, 0], expected)

    def test_unsigned_32_bits(self) -> None:
        signed = np.array([[0, 2**31, 2**32 - 1]], np.uint32).view(np.int32)
        tiff = retag(encode(signed, "TIFF"), 339, 2, 1)
        np.testing.assert_array_equal(decode_image(tiff)[0, :, 0], [0, 128, 255])


class TestTransparency:
    @pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
    def test_alpha_is_composited_on_white(self, file_format: str, options: dict[str, Any]) -> None:
        rgba = np.dstack([PHOTO, photo(61, 40, 5)[..., :1]])
        rgba[:3, :, 3], rgba[3:6, :, 3] = 0, 255
        alpha = rgba[..., 3:] / 255
        expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
        pixels = decode_image(encode(rgba, file_format, **options))
        assert np.abs(pixels - expected).max() <= 1
        assert (pixels[:3] == 255).all()
        np.testing.assert_array_equal(pixels[3:6], PHOTO[3:6])

    def test_grey_with_alpha(self) -> None:
        image = Image.merge("LA", [Image.new("L", (2, 1), 100), Image.frombytes("L", (2, 1), b"\x00\xff")])
        for file_format in ("PNG", "TIFF"):
            assert decode_image(encode(image, file_format))[0, :, 0].tolist() == [255, 100]

    def test_grey_with_premultiplied_alpha(self) -> None:
        image = Image.merge("LA", [Image.new("L", (2, 1), 100), Image.frombytes("L", (2, 1), b"\x00\xff")])
        tiff = retag(encode(image, "TIFF"), 338, 2, 1)
        with Image.open(io.BytesIO(tiff)) as check:
            assert check.mode == "La"
        assert decode_image(tiff)[0, 1].tolist() == [100, 100, 100]

    @pytest.mark.parametrize("file_format", ["PNG", "GIF"])
    def test_transparent_palette_entry(self, file_format: str) -> None:
        image = Image.new("P", (3, 1))
        image.putpalette([0, 0, 0, 200, 10, 20, 30, 40, 50])
        image.putdata([0, 1, 2])
        pixels = decode_image(encode(image, file_format, transparency=1))
        assert pixels.tolist() == [[[0, 0, 0], [255, 255, 255], [30, 40, 50]]]

    def test_palette_with_degrees_of_alpha(self) -> None:
        image = Image.new("P", (3, 1))
        image.putpalette([0, 0, 0, 200, 10, 20, 30, 40, 50])
        image.putdata([0, 1, 2])
        pixels = decode_image(encode(image, "PNG", transparency=bytes([128, 0, 255])))
        assert pixels.tolist() == [[[127, 127, 127], [255, 255, 255], [30, 40, 50]]]

    @pytest.mark.parametrize(
        ("depth", "row", "key", "expected"),
        [
            (1, 0b01000000, 1, [0, 255]),
            (2, 0b01100000, 1, [255, 170]),
            (4, 0x5A, 5, [255, 170]),
            (8, 0x0A14, 10, [255, 20]),
            (16, 0x0A141E28, 0x0A14, [255, 30]),
        ],
    )
    def test_transparent_grey(self, depth: int, row: int, key: int, expected: list[int]) -> None:
        pixels = row.to_bytes(max(1, depth // 4))
        data = png(2, 1, depth, 0, b"\0" + pixels, struct.pack(">H", key))
        assert decode_image(data)[0, :, 0].tolist() == expected

    @pytest.mark.parametrize("depth", [8, 16])
    def test_transparent_colour(self, depth: int) -> None:
        sample = "B" if depth == 8 else "H"
        colours = [(9, 8, 7), (1, 2, 3)] if depth == 8 else [(0x912, 0x834, 0x756), (0x123, 0x234, 0x345)]
        row = b"".join(struct.pack(f">3{sample}", *colour) for colour in colours)
        data = png(2, 1, depth, 2, b"\0" + row, struct.pack(">3H", *colours[0]))
        assert decode_image(data).tolist() == [[[255, 255, 255], [1, 2, 3]]]

    def test_hidden_colours_do_not_bleed_when_shrunk(self) -> None:
        rgba = np.zeros((1024, 1024, 4), np.uint8)
        rgba[..., 0] = 255  # red that alpha hides
        rgba[:, 512:] = (0, 0, 255, 255)
        pixels = decode_image(encode(rgba, "PNG", compress_level=1))
        assert (pixels[:, :250] == 255).all()
        assert (pixels[..., 1] >= pixels[..., 0]).all()


class TestShrinking:
    @pytest.mark.parametrize(("width", "height"), [(MAX_SIDE, 300), (300, MAX_SIDE), (20, 30), (1, 1)])
    def test_small_photos_are_untouched(self, width: int, height: int) -> None:
        pixels = photo(width, height)
        np.testing.assert_array_equal(decode_image(encode(pixels, "PNG")), pixels)
        jpeg = encode(pixels, "JPEG")
        np.testing.assert_array_equal(decode_image(jpeg), Image.open(io.BytesIO(jpeg)))

    @pytest.mark.parametrize("width", [4000, 2990])
    def test_a_big_photo_is_shrunk_bilinearly_with_antialiasing(self, width: int) -> None:
        jpeg = encode(photo(width, width * 3 // 4, detail=24), "JPEG", quality=92)
        pixels = decode_image(jpeg)
        reference = Image.open(io.BytesIO(jpeg)).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)
        assert pixels.shape == (round(MAX_SIDE * (width * 3 // 4) / width), MAX_SIDE, 3)
        np.testing.assert_array_equal(pixels, reference)

    def test_nothing_aliases(self) -> None:
        stripes = np.tile(np.array([0, 255], np.uint8), (300, 1500))
        for file_format in ("PNG", "JPEG"):
            assert np.abs(decode_image(encode(stripes, file_format)).astype(int)[:, 2:-2] - 127).max() <= 8

    @pytest.mark.parametrize(
        ("size", "max_side", "shape"),
        [
            ((513, 513), MAX_SIDE, (512, 512)),
            ((3000, 2), MAX_SIDE, (1, 512)),
            ((640, 480), 64, (48, 64)),
            ((640, 480), None, (480, 640)),
            ((30, 20), 64, (20, 30)),
        ],
    )
    def test_shapes(self, size: tuple[int, int], max_side: int | None, shape: tuple[int, int]) -> None:
        for file_format in ("JPEG", "PNG"):
            assert decode_image(encode(photo(*size), file_format), max_side=max_side).shape == (*shape, 3)

    def test_max_side_is_checked(self) -> None:
        with pytest.raises(ValueError, match="`max_side >= 1` must hold, got max_side=0"):
            decode_image(encode(PHOTO, "PNG"), max_side=0)


JPEG, PNG = encode(PHOTO, "JPEG"), encode(PHOTO, "PNG")
SAMPLES = {
    "jpeg": JPEG,
    "png": PNG,
    "progressive": encode(PHOTO, "JPEG", progressive=True, exif=exif(6)),
    "cmyk": encode(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "webp": encode(PHOTO, "WEBP", exif=exif(3)),
    "webp_lossless": encode(PHOTO, "WEBP", lossless=True),
    "bmp": encode(PHOTO, "BMP"),
    "gif": encode(PHOTO, "GIF", save_all=True, append_images=[Image.fromarray(photo(61, 40, 1))]),
    "tiff": encode(PHOTO, "TIFF"),
    "tiff_lzw": encode(PHOTO, "TIFF", compression="tiff_lzw"),
    "tiff_jpeg": encode(PHOTO, "TIFF", compression="jpeg"),
}


def pixels_or_none(data: bytes) -> np.ndarray | None:
    """The pixels, or None where `BrokenImageError` says in one line what is wrong; other exceptions pass."""
    try:
        return decode_image(data)
    except BrokenImageError as error:
        reason = str(error)
    assert reason.strip()
    assert "\n" not in reason
    return None


class TestBroken:
    @settings(max_examples=200, deadline=None)
    @given(cut=st.integers(0, len(JPEG) - 1))
    @example(cut=len(JPEG) - 1)
    @example(cut=len(JPEG) - 2)
    def test_a_cut_jpeg_is_never_padded(self, cut: int) -> None:
        pixels = pixels_or_none(JPEG[:cut])
        assert pixels is None or np.array_equal(pixels, decode_image(JPEG))

    @settings(max_examples=200, deadline=None)
    @given(cut=st.integers(0, len(PNG) - 1))
    @example(cut=len(PNG) - 1)
    @example(cut=len(PNG) - 12)
    @example(cut=len(PNG) - 17)
    def test_a_cut_png_is_never_padded(self, cut: int) -> None:
        pixels = pixels_or_none(PNG[:cut])
        assert pixels is None or np.array_equal(pixels, PHOTO)

    @pytest.mark.parametrize("name", SAMPLES)
    def test_no_format_is_ever_padded(self, name: str) -> None:
        data = SAMPLES[name]
        whole = decode_image(data)
        assert pixels_or_none(data[: len(data) // 3]) is None
        for cut in [*range(0, len(data), 37), *range(len(data) - 30, len(data))]:
            pixels = pixels_or_none(data[:cut])
            assert pixels is None or np.array_equal(pixels, whole)

    @pytest.mark.parametrize(("detail", "options"), [(8, {}), (60, {"quality": 20, "optimize": True})])
    def test_a_jpeg_whose_rest_is_zeros_is_never_padded(self, detail: int, options: dict[str, Any]) -> None:
        # The second one's Huffman tables read zeros as blocks: without a look for the end, Pillow is content.
        thumbnail = exif(1) + JPEG  # which has an end of its own
        data = encode(photo(200, 150, detail=detail), "JPEG", exif=thumbnail, **options)
        assert decode_image(data).shape == (150, 200, 3)
        for cut in range(len(data) // 2, len(data) - 2, 23):
            assert pixels_or_none(data[:cut] + bytes(len(data) - cut)) is None

    @settings(max_examples=200, deadline=None)
    @given(data=st.binary(max_size=300))
    def test_random_bytes_are_no_image(self, data: bytes) -> None:
        with pytest.raises(BrokenImageError):
            decode_image(data)

    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(sorted(SAMPLES)), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8))
    def test_damage_raises_nothing_else(self, name: str, damage: list[tuple[int, int]]) -> None:
        data = bytearray(SAMPLES[name])
        for place, value in damage:
            data[place % len(data)] = value
        pixels = pixels_or_none(bytes(data))
        assert pixels is None or (pixels.dtype == np.uint8 and max(pixels.shape) <= MAX_SIDE)

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "empty"),
            (b"<html>Not found</html>", "not a JPEG"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG"),
            (b"PK\x03\x04" + bytes(60), "not a JPEG"),
            (png(20_000, 20_000, 8, 2), "more than 100 megapixels"),
            (png(10_001, 10_000, 8, 2), "more than 100 megapixels: 10001 x 10000"),
            (png(0, 10, 8, 2), "[a-z]"),
            (b"GIF89a" + struct.pack("<HHBBB", 0, 0, 0, 0, 0) + b";", "[a-z]"),
            (JPEG[: len(JPEG) // 2], "truncated"),
        ],
    )
    def test_reasons(self, data: bytes, reason: str, tmp_path: Path) -> None:
        path = tmp_path / "some_name.jpg"
        path.write_bytes(data)
        with pytest.raises(BrokenImageError, match=reason) as caught:
            decode_image(path)
        assert "some_name" not in str(caught.value)
        assert "BytesIO" not in str(caught.value)

    def test_100_megapixels_are_read(self) -> None:
        assert decode_image(encode(Image.new("1", (10_000, 10_000), 1), "PNG")).shape == (512, 512, 3)


class TestFiles:
    def test_a_missing_file_is_no_broken_image(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            decode_image(tmp_path / "none.jpg")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BrokenImageError, match="cannot be read"):
            decode_image(tmp_path)

    def test_no_permission(self, tmp_path: Path) -> None:
        path = tmp_path / "photo.png"
        path.write_bytes(PNG)
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(BrokenImageError, match=r"^no permission to read$"):
            decode_image(path)

    def test_a_giant_file_is_refused_unread(self, tmp_path: Path) -> None:
        path = tmp_path / "film.tif"
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)  # sparse: takes no room on the disk
        with pytest.raises(BrokenImageError, match="larger than 1 GiB"):
            decode_image(path)


def test_threads_give_what_one_thread_gives() -> None:
    sources = list(SAMPLES.values()) * 6
    with ThreadPoolExecutor(8) as pool:
        for source, pixels in zip(sources, pool.map(decode_image, sources), strict=True):
            np.testing.assert_array_equal(pixels, decode_image(source))


def test_damaged_metadata_do_not_clutter_the_terminal(tmp_path: Path) -> None:
    # In a process of its own, because pytest has its own warning filters.
    intact = struct.pack(">HHI", 274, 3, 1)
    assert intact in exif(1)
    jpeg = encode(PHOTO, "JPEG", exif=exif(1).replace(intact, struct.pack(">HHI", 274, 2, 999)))
    with pytest.warns(UserWarning, match="tag 274|Tag data"), Image.open(io.BytesIO(jpeg)) as damaged:
        damaged.getexif()
    huge = png(10_000, 9_500, 8, 2)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(io.BytesIO(huge)):
        pass
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "b.png").write_bytes(huge)
    script = (
        "import sys; from pathlib import Path; from tl_toolkit.datasets.images import *\n"
        "print(decode_image(Path(sys.argv[1]) / 'a.jpg').shape)\n"
        "try: decode_image(Path(sys.argv[1]) / 'b.png')\n"
        "except BrokenImageError: print('broken')\n"
    )
    command = [sys.executable, "-W", "always", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    assert (done.stdout, done.stderr) == ("(40, 61, 3)\nbroken\n", "")
