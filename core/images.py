"""Image input and output: files, PIL, tensors. The only module that rescales values.

Ranges: PIL and uint8 arrays hold 0..255, tensors hold -1..1. Conversions: v / 127.5 - 1, and clipped
round((x + 1) · 127.5). The round trip is exact for 0..255 in float32.
Input is untrusted: sizes are checked before decoding, settings before use.
"""

import json
import tempfile
import threading
import uuid
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from core.errors import LFS_POINTER, LFS_STEP, PictureError, SettingsError
from core.output import new_file, writing

if TYPE_CHECKING:
    from torch import Tensor

Source = str | Path | bytes | BinaryIO | Image.Image

MAX_MEGAPIXELS = 100
MAX_SIDE = 20_000          # pixels; sides of this length or more are refused
LONGEST = 4096             # pixels; larger pictures are reduced to this while decoding
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "DIB", "JPEG2000", "PPM", "ICO", "TGA")
IMAGENET_MEAN, IMAGENET_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)     # of red, green, blue in [0, 1]
PNG_MARK = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"}
MAX_SETTINGS = 1 << 19     # characters of JSON; 512 numbers take about 12,000, a picture of 128 pixels 65,000

AI_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Facet"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{AI_MADE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

_warnings_lock = threading.Lock()   # warnings.catch_warnings is not thread-safe


# ------------------------------------------------------------------------------------------------ files -> PIL

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
    with _stream(source) as stream:
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


def _stream(source: str | Path | bytes | BinaryIO) -> BinaryIO:
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
        with _without_size_warning():
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
def _without_size_warning():
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


# ---------------------------------------------------------------------------------------------- PIL <-> tensors

def to_tensor(images: Image.Image | Sequence[Image.Image], size: int | None = None) -> "Tensor":
    """PIL images -> (N, 3, H, W) float32 in [-1, 1].

    size: crop to the central square and resize to size × size; None: unchanged, all of one size.
    Raises PictureError for no pictures or different sizes.
    """
    images = [images] if isinstance(images, Image.Image) else list(images)
    if size is not None:
        images = [ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS) for image in images]
    if len({image.size for image in images}) != 1:
        raise PictureError("A batch needs at least one picture, and all of one size.", "Pass size= to resize them.")
    return from_uint8(np.stack([np.asarray(image.convert("RGB")) for image in images]))


def from_uint8(pictures: np.ndarray) -> "Tensor":
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [-1, 1]."""
    import torch

    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise PictureError(f"Expected (N, H, W, 3) uint8, got {pictures.shape} {pictures.dtype}.",
                           "Scale to 0..255 and stack the pictures first.")
    channels_first = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))       # (N, 3, H, W)
    return torch.from_numpy(channels_first).float().div_(127.5).sub_(1)


def imagenet(image: "Tensor") -> "Tensor":
    """(N, 3, H, W) in [-1, 1] -> the same in [0, 1], less ImageNet's mean and divided by its deviation."""
    mean, spread = (image.new_tensor(rgb)[:, None, None] for rgb in (IMAGENET_MEAN, IMAGENET_SPREAD))
    return ((image + 1) / 2 - mean) / spread


def to_uint8(batch: "Tensor") -> np.ndarray:
    """(N, 3, H, W) in [-1, 1], any float dtype and device -> (N, H, W, 3) uint8; values outside are clipped.

    Raises PictureError for values that are not finite.
    """
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise PictureError(f"Expected (N, 3, H, W), got {tuple(batch.shape)}.", "Pass a batch: picture[None] for one.")
    values = batch.detach().float()
    if not bool(values.isfinite().all()):
        raise PictureError("The network returned values that are not finite.",
                           "Try another seed, or check the weights:  python -m core verify")
    scaled = ((values + 1) * 127.5).round().clamp(0, 255).byte()
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_pil(batch: "Tensor") -> list[Image.Image]:
    """(N, 3, H, W) in [-1, 1] -> N RGB images; rounded and clipped as in to_uint8."""
    return [Image.fromarray(picture) for picture in to_uint8(batch)]


def grid(images: Sequence[Image.Image], columns: int, gap: int = 4) -> Image.Image:
    """A grid of images of one size, row by row, with `gap` white pixels between them."""
    if not images or columns < 1 or len({image.size for image in images}) != 1:
        raise PictureError("A grid needs pictures of one size and at least one column.", "Resize them first.")
    width, height = images[0].size
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), "white")
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet.paste(image, (column * (width + gap), row * (height + gap)))
    return sheet


# ------------------------------------------------------------------------------------------------- PIL -> files

