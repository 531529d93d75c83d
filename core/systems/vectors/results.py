"""What a picture of `vectors` stores, and its file name."""

from typing import Any

BULKY = frozenset({"vector", "walk_from", "walk_to", "edit_from", "origin_vector"})    # 512 numbers each, in settings


def file_name(kept: dict[str, Any]) -> str:
    """The file name of a picture with these settings."""
    asked = "".join(f"-{name}{kept[f'{name}_target']:g}" for name in ("yaw", "quality")
                    if kept.get(f"{name}_target") is not None)
    if "move" in kept:
        return f"facet-{kept['move']}-{kept['step']:02d}-of-{kept['steps']:02d}.png"
    who = f"{kept.get('origin', kept['source'])}{kept.get('origin_person', kept.get('person', ''))}"
    return f"facet-{who}-seed{kept['seed']}-sigma{kept['sigma']:g}{asked}.png"
