"""Picture files from outside -> upright RGB pictures. Input is untrusted: sizes are checked before decoding."""

import threading
import warnings
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from core.errors import LFS_POINTER, LFS_STEP, PictureError

Source = str | Path | bytes | BinaryIO | Image.Image

MAX_MEGAPIXELS = 100
MAX_SIDE = 20_000          # pixels; sides of this length or more are refused
LONGEST = 4096             # pixels; larger pictures are reduced to this while decoding
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "DIB", "JPEG2000", "PPM", "ICO", "TGA")
PNG_MARK = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"}

_warnings_lock = threading.Lock()   # warnings.catch_warnings is not thread-safe


@cache
def suffixes() -> frozenset[str]:
    """Endings of the files that `read` can read, in lower case: ".png", ".jpg", …"""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


def pictures_below(folder: Path) -> list[Path]:
    """The pictures of a folder and its sub-folders, by their endings, sorted; hidden files and folders are left out."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes() and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


def read(source: Source) -> Image.Image:
    """Read an uploaded picture: upright, 8-bit RGB, without metadata.

    source: a path, the file's bytes, an open file, or a PIL image. Animations give their first frame. Transparency
    becomes white. Gray of 16 bits or floats is scaled to 8 bits. Colours are converted to sRGB from an embedded
    profile. Larger sides are reduced to LONGEST while decoding. Metadata that Pillow refuses are ignored.
    Raises PictureError for files that are no picture, truncated, or exceed MAX_SIDE or MAX_MEGAPIXELS.
    """
    if isinstance(source, Image.Image):
        return _decoded(source)
    with stream_of(source) as stream:
        _check_kind(head := stream.read(1024))
        try:
            return _read(stream)
        except PictureError as error:
            if not head.startswith(PNG_MARK) or (bare := _without_metadata(stream)) is None:
                raise
            try:
                return _read(bare)
            except PictureError:
                raise error from None


def _read(stream: BinaryIO) -> Image.Image:
    stream.seek(0)
    with _opened(stream) as image:
        return _decoded(image)


def _without_metadata(stream: BinaryIO) -> BytesIO | None:
    """A PNG with its pixels, transparency and orientation alone; None if its chunks are cut off."""
    stream.seek(len(PNG_MARK))
    kept = [PNG_MARK]
    while len(head := stream.read(8)) == 8:
        body = stream.read(int.from_bytes(head[:4], "big") + 4)
        if head[4:] in PIXEL_CHUNKS:
            kept += [head, body]
        if head[4:] == b"IEND":
            return BytesIO(b"".join(kept))
    return None


def stream_of(source: str | Path | bytes | BinaryIO) -> BinaryIO:
    """Open a source as a byte stream."""
    if isinstance(source, bytes | bytearray | memoryview):
        return BytesIO(source)
    if hasattr(source, "read"):
        return BytesIO(source.read())
    if not isinstance(source, str | Path):
        raise PictureError("There is no picture.", "Give a file, or its path.")
    try:
        return Path(source).open("rb")
    except (OSError, ValueError) as error:
        raise PictureError(f"{Path(source).name or 'The file'} could not be opened.",
                           "Check its path, or choose the picture again.") from error


def _check_kind(head: bytes) -> None:
    """Raise PictureError for common files that Pillow cannot read."""
    if not head:
        raise PictureError("The file is empty.", "Choose the picture again, or another one.")
    if b"<svg" in head.lower():
        raise PictureError("This is an SVG drawing, which has no pixels.", "Export it as PNG and use that.")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heif", b"mif1", b"msf1"):
        raise PictureError("This is a HEIC photo, which can't be read here.", "Export it as JPEG and use that.")
    if head.startswith(LFS_POINTER):
        raise PictureError("This is a Git LFS pointer, not the picture itself.", LFS_STEP)


def _opened(stream: BinaryIO) -> Image.Image:
    """Open a picture; only its header is read."""
    try:
        Image.init()        # registers all formats, not only the five most common
        with without_size_warning():
            return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PictureError("This file is not a picture of a kind that can be read.",
                           "Use a PNG, JPEG, WebP, GIF, TIFF, AVIF or BMP file.") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"This picture has far more than {MAX_MEGAPIXELS} megapixels, the most that can be read.",
                           "Make it smaller and use that.") from error
    except Exception as error:      # plugins raise many kinds of errors for broken headers
        raise _damaged() from error


@contextmanager
def without_size_warning():
    """Suppress Pillow's warning from 89 megapixels, without changing its global limits."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _check_size(width: int, height: int) -> None:
    if max(width, height) >= MAX_SIDE:
        raise PictureError(f"This picture is {width:,} × {height:,} pixels, and no side may reach {MAX_SIDE:,}.",
                           "Crop it around the face and use that.")
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise PictureError(f"This picture has {width * height / 1e6:.0f} megapixels; {MAX_MEGAPIXELS} is the most that "
                           "can be read.", "Make it smaller and use that.")


def _damaged() -> PictureError:
    return PictureError("This picture is damaged or cut off.", "Download or export it again, or choose another one.")


def _decoded(image: Image.Image) -> Image.Image:
    """Upright RGB on white, at most LONGEST pixels a side; the given image is not modified."""
    _check_size(*image.size)
    try:
        if max(image.size) > LONGEST:
            image.draft(None, _fitted(image.size))     # JPEG: decodes directly to the next larger size
        picture = _resizable(image)
        if max(picture.size) > LONGEST:
            picture = picture.resize(_fitted(picture.size), Image.Resampling.LANCZOS, reducing_gap=1.0)
        picture = _on_white(_upright(_in_srgb(picture, image.info.get("icc_profile"))))
    except Exception as error:      # decoders raise many kinds of errors for broken data
        raise _damaged() from error
    picture.info = {}
    return picture


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """The size with the same aspect ratio whose longer side is LONGEST."""
    return tuple(max(1, side * LONGEST // max(size)) for side in size)


def _resizable(image: Image.Image) -> Image.Image:
    """Convert to a mode that can be resampled."""
    if image.mode == "F" or image.mode.startswith("I"):
        gray = _eight_bit_gray(np.asarray(image))
        gray.info = dict(image.info)       # keeps the EXIF orientation
        return gray
    if image.mode in ("1", "P", "PA") or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.load()
    return image


def _eight_bit_gray(values: np.ndarray) -> Image.Image:
    """Scale gray (H, W) of more than 8 bits. White is 65535 for integers and 1 for floats, or the maximum if larger."""
    white = 65535.0 if np.issubdtype(values.dtype, np.integer) else 1.0
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    white = max(white, float(values.max(initial=0)))
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; unreadable EXIF data are ignored."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:      # a broken EXIF block must not reject a readable picture
        return image


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert the colours from an embedded ICC profile to sRGB; profiles that don't fit are ignored."""
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return image
    try:
        found = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, found, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    converted.info = {name: value for name, value in image.info.items() if name != "icc_profile"}
    return converted


def _on_white(image: Image.Image) -> Image.Image:
    """RGB with transparent pixels on white."""
    if not {"A", "a"} & set(image.getbands()):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")