def save(image: Image.Image, settings: Mapping, folder: str | Path | None = None, name: str | None = None,
         marked: bool = True) -> str:
    """Write a PNG with its settings and an AI-generated mark; returns its path. marked: False leaves the mark out.

    settings: everything needed to generate the picture again (system, checkpoint and its hash, seed, parameters,
    attention kernel, version), as JSON; NumPy and torch values are converted. Stored as an iTXt chunk "facet", with an
    XMP packet with the IPTC digital source type trainedAlgorithmicMedia.
    folder: None means `facet` in the temporary folder; created if missing. name: of the file, numbered if there is
    such a file; None takes a unique one. Raises OutputError.
    """
    notes = PngInfo()
    notes.add_itxt("facet", _to_json(settings))
    if marked:
        notes.add_itxt("XML:com.adobe.xmp", XMP)
    with new_file(_made(folder), name or _unique(str(settings.get("system", "picture")), ".png")) as path:
        image.save(path, "PNG", pnginfo=notes, compress_level=1)
    return str(path)


def settings_of(source: Source) -> dict | None:
    """The settings that `save` stored in a picture; None if there are no valid ones.

    The file is untrusted: JSON of limited size, never executed. The caller must validate each value.
    """
    if isinstance(source, Image.Image):
        text = source.info.get("facet")
    else:
        with _stream(source) as stream:
            text = _facet_text(stream)
    if not isinstance(text, str) or len(text) > MAX_SETTINGS:
        return None
    try:
        settings = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None


def _facet_text(stream: BinaryIO) -> str | None:
    """The settings chunk of a PNG file, read without decoding pixels."""
    try:
        with _without_size_warning(), Image.open(stream, formats=("PNG",)) as image:
            return image.info.get("facet")
    except Exception:      # not a PNG, or broken: no settings; `read` reports the error
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _to_json(settings: Mapping) -> str:
    try:
        text = json.dumps(dict(settings), default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SettingsError("These settings can't be stored in a picture.",
                            "Use texts, finite numbers, lists and dictionaries.") from error
    if len(text) > MAX_SETTINGS:
        raise SettingsError(f"These settings have {len(text):,} characters; a picture can store {MAX_SETTINGS:,}.",
                            "Store large arrays in a separate file.")
    return text


def _plain(value: object) -> object:
    """A JSON-compatible form of a value."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):       # NumPy and torch, numbers and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be converted to JSON")


def zip_files(paths: Iterable[str | Path], extra: Mapping[str, bytes | str] | None = None,
              folder: str | Path | None = None, name: str | None = None) -> str:
    """A ZIP of files and of `extra` contents by name; returns its path.

    Equal names are numbered. Files are stored without compression, because PNG files are already compressed. folder,
    name: as in `save`. Raises PictureError for a file that is missing, OutputError.
    """
    paths, used = [*map(Path, paths)], set(extra or {})
    if missing := [path for path in paths if not path.exists()]:
        raise PictureError(f"{missing[0].name} is no longer there; files are deleted some hours after they were made.",
                           "Make the pictures again.")
    with (new_file(_made(folder), name or _unique("facet", ".zip")) as path,
          zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive):
        for file in paths:
            archive.write(file, _free_name(file, used))
        for entry, content in (extra or {}).items():
            archive.writestr(entry, content)
    return str(path)


def _free_name(file: Path, used: set[str]) -> str:
    """A file name that is not in `used`, numbered if necessary; adds it to `used`."""
    names = [file.name, *(f"{file.stem}-{number}{file.suffix}" for number in range(2, len(used) + 3))]
    name = next(name for name in names if name not in used)
    used.add(name)
    return name


def _made(folder: str | Path | None) -> Path:
    """The folder, created if missing; None: `facet` in the temporary folder."""
    folder = Path(folder) if folder else Path(tempfile.gettempdir()) / "facet"
    with writing(folder):
        folder.mkdir(mode=0o700, exist_ok=True)     # portraits are private; a deleted parent is not made again
    return folder


def _unique(stem: str, suffix: str) -> str:
    stem = "".join(letter for letter in stem if letter.isalnum() or letter in "-_")[:40] or "picture"
    return f"{stem}-{uuid.uuid4().hex[:12]}{suffix}"


def recognisable(image: "Tensor") -> "Tensor":
    """Resize faces (N, 3, S, S) to the input of embedders and judges, (N, 3, 112, 112); differentiable."""
    from torch.nn import functional as F

    from core.alignment import SIZE

    if image.shape[-1] == SIZE:
        return image
    return F.interpolate(image, size=SIZE, mode="bilinear", antialias=True, align_corners=False)


def aligned_from_ffhq(image: "Tensor") -> "Tensor":
    """Faces framed like FFHQ (N, 3, S, S), cropped to the frame of embedders and judges, (N, 3, 112, 112).

    Differentiable. The crop is the square whose eyes and mouth lie where `core.alignment.TEMPLATE` has them.
    """
    from core.alignment import FFHQ, SIZE, TEMPLATE, similarity

    (scale, _, x), (_, _, y) = similarity(FFHQ, TEMPLATE)
    pixel = image.shape[-1] / SIZE
    left, top = (round(((-0.5 - shift) / scale + 0.5) * pixel) for shift in (x, y))     # whole numbers are centres
    side = round(SIZE / scale * pixel)
    return recognisable(image[..., top:top + side, left:left + side])
