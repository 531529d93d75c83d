"""The part of the pipeline `aging` that trains a new person, one at a time in this process."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import words
from core.checks import whole
from core.engine import choices
from core.engine.waiting import Job, JobQueue, in_words
from core.errors import SettingsError
from core.sampling import settle_seed
from core.systems.aging import prompts
from core.systems.aging.choices import AgingChoice
from core.systems.aging.request import MAX_LESSONS, Wish
from core.systems.aging.results import Checked, Taught
from core.systems.aging.uploads import Uploads, require_enough

if TYPE_CHECKING:
    from torch import Tensor

    from core.training.dreambooth import Preset, Teacher

QUEUE = JobQueue()
FIRST_SUBJECT = 5       # steps after which the person can first be drawn
UPDATES = 100           # progress values of a training
PREVIEWS = 8            # of them with a new preview
PREVIEW_AGES = tuple(prompts.AGES[at] for at in (0, 2, 5))
PREVIEW_STEPS = 8       # of the solver
CALIBRATION = 75        # training steps that take as long as the age calibration
PRIOR = 4               # pictures per age of the regularisation set that a large network draws for itself
LONGEST_NAME = 40       # characters
UNNAMED = "Unnamed"
APART = 1.0             # years between the calibrated ages of two words, below which their pictures look the same
UNCALIBRATED = "Age calibration was skipped; results may be biased towards the age in your photos."


class Teaching(Uploads):
    """Part of `core.systems.aging.pipeline.Aging`, which has the networks and the files."""

    choice: AgingChoice

    def teach(self, pictures: Sequence[str | Path], name: str = "", token: str | None = None, steps: int | None = None,
              seed: int | None = None, taken: Sequence[str] = ()) -> Iterator[Taught]:
        """Train a new person on MIN_TAUGHT to MAX_TAUGHT pictures; yields every few steps.

        pictures: uploads, or the crops that `checked` made of them. token: one of words.RARE; None takes the first that
        is not in `taken`. steps: None takes the preset's. Closing the iterator stops; the last value has the person as
        trained so far. One training runs at a time; the values of the others give the expected wait. Raises
        SettingsError for too few pictures, or pictures of several people.
        """
        token, preset, name = free_token(token, taken), self._preset(steps, seed), _display_name(name)
        uploads = self.checked(pictures)
        require_enough(uploads)
        usable = [each for each in uploads if each.good]

        def waiting(seconds: float) -> Taught:
            note = f"Another person is being trained; your turn comes in about {in_words(seconds)}."
            return Taught(steps=preset.steps, notes=(note,), waiting=seconds)

        return QUEUE.run(preset.steps + CALIBRATION * bool(preset.looks),
                         lambda job: self._teach(job, usable, name, token, preset), waiting)

    def _preset(self, steps: int | None, seed: int | None) -> "Preset":
        """The training preset of this choice."""
        from core.training.dreambooth import PRESETS

        preset = PRESETS["tiny" if self.choice.name == "tiny" else "sd-lora"]
        steps = preset.steps if steps is None else whole(steps, "steps", 1, MAX_LESSONS)
        return replace(preset, steps=steps, seed=settle_seed(seed))

    def _teach(self, job: Job, uploads: list[Checked], name: str, token: str, preset: "Preset") -> Iterator[Taught]:
        yield Taught(steps=preset.steps, notes=("Getting ready.",))
        teacher = self.teacher(uploads, token, preset)
        every, shows = max(1, preset.steps // UPDATES), max(1, preset.steps // PREVIEWS)
        notes = (UNCALIBRATED,) if preset.looks else ()       # until the calibration has ended
        now, curves, begun = Taught(steps=preset.steps), {}, time.monotonic()
        for lesson in teacher.lessons():
            seconds = time.monotonic() - begun
            QUEUE.stepped(job, lesson.step + round(CALIBRATION * (lesson.calibration or 0)), seconds)
            left = QUEUE.remaining(job)
            if lesson.calibration is not None:
                now = replace(now, calibration=lesson.calibration, seconds=seconds, left=left)
                yield now
                continue
            for term, loss in lesson.losses.items():
                curves.setdefault(term, []).append(loss)
            if lesson.step % every == 0 or lesson.step == lesson.steps:
                subject = teacher.subject(name) if lesson.step >= min(FIRST_SUBJECT, lesson.steps) else None
                is_due = lesson.step % shows == 0 or lesson.step == lesson.steps
                preview = self._preview_sheet(teacher) if is_due else now.preview
                now = Taught(lesson.step, lesson.steps, {term: [*losses] for term, losses in curves.items()}, preview,
                             subject, seconds=seconds, left=left, notes=notes)
                yield now
        subject = teacher.subject(name)
        preview = now.preview if subject.ages is None else self._preview_sheet(teacher)
        notes = alike(subject.ages) if subject.ages else ()
        yield replace(now, subject=subject, preview=preview, adapter=self.adapter(subject), notes=notes)

    def teacher(self, uploads: Sequence[Checked], token: str, preset: "Preset",
                others: "tuple[Tensor, Sequence[str]] | None" = None) -> "Teacher":
        """The training of usable uploads. others: a captioned regularisation set; None takes `prior`."""
        from core import images, reading
        from core.training.dreambooth import Teacher

        crops = images.to_tensor([reading.read(each.picture) for each in uploads]).to(self.device)
        embedder, judge = self.reading.networks
        return Teacher(self.latent, crops, token, preset, embedder,
                       prior=others or (self.prior if preset.prior else None),
                       base_sha256=choices.sha256(self.choice.unet), judge=judge)

    @cached_property
    def prior(self) -> "tuple[Tensor, list[str]]":
        """The regularisation set: the shipped one, or pictures of all ages that a large network draws for itself."""
        import torch

        from core import latent

        if self.choice.name == "tiny":
            return latent.prior()
        captions = [words.PROMPT.format(age) for age in prompts.AGES for _ in range(PRIOR)]
        made = []
        for at in range(0, len(captions), PRIOR):
            with torch.no_grad():
                states = [self.latent.encode_prompts(part) for part in (captions[at:at + PRIOR], [""])]
            *_, step = latent.denoise(self.latent.unet, *states, list(range(at, at + PRIOR)))
            made.append(step.latents.float())
        return torch.cat(made), captions

    def _preview_sheet(self, teacher: "Teacher") -> str | None:
        """The person as trained so far, at PREVIEW_AGES side by side: path of a PNG; None if the checker withholds it.
        """
        from core import images, latent

        asked = [words.OF_SUBJECT.format(teacher.token, age) for age in PREVIEW_AGES]
        embedding = None if teacher.embedding is None else teacher.embedding.detach()
        states = self._states(asked, "", embedding, [teacher.ages] * len(asked), Wish.emphasis)
        *_, step = latent.denoise(teacher.unet(), *states, [0] * len(asked), steps=PREVIEW_STEPS)
        pictures = self._pictures(step.latents)
        if any(self._flagged(pictures)):
            return None
        sheet = images.grid(pictures, columns=len(asked))
        return images.save(sheet, {"system": "aging", "preview": teacher.step}, self._preview_dir())


# ------------------------------------------------------------------------------------------------------ what is asked

def free_token(token: str | None = None, taken: Sequence[str] = ()) -> str:
    """The rare token for a new person: the one asked for, or the first that is free. Raises SettingsError."""
    if token is None:
        free = [each for each in words.RARE if each not in taken]
        if not free:
            raise SettingsError(f"All {len(words.RARE)} tokens are in use.", "Delete one of your people first.")
        return free[0]
    if token not in words.RARE:
        raise SettingsError(f"{str(token)[:30]!r} is not a rare token.",
                            f"Choose from: {', '.join(words.RARE)}.")
    if token in taken:
        raise SettingsError(f"The token {token} is in use.",
                            f"Choose another: {', '.join(each for each in words.RARE if each not in taken) or 'none'}.")
    return token


def alike(ages: Sequence[float]) -> tuple[str, ...]:
    """A warning about the ages of a trained person that look the same; nothing where all six differ.

    ages: the calibrated ones, six in rising order.
    """
    same = [pair for pair, years in zip(pairwise(prompts.AGES), pairwise(ages), strict=True)
            if years[1] - years[0] < APART]
    if not same:
        return ()
    return (f"These ages look the same for this person: {', '.join(' and '.join(pair) for pair in same)}. Train again "
            "with more pictures, all taken at about one age and in different light.",)


def _display_name(name: Any) -> str:
    if not isinstance(name, str):
        raise SettingsError("name must be text.", "Write it in words, or leave it empty.")
    return " ".join(name.split())[:LONGEST_NAME] or UNNAMED
