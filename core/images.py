"""Pictures in and out: files, PIL, tensors. The only place that rescales.

Ranges: PIL and uint8 arrays hold 0..255, tensors hold -1..1; v / 127.5 - 1 goes one way, round((x + 1) · 127.5),
clipped, the other, and every value of 0..255 survives the round trip in float32.
Everything from outside is untrusted: sizes are read before pixels, settings are checked before use.
"""

import json
import tempfile
import threading
import uuid
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from core.errors import PictureError, SettingsError

if TYPE_CHECKING:
    from torch import Tensor

Source = str | Path | bytes | BinaryIO | Image.Image

MAX_MEGAPIXELS = 100
MAX_SIDE = 20_000          # a side this long is refused: no photo of a face is
LONGEST = 4096             # longer pictures are made this long while they are decoded
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF", "BMP", "DIB", "JPEG2000", "PPM", "ICO", "TGA")
MAX_SETTINGS = 1 << 18     # characters of JSON; 512 numbers take about 12,000

AI_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Facet"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{AI_MADE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

_warnings_lock = threading.Lock()   # warnings.catch_warnings restores what it found: two at once undo each other


# ------------------------------------------------------------------------------------------------ files -> PIL

def read(source: Source) -> Image.Image:
    """Any picture people upload, upright, 8-bit RGB, without its metadata.

    source: a path, the file's bytes, an open file, or a PIL image. The first frame of an animation; transparency on
    white; 16-bit and floating-point gray scaled to 8 bits; at most LONGEST pixels a side, reduced while decoding.
    Raises PictureError: not a picture, cut off, a side of MAX_SIDE pixels, more than MAX_MEGAPIXELS.
    """
    if isinstance(source, Image.Image):
        return _decoded(source)
    with _stream(source) as stream:
        _check_kind(stream.read(1024))
        stream.seek(0)
        with _opened(stream) as image:
            return _decoded(image)


def _stream(source: str | Path | bytes | BinaryIO) -> BinaryIO:
    """The bytes of a source, from the start."""
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
    """Name the files that people take for pictures and Pillow does not."""
    if not head:
        raise PictureError("The file is empty.", "Choose the picture again, or another one.")
    if b"<svg" in head.lower():
        raise PictureError("This is an SVG drawing, which has no pixels.", "Export it as PNG and use that.")
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heif", b"mif1", b"msf1"):
        raise PictureError("This is a HEIC photo, which can't be read here.", "Export it as JPEG and use that.")


def _opened(stream: BinaryIO) -> Image.Image:
    """The picture's header: nothing is decoded yet."""
    try:
        Image.init()        # Pillow looks beyond its five commonest formats only when left free to choose
        with _without_size_warning():
            return Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PictureError("This file is not a picture of a kind that can be read.",
                           "Use a PNG, JPEG, WebP, GIF, TIFF, AVIF or BMP file.") from error
    except Image.DecompressionBombError as error:
        raise PictureError(f"This picture has far more than {MAX_MEGAPIXELS} megapixels, the most that can be read.",
                           "Make it smaller and use that.") from error
    except Exception as error:      # plugins raise whatever a broken header leads them to
        raise _damaged() from error


