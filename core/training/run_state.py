"""The saved state of a training run: written atomically, loaded only by the same run."""

import json
import os
import shutil
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import OutputError, SettingsError
from core.output import writing

if TYPE_CHECKING:
    from core.training.loop import Recipe

CHANGEABLE = ("rate", "discriminating", "batch")    # fields of a preset that may change on resuming


def save_state(accelerator, out: Path, recipe: "Recipe") -> None:
    """Write out/state atomically: a killed run leaves the previous state."""
    fresh, state, old = out / "state.new", out / "state", out / "state.old"
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        with writing(out / "state"):
            accelerator.save_state(str(fresh), safe_serialization=False)
            if accelerator.is_main_process:
                (fresh / "preset.json").write_text(json.dumps(_asked(recipe)))
    except OutputError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(old, ignore_errors=True)
        if state.exists():
            os.replace(state, old)
        os.replace(fresh, state)
    accelerator.wait_for_everyone()


def load_state(accelerator, out: Path, recipe: "Recipe") -> None:
    """Load out/state, with the current learning rates. Raises SettingsError for the state of another run."""
    found = state_in(out)
    if found is None:
        inside = next((each for each in sorted(out.glob("*/")) if state_in(each)), None)
        if inside is not None:
            raise SettingsError(f"{out} contains no saved state, but {inside} does.",
                                f"Name that folder:  --out {inside}")
        raise SettingsError(f"{out} contains no saved state.", "Leave out --resume, or give the folder of the run.")
    _same_run(found / "preset.json", recipe, out)
    rates = [[group["initial_lr"] for group in each.param_groups] for each in recipe.optimizers.values()]
    accelerator.load_state(str(found))
    for optimizer, asked in zip(recipe.optimizers.values(), rates, strict=True):
        for group, rate in zip(optimizer.param_groups, asked, strict=True):     # may differ from the saved ones
            group["initial_lr"] = rate


def state_in(out: Path) -> Path | None:
    """The last complete state; state.old if a save was killed between its two renames."""
    return next((out / name for name in ("state", "state.old") if (out / name).exists()), None)


def _asked(recipe: "Recipe") -> dict:
    """The identity of a run: its preset without the CHANGEABLE fields."""
    preset = getattr(recipe, "preset", None)
    facts = asdict(preset) if is_dataclass(preset) else {}
    return json.loads(json.dumps({name: value for name, value in facts.items() if name not in CHANGEABLE}))


def _same_run(kept: Path, recipe: "Recipe", out: Path) -> None:
    """Raise SettingsError unless a state is of a run with these settings."""
    held, asked = json.loads(kept.read_text()) if kept.exists() else {}, _asked(recipe)
    for name in held.keys() & asked.keys():
        if held[name] != asked[name]:
            raise SettingsError(f"The run in {out} has {name} {held[name]}, not {asked[name]}.",
                                "Use the original settings, or another folder:  --out DIR")
