"""The previous renderer of drawn faces, version 3: named numbers in, a picture of a person out.

The networks of `aging` were trained on it and keep using it until their successors replace them.
`person` and `look` choose the numbers, `draw` draws them. See `core.faces.attributes` for the 35 of them.
"""

from importlib import import_module

from core.faces.attributes import ATTRIBUTES, BINARY, NAMES, Attribute
from core.faces_v3.people import SPLITS, Face, Identity, Look, look, person, through_life, traits_of, truth

VERSION = 3  # part of every cached set's name: raise it when the same numbers give another picture

__all__ = ["ATTRIBUTES", "BINARY", "NAMES", "SPLITS", "VERSION", "Attribute", "Face", "Identity", "Look", "draw",
           "draw_many", "draw_with_points", "look", "person", "points", "through_life", "traits_of", "truth"]


def __getattr__(name):
    """The renderer compiles on first use; choosing numbers doesn't need it."""
    if name in ("draw", "draw_many", "draw_with_points", "points"):
        return getattr(import_module("core.faces_v3.render"), name)
    raise AttributeError(f"core.faces_v3 has no {name!r}; it has {', '.join(__all__)}")
