import io
import re
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFile

from whence.data.image_files import header
from whence.data.pixels import decode
from whence.data.stack import stack
from whence.errors import ConfigError, DataError


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def row(values, mode: str) -> Image.Image:
    """A picture of one row in any mode."""
    image = Image.new(mode, (len(values), 1))
    image.putdata(values)
    return image


def wide(values) -> Image.Image:
    return Image.fromarray(np.array([values], np.uint16))


def palette(**info) -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putdata([0, 1])
    image.info.update(info)
    return image


MODES = {
    "1-bit": (row([0, 255], "1"), "PNG", [[0, 255]]),
    "8-bit grey": (row([7, 200], "L"), "PNG", [[7, 200]]),
    "grey on white": (row([(9, 255), (9, 0)], "LA"), "PNG", [[9, 255]]),
    "16-bit grey is scaled": (wide([0, 257, 65535, 32896]), "PNG", [[0, 1, 255, 128]]),
    "16-bit grey is rounded": (wide([128, 129, 385, 386]), "PNG", [[0, 1, 1, 2]]),
    "32-bit grey of 16 bits": (row([0, 65535], "I"), "TIFF", [[0, 255]]),
    "RGB": (row([(1, 2, 3), (4, 5, 6)], "RGB"), "PNG", [[1, 4], [2, 5], [3, 6]]),
    "RGBA on white": (row([(1, 2, 3, 255), (1, 2, 3, 0)], "RGBA"), "PNG", [[1, 255], [2, 255], [3, 255]]),
    "half transparent": (row([(0, 0, 0, 128)], "RGBA"), "PNG", [[127], [127], [127]]),
    "palette": (palette(), "PNG", [[10, 200], [20, 0], [30, 0]]),
    "palette with transparency": (palette(transparency=1), "PNG", [[10, 255], [20, 255], [30, 255]]),
    "CMYK": (row([(0, 0, 0, 0), (0, 255, 255, 0)], "CMYK"), "TIFF", [[255, 255], [255, 0], [255, 0]]),
}


@pytest.mark.parametrize(("image", "kind", "expected"), MODES.values(), ids=MODES)
def test_every_mode_becomes_8_bit(image, kind, expected):
    data = encode(image, kind)
    channels = len(expected)
    assert header(data, "x").grey == (channels == 1)
    assert decode(data, "x", channels=channels)[:, 0].tolist() == expected


def test_a_transparent_value_of_16_bit_grey_is_white():
    image = Image.open(io.BytesIO(encode(wide([5, 257]), transparency=5)))
    assert decode(image, "x", channels=1).tolist() == [[[255, 1]]]


def test_grey_and_colour_go_into_each_other():
    assert decode(row([50], "L"), "x", channels=3).tolist() == [[[50]], [[50]], [[50]]]
    assert decode(row([(255, 0, 0)], "RGB"), "x", channels=1).tolist() == [[[76]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_pictures_are_turned_upright(orientation, mode, kind):
    image = wide([0, 257, 514]) if mode == "I;16" else row([0, 1, 2], "L").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(image, kind, exif=exif)
    found = header(data, "x")
    upright = decode(data, "x", channels=1)
    assert upright.shape == (1, found.height, found.width) == ((1, 1, 3) if orientation < 5 else (1, 3, 1))
    assert upright.ravel().tolist() == ([0, 1, 2] if orientation in (1, 4, 5, 6) else [2, 1, 0])


def test_a_resolution_crops_the_central_square():
    image = row([0, 0, 0, 90, 90, 90, 90, 255, 255, 255], "L").resize((10, 4), Image.Resampling.NEAREST)
    assert decode(image, "x", channels=1, resolution=2).tolist() == [[[90, 90], [90, 90]]]
    assert decode(image, "x", channels=3, resolution=32).shape == (3, 32, 32)


def test_the_first_of_several_frames_counts():
    frames = [row([value, value], "L") for value in (10, 200)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert header(data, "x").frames == 2
    assert decode(data, "x", channels=1).tolist() == [[[10, 10]]]


def noise(size: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))


DAMAGED = {
    "no image": (b"hello", "x.png is not an image in one of the formats"),
    "empty": (b"", "x.png is not an image"),
    "PNG cut short": (encode(noise())[:-500], "x.png cannot be decoded"),
    "JPEG cut short": (encode(noise(), "JPEG")[:-500], "x.png cannot be decoded: image file is truncated"),
    "WebP cut short": (encode(noise(), "WEBP")[:-500], "x.png cannot be decoded"),
    "floats": (encode(row([0.5], "F"), "TIFF"), "x.png has floating point pixels"),
    "more than 16 bits": (encode(row([0, 70000], "I"), "TIFF"), "x.png has pixels from 0 to 70000"),
    "negative": (encode(row([-1, 7], "I"), "TIFF"), "x.png has pixels from -1 to 7"),
    "a format that runs programs": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_image_is_refused_by_name(data, message):
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(DataError, match=re.escape(message)):
        decode(data, "x.png", channels=3)


@pytest.mark.parametrize("share", [1.5, 3])
def test_a_decompression_bomb_is_refused(monkeypatch, share):
    data = encode(Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(10_000 / share))
    with pytest.raises(DataError, match=r"x.png has more than .* pixels.*WHENCE_MAX_PIXELS"):
        header(data, "x.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    st.sampled_from([b"", *(encode(noise(8), kind) for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"))]),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_an_image_or_a_data_error(start, data):
    cut = data.draw(st.integers(0, len(start)))
    content = start[:cut] + data.draw(st.binary(max_size=60)) + start[cut + data.draw(st.integers(0, 20)) :]
    with suppress(DataError):
        header(content, "x")
        assert decode(content, "x", channels=3).shape[0] == 3


