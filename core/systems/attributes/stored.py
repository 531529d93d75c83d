"""What a picture of `attributes` stores, its file name, and the request that it gives back."""

import base64
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError
from core.systems.attributes.request import REQUESTS, SWITCHED, Edit, FaceRequest, Invert

if TYPE_CHECKING:
    import numpy as np

MOST = 1 << 21          # numbers of a stored latent or mask
KINDS = {"|u1": "u1", "<f4": "<f4"}
BULKY = frozenset({"latent", "pixels", "references", "frozen", "request", "judged"})    # left out of tables
LARGEST = 256           # pixels: a larger photo is not stored, so its L2M-GAN edit asks for it again


def restored(stored: Mapping[str, Any]) -> FaceRequest:
    """The request that made a picture, checked, because files are untrusted. Raises SettingsError."""
    classes = {request.action: request for request in REQUESTS}
    asked, action = stored.get("request"), stored.get("action")
    if not isinstance(asked, dict) or not isinstance(action, str) or action not in classes:
        raise SettingsError("The settings in this file can't be read.", "Use the picture as it was downloaded.")
    cls = classes[action]
    if cls is Invert and "latent" in stored:        # of a photo, which is not kept: its latent can be edited
        cls = Edit
    arrays = {name: unpacked(stored[name]) for name in ("latent", "frozen", "pixels") if stored.get(name) is not None}
    if "frozen" in arrays:
        arrays["frozen"] = arrays["frozen"] > 0
    if isinstance(stored.get("references"), dict):
        arrays["held"] = {name: unpacked(stored["references"][name]) for name in SWITCHED
                          if name in stored["references"]}
    return cls.from_png(asked, **{name: value for name, value in arrays.items() if hasattr(cls, name)})


def packed(values: "np.ndarray") -> dict[str, Any]:
    """An array of float32, of uint8 or of booleans, as JSON can hold it; exact."""
    kept = values.astype("u1" if values.dtype in (bool, "u1") else "<f4")
    return {"shape": [*values.shape], "kind": kept.dtype.str,
            "data": base64.b64encode(zlib.compress(kept.tobytes())).decode()}


def unpacked(stored: Any) -> "np.ndarray":
    """The array that `packed` wrote, of at most MOST numbers. Raises SettingsError for anything else."""
    import numpy as np

    try:
        shape, kind = tuple(map(int, stored["shape"])), KINDS[stored["kind"]]
        size = int(np.prod(shape, dtype=np.int64))
        if not 0 < size <= MOST or min(shape) < 1 or len(shape) > 3:
            raise ValueError(f"the shape {shape}")
        content = zlib.decompressobj().decompress(base64.b64decode(stored["data"], validate=True), 4 * MOST)
        found = np.frombuffer(content, kind).reshape(shape)
        if not np.isfinite(found).all():
            raise ValueError("numbers that are not finite")
        return found
    except (TypeError, ValueError, KeyError, OverflowError, zlib.error) as error:   # binascii's is a ValueError
        raise SettingsError("The latent or the mask in this file can't be read.",
                            "Use the picture as it was downloaded.") from error


def file_name(kept: Mapping[str, Any]) -> str:
    """The file name of a picture with these settings."""
    request = kept["request"]
    known = {"random": f"seed{kept['seed']}", "example": f"person{request.get('person', 0)}"}
    who = known.get(request["source"], "photo")
    asked = "".join(f"-{name}{value:g}" for name, value in [*kept["asked"].items()][:3])
    return f"facet-{kept['shown']}-{who}{asked}-{kept['at']:02d}.png"