@contextmanager
def _without_size_warning():
    """Pillow warns from 89 megapixels and refuses from 179; its limits stay as they are for everybody else."""
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
    """Upright, at most LONGEST a side, RGB on white; the image given is left as it is."""
    _check_size(*image.size)
    try:
        if max(image.size) > LONGEST:
            image.draft(None, _fitted(image.size))     # JPEG: decodes to the next larger size that comes for free
        picture = _resizable(image)
        if max(picture.size) > LONGEST:
            picture = picture.resize(_fitted(picture.size), Image.Resampling.LANCZOS, reducing_gap=1.0)
        picture = _on_white(_upright(picture))
    except Exception as error:      # decoders raise whatever broken bytes lead them to
        raise _damaged() from error
    picture.info = {}
    return picture


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """A size of the same shape whose longest side is LONGEST."""
    return tuple(max(1, side * LONGEST // max(size)) for side in size)


def _resizable(image: Image.Image) -> Image.Image:
    """The picture in a mode whose neighbouring values can be averaged."""
    if image.mode == "F" or image.mode.startswith("I"):
        gray = _eight_bit_gray(np.asarray(image))
        gray.info = dict(image.info)       # says which way is up
        return gray
    if image.mode in ("1", "P", "PA") or "transparency" in image.info:
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.load()
    return image


def _eight_bit_gray(values: np.ndarray) -> Image.Image:
    """Gray of more than 8 bits, (H, W): integers are 0..65535, floats 0..1, and either 0..its largest value beyond."""
    white = 65535.0 if np.issubdtype(values.dtype, np.integer) else 1.0
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    white = max(white, float(values.max(initial=0)))
    return Image.fromarray(np.rint(values * (255 / white)).astype(np.uint8))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF data say; unreadable EXIF data say nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:      # a broken EXIF block must not cost the visitor a picture that decodes
        return image


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent shows white."""
    if not {"A", "a"} & set(image.getbands()):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    return white.convert("RGB")


# ---------------------------------------------------------------------------------------------- PIL <-> tensors

def to_tensor(images: Image.Image | Sequence[Image.Image], size: int | None = None) -> "Tensor":
    """PIL images -> (N, 3, H, W) float32 in [-1, 1].

    size: cut to the central square and resized to size × size; None takes them as they are, all of one size.
    Raises PictureError when there is none, or sizes differ.
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


def to_uint8(batch: "Tensor") -> np.ndarray:
    """(N, 3, H, W) in [-1, 1], any float dtype and device -> (N, H, W, 3) uint8; values beyond are clipped.

    Raises PictureError when a value is not finite: a broken network must not pass for a picture.
    """
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise PictureError(f"Expected (N, 3, H, W), got {tuple(batch.shape)}.", "Pass a batch: picture[None] for one.")
    values = batch.detach().float()
    if not bool(values.isfinite().all()):
        raise PictureError("The network produced numbers that are not finite.",
                           "Try another seed, or check the weights:  python -m core verify")
    scaled = ((values + 1) * 127.5).round().clamp(0, 255).byte()
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_pil(batch: "Tensor") -> list[Image.Image]:
    """(N, 3, H, W) in [-1, 1] -> N RGB images; rounded and clipped as in to_uint8."""
    return [Image.fromarray(picture) for picture in to_uint8(batch)]


def grid(images: Sequence[Image.Image], columns: int, gap: int = 4) -> Image.Image:
    """Images of one size side by side, row by row, `gap` white pixels between them."""
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

def save(image: Image.Image, settings: Mapping, folder: str | Path | None = None) -> str:
    """Write a PNG that remembers how it was made and says that it is AI-made; returns its path.

    settings: all it takes to make the picture again (system, checkpoint and its hash, seed, parameters, attention
    kernel, version), as JSON can hold it; NumPy and torch numbers and arrays become plain ones. Stored as an iTXt
    chunk "facet", beside an XMP packet with the IPTC digital source type trainedAlgorithmicMedia.
    folder: `facet` in the temporary folder when None; made if missing. The name is new every time.
    """
    notes = PngInfo()
    notes.add_itxt("facet", _to_json(settings))
    notes.add_itxt("XML:com.adobe.xmp", XMP)
    path = _new_path(folder, str(settings.get("system", "picture")), ".png")
    with writing(path):
        image.save(path, "PNG", pnginfo=notes, compress_level=1)
    return str(path)


def settings_of(source: Source) -> dict | None:
    """The settings that `save` stored in a picture; None when there are none that can be understood.

    They come from a stranger's file: JSON of limited size, never executed. Whoever applies them checks each value.
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
    """The chunk of a PNG file, read without decoding its pixels."""
    try:
        with _without_size_warning(), Image.open(stream, formats=("PNG",)) as image:
            return image.info.get("facet")
    except Exception:      # not a PNG, or a broken one: no settings either way; `read` says what is wrong
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _to_json(settings: Mapping) -> str:
    try:
        text = json.dumps(dict(settings), default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"These settings can't be written into a picture: {error}.",
                            "Use texts, finite numbers, lists and dictionaries.") from error
    if len(text) > MAX_SETTINGS:
        raise SettingsError(f"These settings take {len(text):,} characters, and {MAX_SETTINGS:,} fit into a picture.",
                            "Store the numbers themselves in a file beside it.")
    return text


def _plain(value: object) -> object:
    """What JSON can hold instead of a value that it can't."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):       # NumPy and torch, numbers and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def zip_files(paths: Iterable[str | Path], extra: Mapping[str, bytes | str] | None = None,
              folder: str | Path | None = None) -> str:
    """One ZIP of files, and of `extra` contents by name; returns its path.

    Files of one name are numbered. Nothing is compressed again: PNG files already are.
    """
    path, used = _new_path(folder, "facet", ".zip"), set(extra or {})
    with writing(path), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in map(Path, paths):
            archive.write(file, _free_name(file, used))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return str(path)


def _free_name(file: Path, used: set[str]) -> str:
    """The file's name, numbered if taken; it is taken from now on."""
    names = [file.name, *(f"{file.stem}-{number}{file.suffix}" for number in range(2, len(used) + 3))]
    name = next(name for name in names if name not in used)
    used.add(name)
    return name


def _new_path(folder: str | Path | None, stem: str, suffix: str) -> Path:
    """A path that no file has yet."""
    folder = Path(folder) if folder else Path(tempfile.gettempdir()) / "facet"
    stem = "".join(letter for letter in stem if letter.isalnum() or letter in "-_")[:40] or "picture"
    with writing(folder):
        folder.mkdir(mode=0o700, exist_ok=True)     # portraits are private; a deleted parent is not made again
    return folder / f"{stem}-{uuid.uuid4().hex[:12]}{suffix}"


@contextmanager
def writing(path: Path):
    """Say where writing failed, and what may help: an OSError becomes a PictureError."""
    try:
        yield
    except OSError as error:
        raise PictureError(f"{path} could not be written: {error.strerror or error}.",
                           "Free some space, or point TMPDIR at a folder that can be written.") from error


def recognisable(image: "Tensor") -> "Tensor":
    """Faces (N, 3, S, S) at the size that embedders and judges take: (N, 3, 112, 112), with a gradient."""
    from torch.nn import functional as F

    from core.alignment import SIZE

    if image.shape[-1] == SIZE:
        return image
    return F.interpolate(image, size=SIZE, mode="bilinear", antialias=True, align_corners=False)