@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(lambda s: st.sampled_from([s, (*s, 3)])),
    )
)
@settings(max_examples=50, deadline=None)
def test_pixels_survive_png(values):
    channels = 1 if values.ndim == 2 else 3
    expected = values[None] if channels == 1 else values.transpose(2, 0, 1)
    assert np.array_equal(decode(encode(Image.fromarray(values)), "x", channels=channels), expected)


def test_an_image_that_changes_while_it_is_read_is_refused():
    class Changing:
        def __init__(self):
            self.times = 0

        def __iter__(self):
            self.times += 1
            return iter([Image.new("L", (self.times, 1))])

    with pytest.raises(DataError, match=re.escape("x changed while it was read")):
        stack(["x"], Changing())


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize(("channels", "kind"), [(1, "PNG"), (1, "TIFF"), (3, "PNG")])
def test_fewer_bits_in_16_are_refused_with_their_number(bits, channels, kind):
    values = np.linspace(0, 2**bits - 1, 12).astype(np.uint16)
    image = Image.fromarray(values.reshape(3, 4)) if channels == 1 else None
    data = encode(image, kind) if image else colour_png(values.repeat(3).reshape(3, 4, 3))
    with pytest.raises(DataError, match=rf"1 of 1 images .*such as a\.png\).*look like {bits}-bit values"):
        stack(["a.png"], [data])


def colour_png(values: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, which Pillow can't write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_are_read():
    pixels = stack(["a"], [colour_png(np.full((1, 1, 3), 65535, np.uint16))]).pixels
    assert pixels.ravel().tolist() == [255, 255, 255]


def test_the_limit_of_pixels_can_be_raised(monkeypatch):
    data = encode(Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    monkeypatch.setenv("WHENCE_MAX_PIXELS", "10000")
    assert header(data, "x").width == 100
    monkeypatch.setenv("WHENCE_MAX_PIXELS", "many")
    with pytest.raises(ConfigError, match="WHENCE_MAX_PIXELS is 'many'"):
        header(data, "x")


def deep(bits: int, most: float = 1.0) -> bytes:
    """A grey PNG of 16 bits whose values reach up to a share of a number of bits."""
    return encode(wide(np.linspace(0, most * (2**bits - 1), 12).astype(np.uint16)))


BLACK = encode(wide([0] * 12))
RANGES = {
    "one of 16 among many of 12": ([deep(16), *[deep(12)] * 9], "9 of 10 images .* look like 12-bit values"),
    "one of 16 among many of 8": ([deep(16), *[deep(8)] * 9], "9 of 10 images .* look like 8-bit values"),
    "all of 14": ([deep(14)] * 3, "3 of 3 images .* look like 14-bit values"),
    "of 12 beside black": ([deep(12), BLACK, BLACK], "1 of 1 images .* look like 12-bit values"),
    "so faint that all pixels are 0": ([deep(6)] * 2, "2 of 2 images .* look like 8-bit values"),
}


@pytest.mark.parametrize(("sources", "message"), RANGES.values(), ids=RANGES)
def test_each_image_of_16_bits_is_judged(sources, message):
    with pytest.raises(DataError, match=message):
        stack([f"{n}.png" for n in range(len(sources))], sources)


NOTED = {
    "few of 12": ([deep(12), *[deep(16)] * 3], ["1 of 4 images of 16 bits per channel (such as 0.png) use 6.3% of"]),
    "dark pictures": ([deep(16, 0.2), deep(16)], []),
    "black": ([BLACK], []),
    "black beside others": ([BLACK, deep(16), BLACK], []),
    "8 bits": ([encode(row([0] * 12, "L"))], []),
}


@pytest.mark.parametrize(("sources", "notes"), NOTED.values(), ids=NOTED)
def test_few_images_that_are_nearly_black_are_a_note_and_black_ones_pass(sources, notes):
    images = stack([f"{n}.png" for n in range(len(sources))], sources)
    assert len(images.pixels) == len(sources)
    told = [note for note in images.notes if "nearly black" in note]
    assert [note.startswith(start) for note, start in zip(told, notes, strict=True)] == [True] * len(notes)
