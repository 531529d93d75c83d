"""A 2-D map of faces, coloured by group; a click chooses a group."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

SCRIPT = Path(__file__).with_name("map.js").read_text(encoding="utf-8")
PAGE = '<div class="map"><canvas role="img" aria-label="Map of the faces, coloured by group"></canvas><p></p></div>'
MAX_POINTS = 5000       # that the page draws; of more faces every n-th


def face_map(**options: Any) -> gr.HTML:
    """The component. Its value: {"points": [[x, y]], "labels": [group], "names": [text], "picked": group or None}."""
    return gr.HTML(mapped([], [], []), html_template=PAGE, js_on_load=SCRIPT, **options)


def mapped(points: Sequence[Sequence[float]], labels: Sequence[int], names: Sequence[str],
           picked: int | None = None) -> dict[str, Any]:
    """The value for N faces. points: (N, 2). labels: the group of each. names: of each group."""
    every = max(1, -(-len(points) // MAX_POINTS))
    return {"points": [[round(float(x), 4), round(float(y), 4)] for x, y in points[::every]],
            "labels": [int(label) for label in labels[::every]], "names": list(names), "picked": picked}
