"""Pictures as tensors, and PNG files with their settings. The only module that rescales values; `core.reading` reads.

Ranges: PIL and uint8 arrays hold 0..255, tensors hold -1..1. Conversions: v / 127.5 - 1, and clipped
round((x + 1) · 127.5). The round trip is exact for 0..255 in float32.
Settings in a file are untrusted: they are checked before use.
"""

import json
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from core.errors import PictureError, SettingsError
from core.output import new_file, writing
from core.reading import Source, stream_of, without_size_warning

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET_MEAN, IMAGENET_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)     # of red, green, blue in [0, 1]
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
        with stream_of(source) as stream:
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
        with without_size_warning(), Image.open(stream, formats=("PNG",)) as image:
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
