"""Drawn faces: named numbers in, a picture of a person out. The source of training data.

`person` and `look` choose the numbers, `draw` draws them, `edit` changes one of them. See `attributes` for the 35.
"""

from importlib import import_module

from core.faces.attributes import ATTRIBUTES, BINARY, NAMES, Attribute
from core.faces.looks import MIXTURES, Face, Look, edit, look, through_life, truth
from core.faces.people import SPLITS, Identity, person, traits_of

VERSION = 4  # part of every cached set's name: raise it when the same numbers give another picture
_RENDERER = ("REGIONS", "draw", "draw_many", "draw_with_points", "points", "regions")

__all__ = ["ATTRIBUTES", "BINARY", "MIXTURES", "NAMES", "REGIONS", "SPLITS", "VERSION", "Attribute", "Face", "Identity",
           "Look", "draw", "draw_many", "draw_with_points", "edit", "look", "person", "points", "regions",
           "through_life", "traits_of", "truth"]


def __getattr__(name):
    """The renderer compiles on first use; choosing numbers doesn't need it."""
    if name in _RENDERER:
        return getattr(import_module("core.faces.render"), name)
    raise AttributeError(f"core.faces has no {name!r}; it has {', '.join(__all__)}")
