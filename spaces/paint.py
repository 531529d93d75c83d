"""A picture to paint on: what is painted must stay as it is."""

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from core.errors import PictureError

SCRIPT = Path(__file__).with_name("paint.js").read_text(encoding="utf-8")
PAGE = ('<div class="paint"><div class="sheet"><canvas aria-label="Paint what must stay"></canvas></div>'
        '<div class="bar"><label>Brush <input type="range" class="size" min="4" max="40" value="14"></label>'
        '<button type="button" class="clear">Clear</button></div></div>')
URL = "data:image/png;base64,"
SHEET = 256     # pixels of the picture to paint on, as wide as it is shown


def paint(**options: Any) -> gr.HTML:
    """The component. Its value: {"face": text, "picture": data URL, "mask": data URL or "", "pixels": width}.

    An answer about the same face keeps what is painted.
    """
    return gr.HTML(unpainted(None), html_template=PAGE, js_on_load=SCRIPT, **options)


def unpainted(path: str | None, face: str = "") -> dict[str, Any]:
    """The value of a square picture without paint. path: of a PNG; None for no picture. face: names what it shows."""
    if path is None:
        return {"face": face, "picture": "", "mask": "", "pixels": 128}
    with Image.open(path) as picture:
        memory = io.BytesIO()
        picture.convert("RGB").resize((SHEET, SHEET)).save(memory, "JPEG", quality=85)
        return {"face": face, "picture": "data:image/jpeg;base64," + base64.b64encode(memory.getvalue()).decode(),
                "mask": "", "pixels": picture.width}


def painted(value: dict[str, Any]) -> np.ndarray | None:
    """What is painted, (S, S) bool; None for nothing. Raises PictureError for a mask that can't be read."""
    if not value["mask"]:
        return None
    try:
        with Image.open(io.BytesIO(base64.b64decode(value["mask"].removeprefix(URL))), formats=["PNG"]) as mask:
            return np.asarray(mask.convert("RGBA"))[..., 3] > 127
    except (OSError, ValueError) as error:
        raise PictureError("The painted mask can't be read.", "Clear it and paint again.") from error
