"""`python -m core teach aging --images DIR`: train a person from a folder of pictures; writes an adapter file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from core.errors import SettingsError

if TYPE_CHECKING:
    from core.systems.aging.results import Checked
    from core.training.dreambooth import Lesson, Preset


def teach(
    system: Annotated[Literal["aging"], Argument(help="The system that learns a person.")],
    images: Annotated[Path, Option(help="Folder of 5 to 20 pictures of one person.")],
    token: Annotated[Literal["wzx", "sks", "ams", "ukj"], Option(help="Rare token for the person.")] = "wzx",
    name: Annotated[str | None, Option(help="Name of the person; default: the folder's name.",
                                       show_default=False)] = None,
    preset: Annotated[str, Option(help="tiny: the shipped networks. paper, sd-lora: Stable Diffusion.")] = "tiny",
    out: Annotated[Path | None, Option(help="Folder for the adapter and the state; default runs/aging-<preset>-<name>.",
                                       show_default=False)] = None,
    others: Annotated[Path | None, Option(help="Regularisation set: pictures of others in sub-folders child, teenager, "
                                               "youngadults, middleaged, elderly, old; default: a shipped set.",
                                          show_default=False)] = None,
    steps: Annotated[int | None, Option(min=1, help="Steps; default: the preset's.", show_default=False)] = None,
    seed: Annotated[int | None, Option(min=0, help="Random seed; default: the preset's.", show_default=False)] = None,
    resume: Annotated[bool, Option(help="Resume from the state in --out.")] = False,
    threads: Annotated[int | None, Option(min=1, help="CPU threads; default: all cores.", show_default=False)] = None,
) -> None:
    """Train one person from pictures: minutes on a CPU with the shipped networks. Writes an adapter file of a few MB.

    Ctrl-C saves the state reached, and --resume continues.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    train_person(images, token, name, preset, out, others, steps, seed, resume)


def train_person(images: Path, token: str = "wzx", name: str | None = None, preset: str = "tiny",
                 out: Path | None = None, others: Path | None = None, steps: int | None = None,
                 seed: int | None = None, resume: bool = False) -> Path:
    """Train the person in a folder; Ctrl-C saves the state reached. Returns the path of the adapter file.

    others: a folder of other people by age, see core.training.captioned. Raises SettingsError for unusable
    pictures or settings, CheckpointError for missing networks.
    """
    from core import subjects, systems
    from core.systems.aging.teaching import UNCALIBRATED, alike
    from core.training.captioned import captioned
    from core.training.dreambooth import kept

    name = name or images.resolve().name
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name).strip("-") or "person"
    out, plan = out or Path("runs") / f"aging-{preset}-{stem}", chosen(preset, steps, seed)
    if not resume and ((out / "state.pt").exists() or (out / f"{stem}.safetensors").exists()):
        raise SettingsError(f"{out} already contains a run.",
                            "Continue it with --resume, or use another folder:  --out DIR")
    system = systems.make("aging", plan.base, folder=out / "faces",
                            dtype="bfloat16" if plan.precision == "bf16" else "float32")
    usable_pictures = usable(system, pictures_in(images))
    teacher = system.teacher(usable_pictures, token, plan, captioned(system.latent, others) if others else None)
    try:
        for lesson in kept(teacher, out, resume):
            print_progress(lesson)
    except KeyboardInterrupt:
        print(f"\nstopped after step {teacher.step}; continue with --resume", end="")
    path = subjects.write(teacher.subject(name), out / f"{stem}.safetensors")
    if teacher.ages is not None:
        print(f"\ncalibrated ages: {', '.join(f'{age:.0f}' for age in teacher.ages)} years", end="")
        print("".join(f"\n{warning}" for warning in alike(teacher.ages)), end="")
    elif plan.looks:
        print(f"\n{UNCALIBRATED}", end="")
    base = "" if plan.base == "tiny" else f" --checkpoint {plan.base}"
    print(f"\nwrote {path} ({path.stat().st_size / 1e6:.1f} MB); to use it:\n"
          f"  python -m core run aging strip --adapter {path}{base}")
    return path


def chosen(preset: str, steps: int | None, seed: int | None) -> "Preset":
    """A training preset with changed steps or seed."""
    from core.training.dreambooth import PRESETS

    if preset not in PRESETS:
        raise SettingsError(f"There is no preset {preset!r} for training a person.",
                            f"Choose from: {', '.join(PRESETS)}.")
    changes = {name: value for name, value in dict(steps=steps, seed=seed).items() if value is not None}
    return replace(PRESETS[preset], **changes)


def pictures_in(folder: Path) -> list[Path]:
    """The files of a folder sorted by name, without hidden ones.

    Raises SettingsError if it is not a folder, or if only its sub-folders have pictures.
    """
    from core.reading import pictures_below, suffixes

    if not folder.is_dir():
        raise SettingsError(f"{folder} is not a folder.", "Name one with 5 to 20 pictures of one person:  --images DIR")
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not any(path.suffix.lower() in suffixes() for path in found) and (below := pictures_below(folder)):
        inside = below[0].parent
        raise SettingsError(f"{folder} itself has no pictures, but {inside} has.",
                            f"Name that folder:  --images {inside}")
    return found


def usable(system: Any, paths: Sequence[Path]) -> "list[Checked]":
    """The usable pictures; prints the problem of each other one. Raises SettingsError if there are too few."""
    from core.systems.aging.uploads import require_enough

    pictures = system.checked(paths)
    for each in pictures:
        if each.problem or each.note:
            print(f"  {Path(each.path).name}: {each.problem or each.note}")
    require_enough(pictures)
    return [each for each in pictures if each.good]


def print_progress(lesson: "Lesson") -> None:
    """Print a step on one line of the terminal."""
    if lesson.calibration is not None:
        print(f"\rcalibrating ages: {lesson.calibration:.0%}{' ' * 60}", end="", flush=True)
        return
    terms = "  ".join(f"{name} {value:.3f}" for name, value in lesson.losses.items())
    print(f"\rstep {lesson.step} of {lesson.steps}  {terms}   ", end="", flush=True)
