"""Drawn faces: named numbers in, a picture of a person out. The source of training data.

`person` and `look` choose the numbers, `draw` draws them, `edit` changes one of them. See `attributes` for the 35.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from core.faces.attributes import ATTRIBUTES, BINARY, CONFLICTS, NAMES, REGIONS, TIED, Attribute

if TYPE_CHECKING:
    from core.faces.looks import FRONTAL, MIXTURES, Face, Frames, Look, edit, frontal, look, through_life, truth
    from core.faces.people import SPLITS, Identity, person, traits_of

VERSION = 4  # part of every cached set's name: raise it when the same numbers give another picture
_LATER = {name: module for module, names in {   # numpy and the renderer are loaded on first use, the table at once
    "looks": ("FRONTAL", "MIXTURES", "Face", "Frames", "Look", "edit", "frontal", "look", "through_life", "truth"),
    "people": ("SPLITS", "Identity", "person", "traits_of"),
    "render": ("draw", "draw_many", "draw_with_points", "points", "regions"),
}.items() for name in names}

__all__ = ["ATTRIBUTES", "BINARY", "CONFLICTS", "FRONTAL", "MIXTURES", "NAMES", "REGIONS", "SPLITS", "TIED", "VERSION",
           "Attribute", "Face", "Frames", "Identity", "Look", "draw", "draw_many", "draw_with_points", "edit",
           "frontal", "look", "person", "points", "regions", "through_life", "traits_of", "truth"]


def __getattr__(name):
    if name in _LATER:
        return getattr(import_module(f"core.faces.{_LATER[name]}"), name)
    raise AttributeError(f"core.faces has no {name!r}; it has {', '.join(__all__)}")
