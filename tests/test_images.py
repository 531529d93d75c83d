"""What people upload, and what we hand back: every odd file, exact round trips, settings that survive."""

import struct
import threading
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from core import images, reading
from core.errors import OutputError, PictureError, SettingsError
from core.images import from_uint8, grid, save, settings_of, to_pil, to_tensor, to_uint8, zip_files
from core.reading import read

QUARTERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))    # top left, top right, bottom left, bottom right


def quartered(width: int = 64, height: int = 48) -> Image.Image:
    """A picture whose corners tell which way it lies."""
    small = Image.fromarray(np.array(QUARTERS, np.uint8).reshape(2, 2, 3))
    return small.resize((width, height), Image.Resampling.NEAREST)


def corners(image: Image.Image) -> np.ndarray:
    """(4, 3): the colours well inside the four quarters."""
    width, height = image.size
    return np.array([image.getpixel((x, y)) for y in (height // 8, 7 * height // 8)
                     for x in (width // 8, 7 * width // 8)], int)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str) -> bytes:
    """Files that Pillow cannot write: 16 bits a channel."""
    ok, data = cv2.imencode(suffix, pixels)
    assert ok
    return data.tobytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


# ------------------------------------------------------------------------------------------------------- reading

KINDS = {
    "png": (lambda: encoded(quartered(), "PNG"), 0),
    "jpeg": (lambda: encoded(quartered(), "JPEG", quality=95), 8),
    "progressive jpeg": (lambda: encoded(quartered(), "JPEG", quality=95, progressive=True), 8),
    "cmyk jpeg": (lambda: encoded(quartered().convert("CMYK"), "JPEG", quality=95), 12),
    "webp": (lambda: encoded(quartered(), "WEBP", lossless=True), 0),
    "avif": (lambda: encoded(quartered(), "AVIF", quality=95), 16),
    "tiff": (lambda: encoded(quartered(), "TIFF"), 0),
    "cmyk tiff": (lambda: encoded(quartered().convert("CMYK"), "TIFF"), 4),
    "bmp": (lambda: encoded(quartered(), "BMP"), 0),
    "jpeg 2000": (lambda: encoded(quartered(), "JPEG2000"), 2),
    "palette png": (lambda: encoded(quartered().quantize(16), "PNG"), 2),
    "gif": (lambda: encoded(quartered(), "GIF"), 2),
    "16-bit rgb png": (lambda: by_opencv(np.asarray(quartered())[..., ::-1].astype(np.uint16) * 257, ".png"), 0),
    "16-bit rgb tiff": (lambda: by_opencv(np.asarray(quartered())[..., ::-1].astype(np.uint16) * 257, ".tiff"), 0),
    "opaque rgba": (lambda: encoded(quartered().convert("RGBA"), "PNG"), 0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind):
    make, tolerance = KINDS[kind]
    picture = read(make())
    assert (picture.mode, picture.size) == ("RGB", (64, 48))
    assert np.abs(corners(picture) - np.array(QUARTERS)).max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_sixteen_bit_gray(suffix):
    ramp = np.tile(np.arange(0, 65536, 257, dtype=np.uint16), (4, 1))
    assert np.array_equal(np.asarray(read(by_opencv(ramp, suffix)))[0, :, 0], np.arange(256))


def test_floating_point_gray():
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (4, 1))
    assert np.array_equal(np.asarray(read(by_opencv(ramp, ".tiff")))[0, :, 1], np.arange(256))
    ramp[0, 0] = np.nan
    assert np.asarray(read(by_opencv(ramp * 1000, ".tiff")))[1].max() == 255


@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray(mode):
    white_left = Image.new("L", (8, 4))
    white_left.paste(255, (0, 0, 4, 4))
    assert np.asarray(read(encoded(white_left.convert(mode), "PNG")))[0, :, 2].tolist() == [255] * 4 + [0] * 4


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P with a transparent colour", "RGB with a transparent colour", "PA"])
def test_transparency_is_white(kind):
    red = Image.new("RGBA", (8, 8), (200, 0, 0, 255))
    red.paste((0, 0, 0, 0), (4, 0, 8, 8))
    if kind == "P with a transparent colour":
        data = encoded(red, "GIF")
    elif kind == "RGB with a transparent colour":
        data = encoded(red.convert("RGB"), "PNG", transparency=(0, 0, 0))
    elif kind == "PA":
        data = red.convert("PA")
    else:
        data = encoded(red.convert(kind), "PNG")
    left, right = np.asarray(read(data))[4, [1, 6]].astype(int)
    assert right.tolist() == [255] * 3
    assert left[0] < 210
    assert left[1] < 70


def test_half_transparent():
    assert read(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = read(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert picture.getpixel((4, 4)) == (255, 0, 0)


TURNED = {   # EXIF orientation -> how a picture is stored that shows upright
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "16-bit"])
def test_orientation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = TURNED[orientation](quartered())
    if kind == "16-bit":
        deep = Image.fromarray(np.asarray(stored.convert("L")).astype(np.uint16) * 257)
        picture = read(encoded(deep, "PNG", exif=exif))
        expected = np.repeat(corners(quartered().convert("L").convert("RGB"))[:, :1], 3, axis=1)
    else:
        picture, expected = read(encoded(stored, kind, exif=exif)), np.array(QUARTERS)
    assert picture.size == (64, 48)
    assert np.abs(corners(picture) - expected).max() <= 60
    assert not picture.getexif()


def test_metadata_stays_behind():
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    picture = read(encoded(quartered(), "JPEG", exif=exif, comment="secret"))
    assert not picture.info
    assert b"secret" not in encoded(picture, "PNG")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_costs_nothing():
    assert read(encoded(quartered(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 20)).size == (64, 48)


def chunk(kind: bytes, body: bytes, crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


METADATA = {
    "a profile of 2 MB": chunk(b"iCCP", b"printer\0\0" + zlib.compress(bytes(2 << 20))),
    "a compressed text": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * (2 << 20))),
    "compressed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x" * (2 << 20))),
    "a wrong checksum": chunk(b"tEXt", b"a\0b", crc=7),
    "no profile at all": chunk(b"iCCP", b"broken\0\0" + b"not compressed"),
}


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("kind", METADATA)
def test_metadata_never_cost_a_picture(kind, where):
    plain = encoded(quartered().convert("P"), "PNG", transparency=0)
    at = 33 if where == "before" else plain.index(b"IEND") - 4
    assert np.array_equal(np.asarray(read(plain[:at] + METADATA[kind] + plain[at:])), np.asarray(read(plain)))


def p3_profile() -> bytes:
    """Display P3: the profile of sRGB, with the primaries of P3 (D50)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {b"rXYZ": (0.51512, 0.24120, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189),
                 b"bXYZ": (0.15710, 0.06657, 0.78407)}
    for row in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * row)
        if tag in primaries:
            struct.pack_into(">3i", profile, offset + 8, *(round(value * 65536) for value in primaries[tag]))
    return bytes(profile)


def in_p3(image: Image.Image) -> Image.Image:
    """The same colours as numbers of Display P3."""
    to_xyz, from_p3 = (np.array(rows) for rows in (
        [(0.43607, 0.38515, 0.14308), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)],
        [(0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407)]))
    light = (value := np.asarray(image) / 255) / 12.92
    light = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, light) @ (np.linalg.inv(from_p3) @ to_xyz).T
    light = light.clip(0, 1)
    return Image.fromarray(np.rint(255 * np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055,
                                                  12.92 * light)).astype(np.uint8))


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB")])
def test_a_picture_in_display_p3_is_read_like_its_twin(kind, mode):
    twin = Image.fromarray(np.random.default_rng(1).integers(60, 240, (16, 16, 3), np.uint8))
    options = {"lossless": True} if kind == "WEBP" else {}
    wide = read(encoded(in_p3(twin).convert(mode), kind, icc_profile=p3_profile(), **options))
    assert np.abs(np.asarray(wide).astype(int) - np.asarray(twin)).max() <= 2
    assert np.array_equal(np.asarray(read(encoded(twin, kind, icc_profile=b"no profile", **options))), np.asarray(twin))


def test_a_git_lfs_pointer_is_recognised():
    with pytest.raises(PictureError, match="Git LFS"):
        read(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")


def test_sources(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(quartered(), "PNG"))
    for source in (path, str(path), path.read_bytes(), BytesIO(path.read_bytes()), Image.open(path)):
        assert np.array_equal(np.asarray(read(source)), np.asarray(quartered()))


def test_a_pil_image_is_left_as_it_is():
    image = Image.new("RGBA", (5000, 10), (0, 0, 0, 0))
    image.info["note"] = "mine"
    assert read(image).size == (4096, 8)
    assert (image.mode, image.size, image.info) == ("RGBA", (5000, 10), {"note": "mine"})


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_are_reduced(kind):
    picture = read(encoded(quartered(6000, 4500), kind))
    assert picture.size == (4096, 3072)
    assert np.abs(corners(picture) - np.array(QUARTERS)).max() <= 8


def test_a_hundred_megapixels_and_no_more():
    gray = Image.new("L", (12500, 8000), 128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(encoded(gray, "JPEG")).size == (4096, 2621)
    with pytest.raises(PictureError, match="101 megapixels"):
        read(png_header(10050, 10050))


BAD = {
    "empty": (b"", "empty"),
    "text": (b"Dear face, where are you?", "not a picture"),
    "svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "SVG"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 32, "HEIC"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a picture"),
    "zip": (b"PK\x03\x04" + b"\0" * 64, "not a picture"),
    "numbers": (b"\x93NUMPY\x01\x00", "not a picture"),
    "cut jpeg": (encoded(quartered(400, 300), "JPEG")[:1500], "cut off"),
    "cut png": (encoded(quartered(400, 300), "PNG")[:300], "cut off"),
    "cut webp": (encoded(quartered(400, 300), "WEBP")[:90], "cut off|not a picture"),
    "cut tiff": (encoded(quartered(400, 300), "TIFF")[:3000], "cut off"),
    "cut header": (encoded(quartered(), "PNG")[:20], "cut off|not a picture"),
    "20,000 wide": (png_header(20_000, 10), "no side may reach 20,000"),
    "20,000 high": (encoded(Image.new("1", (10, 20_000)), "PNG"), "no side may reach 20,000"),
    "400 megapixels": (png_header(19_000, 19_000), "megapixels"),
    "4 gigapixels a side": (png_header(2**31 - 1, 2**31 - 1), "megapixels|no side"),
    "text bomb": (png_header(8, 8)[:33] + struct.pack(">I", 2004) + b"zTXt" + b"a\0\0" + zlib.compress(b"x" * 2**21)
                  .ljust(2001, b"\0") + b"\0" * 4, "cut off|not a picture"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case):
    data, words = BAD[case]
    with pytest.raises(PictureError, match=words) as caught:
        read(data)
    sentence = caught.value.message
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert caught.value.next_step.endswith(".")


def test_bad_paths(tmp_path):
    for path in (tmp_path / "none.png", tmp_path, "a\0b.png"):
        with pytest.raises(PictureError, match="could not be opened"):
            read(path)


def test_a_large_jpeg_is_never_whole_in_memory(monkeypatch):
    sizes, resizable = [], reading._resizable
    monkeypatch.setattr(reading, "_resizable", lambda image: sizes.append(image.size) or resizable(image))
    read(encoded(Image.new("L", (9000, 6000), 128), "JPEG"))
    assert sizes == [(4500, 3000)]


def test_nothing_is_decoded_before_its_size_is_known(monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PictureError):
        read(png_header(12_000, 12_000))


def test_pillow_is_left_as_it_is():
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    data = png_header(9_800, 9_900)      # between Pillow's warning and our limit
    def attempt():
        with pytest.raises(PictureError):
            read(data)
    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before


WHOLE = [encoded(quartered(24, 16), kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")]


@settings(max_examples=300)
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
       st.floats(0, 1))
@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated")
def test_damaged_bytes_never_surprise(data, changes, keep):
    broken = bytearray(data[:max(1, int(len(data) * keep))] if keep < 0.5 else data)
    for place, value in changes:
        broken[int(place * len(broken))] = value
    try:
        picture = read(bytes(broken))
    except PictureError:
        return
    assert picture.mode == "RGB"


# ------------------------------------------------------------------------------------------------------- tensors

def test_round_trip_is_exact():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    tensor = from_uint8(levels)
    assert (tensor.dtype, tensor.min().item(), tensor.max().item()) == (torch.float32, -1, 1)
    assert np.array_equal(to_uint8(tensor), levels)
    assert np.array_equal(np.stack([np.asarray(image) for image in to_pil(tensor)]), levels)
    assert torch.equal(to_tensor(to_pil(tensor)), tensor)


@given(st.floats(-3, 3, width=32))
def test_rounding_is_to_the_nearest_level(value):
    level = int(to_uint8(torch.full((1, 3, 1, 1), value))[0, 0, 0, 0])
    assert abs(level - (min(1, max(-1, value)) + 1) * 127.5) <= 0.5001


def test_channels_and_axes_keep_their_order():
    tensor = to_tensor(quartered())
    assert tensor.shape == (1, 3, 48, 64)
    assert tensor[0, :, 4, 60].tolist() == [-1, 1, -1]      # top right is green
    assert tensor[0, :, 44, 4].tolist() == [-1, -1, 1]      # bottom left is blue


def test_to_tensor_cuts_the_middle():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    tensor = to_tensor([wide, quartered(100, 100)], size=32)
    assert tensor.shape == (2, 3, 32, 32)
    assert tensor[0, :, 16, 16].tolist() == [-1, -1, 1]
    assert tensor[0, 2, :, 1:-1].min() > 0.9


def test_half_precision_and_channels_last():
    tensor = from_uint8(np.full((2, 4, 4, 3), 200, np.uint8)).to(torch.bfloat16, memory_format=torch.channels_last)
    assert abs(int(to_uint8(tensor)[0, 0, 0, 0]) - 200) <= 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_not_a_picture(bad):
    with pytest.raises(PictureError, match="not finite"):
        to_pil(torch.full((1, 3, 4, 4), bad))


def test_wrong_shapes():
    for call in (lambda: to_uint8(torch.zeros(3, 4, 4)), lambda: to_uint8(torch.zeros(1, 1, 4, 4)),
                 lambda: from_uint8(np.zeros((4, 4, 3), np.uint8)), lambda: from_uint8(np.zeros((1, 4, 4, 3))),
                 lambda: to_tensor([]), lambda: to_tensor([quartered(), quartered(8, 8)])):
        with pytest.raises(PictureError):
            call()


def test_grid():
    reds = [Image.new("RGB", (10, 20), "red")] * 5
    sheet = grid(reds, columns=3, gap=2)
    assert sheet.size == (34, 42)
    assert sheet.getpixel((10, 5)) == (255, 255, 255)
    assert sheet.getpixel((12, 22)) == (255, 0, 0)
    assert sheet.getpixel((30, 30)) == (255, 255, 255)      # the sixth place is empty
    assert grid(reds[:1], columns=4).size == (10, 20)
    for images_, columns in (([], 3), (reds, 0), ([*reds, quartered()], 3)):
        with pytest.raises(PictureError):
            grid(images_, columns)


# --------------------------------------------------------------------------------------------------------- files

SETTINGS = {"system": "vectors", "checkpoint": "vectors-tiny", "sha256": "3f9c", "seed": 2**32 - 1, "sigma": 0.3,
            "kernel": "torch", "version": "0.1.0", "name": "Zoë — ☺ \ud800", "vector": [0.5, -1.25], "none": None}


def test_settings_survive(tmp_path):
    path = save(quartered(), SETTINGS, tmp_path)
    assert settings_of(path) == SETTINGS
    assert settings_of(Path(path).read_bytes()) == SETTINGS
    assert settings_of(BytesIO(Path(path).read_bytes())) == SETTINGS
    assert settings_of(Image.open(path)) == SETTINGS
    assert np.array_equal(np.asarray(read(path)), np.asarray(quartered()))


def test_numpy_and_torch_settings(tmp_path):
    ours = {"a": np.float32(0.5), "b": np.arange(3), "c": torch.tensor([1.0, 2.0]), "d": np.bool_(True), "e": Path("x")}
    plain = {"a": 0.5, "b": [0, 1, 2], "c": [1, 2], "d": True, "e": "x"}
    assert settings_of(save(quartered(), ours, tmp_path)) == plain


def test_the_mark_of_ai(tmp_path):
    packet = Image.open(save(quartered(), SETTINGS, tmp_path)).info["XML:com.adobe.xmp"]
    tree = ElementTree.fromstring(packet[packet.index("<x:"):packet.index("<?xpacket end")])
    (described,) = tree.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert (described.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
            == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia")


def test_where_pictures_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = save(quartered(), SETTINGS), save(quartered(), SETTINGS)
    assert first != second
    assert Path(first).parent == Path(second).parent == tmp_path / "facet"


def test_names_stay_inside_the_folder(tmp_path):
    assert Path(save(quartered(), {"system": "../../etc/passwd"}, tmp_path)).parent == tmp_path


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file can't be written"):
        save(quartered(), SETTINGS, tmp_path / "file")


@pytest.mark.parametrize("bad", [{"a": float("nan")}, {"a": object()}, {"a": "x" * images.MAX_SETTINGS}])
def test_settings_that_do_not_fit(bad, tmp_path):
    with pytest.raises(SettingsError):
        save(quartered(), bad, tmp_path)


def noted(text: str) -> bytes:
    """A PNG whose facet chunk a stranger wrote."""
    notes = images.PngInfo()
    notes.add_itxt("facet", text)
    return encoded(quartered(), "PNG", pnginfo=notes)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '{"a": NaN}', '{"a": Infinity}', "[" * 100_000,
                                  '{"a": "' + "x" * images.MAX_SETTINGS + '"}', '{"a": ' + "9" * 5000 + "}"])
def test_strangers_settings(text):
    assert settings_of(noted(text)) is None


@pytest.mark.parametrize("data", [b"", b"text", *WHOLE, png_header(9, 9)])
def test_no_settings(data):
    assert settings_of(data) is None


@given(st.dictionaries(st.text(st.characters(), max_size=20), st.none() | st.booleans() | st.text()
                       | st.integers(-2**53, 2**53) | st.floats(allow_nan=False, allow_infinity=False), max_size=8))
@settings(max_examples=50)
def test_any_settings_survive(tmp_path_factory, given_):
    assert settings_of(save(quartered(8, 8), given_, tmp_path_factory.mktemp("any"))) == given_


def test_zip(tmp_path):
    first = save(quartered(), SETTINGS, tmp_path / "a")
    twin = tmp_path / "b" / Path(first).name
    twin.parent.mkdir()
    twin.write_bytes(Path(first).read_bytes())
    path = zip_files([first, twin], {"vectors.npy": b"123", "read me.txt": "how"}, tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert len(set(archive.namelist())) == 4
        assert archive.read("vectors.npy") == b"123"
        assert settings_of(archive.read(Path(first).name)) == SETTINGS
    with pytest.raises(PictureError, match="is no longer there"):
        zip_files([tmp_path / "gone.png"], folder=tmp_path)
