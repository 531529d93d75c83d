"""What programs can do with `vectors` besides drawing: find the faces in a photo, see numbers as a strip."""

from typing import Any

import gradio as gr

from core import systems
from core.errors import VectorError
from spaces import GPU, widgets


def endpoints() -> None:
    """Register them; each gets components of its own, as an API takes its types from components."""
    faces = [gr.Gallery(label="The faces", format="png", render=False), gr.JSON(label="Their names", render=False),
             gr.File(label="Their vectors (.npy)", render=False)]
    widgets.endpoint(vectors_faces, [gr.File(label="A picture with a face", render=False)], faces, **widgets.GPU_TURN)
    widgets.endpoint(vectors_strip, [gr.File(label="512 numbers (.npy)", render=False)], [gr.Image(render=False)],
                     **widgets.GPU_TURN)


@GPU
def vectors_faces(photo: str) -> tuple[list[tuple[str, str]], list[dict[str, Any]], str]:
    """The faces in a photo, largest first: the crops that are used, their names and their vectors (.npy)."""
    system = systems.load("vectors")
    found = system.faces_in(photo)
    return ([(face.picture, face.label) for face in found],
            [{"face": number, "label": face.label} for number, face in enumerate(found)], system.npy_of(found))


def vectors_strip(vector: str) -> str:
    """A vector (.npy, 512 numbers) as a strip of 16 × 32 coloured cells: a PNG."""
    system = systems.load("vectors")
    found = system.vector(vector)
    if len(found) > 1:
        raise VectorError(f"This file holds {len(found)} faces, and a strip shows one.", "Save one row of it.")
    return system.strip(found[0].vector)
