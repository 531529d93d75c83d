"""`python -m core train aging --images DIR`: a person taught from a folder of pictures, as one adapter file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError

if TYPE_CHECKING:
    from core.systems.aging.results import Checked
    from core.training.dreambooth import Lesson, Preset


def teach(images: Path, token: str = "wzx", name: str | None = None, preset: str = "tiny", out: Path | None = None,
          others: Path | None = None, steps: int | None = None, seed: int | None = None, resume: bool = False) -> Path:
    """Teach the person of a folder; Ctrl-C keeps what was learned. Returns the path of the adapter file.

    others: a folder of other people by age, see core.training.captioned. Raises SettingsError for what can't be taught,
    CheckpointError where the networks are missing.
    """
    from core import subjects, systems
    from core.training.captioned import captioned
    from core.training.dreambooth import kept

    name = name or images.resolve().name
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name).strip("-") or "person"
    out, plan = out or Path("runs") / f"aging-{preset}-{stem}", chosen(preset, steps, seed)
    system = systems.make("aging", plan.base, folder=out / "faces",
                            dtype="bfloat16" if plan.precision == "bf16" else "float32")
    looked = usable(system, pictures_in(images))
    teacher = system.teacher(looked, token, plan, captioned(system.latent, others) if others else None)
    try:
        for lesson in kept(teacher, out, resume):
            told(lesson)
    except KeyboardInterrupt:
        print(f"\nstopped after step {teacher.step}; --resume goes on from there", end="")
    path = subjects.write(teacher.subject(name), out / f"{stem}.safetensors")
    if teacher.ages is not None:
        print(f"\nthe ages lie at {', '.join(f'{age:.0f}' for age in teacher.ages)} years", end="")
    base = "" if plan.base == "tiny" else f" --checkpoint {plan.base}"
    print(f"\nwrote {path} ({path.stat().st_size / 1e6:.1f} MB); to use it:\n"
          f"  python -m core run aging strip --adapter {path}{base}")
    return path


def chosen(preset: str, steps: int | None, seed: int | None) -> "Preset":
    """A preset of teaching with what was changed."""
    from core.training.dreambooth import PRESETS

    if preset not in PRESETS:
        raise SettingsError(f"Teaching a person has no preset called {preset!r}.",
                            f"Choose from: {', '.join(PRESETS)}.")
    changes = {name: value for name, value in dict(steps=steps, seed=seed).items() if value is not None}
    return replace(PRESETS[preset], **changes)


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder in the order of their names, hidden ones left out. SettingsError where it is none."""
    if not folder.is_dir():
        raise SettingsError(f"{folder} is not a folder.", "Name one with 5 to 20 pictures of one person:  --images DIR")
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def usable(system: Any, paths: Sequence[Path]) -> "list[Checked]":
    """The pictures that can be taught from; of the others it is said what is wrong. SettingsError for too few."""
    from core.systems.aging.uploads import enough

    looked = system.checked(paths)
    for each in looked:
        if each.problem or each.note:
            print(f"  {Path(each.path).name}: {each.problem or each.note}")
    enough(looked)
    return [each for each in looked if each.good]


def told(lesson: "Lesson") -> None:
    """A lesson on a line of the terminal."""
    if lesson.looked is not None:
        print(f"\rlooking where the ages lie: {lesson.looked:.0%}{' ' * 60}", end="", flush=True)
        return
    terms = "  ".join(f"{name} {value:.3f}" for name, value in lesson.losses.items())
    print(f"\rstep {lesson.step} of {lesson.steps}  {terms}   ", end="", flush=True)
