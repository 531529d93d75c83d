"""Teaching, the part of the pipeline `aging` that teaches it a new person, one at a time in this process."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
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
from core.systems.aging.uploads import Uploads, enough

if TYPE_CHECKING:
    from torch import Tensor

    from core.training.dreambooth import Preset, Teacher

QUEUE = JobQueue()
FEW = 5                 # steps before which there is nobody to know yet
TOLD = 100              # times that teaching says how far it is
PREVIEWS = 8            # times that it shows the person
SHOWN = tuple(prompts.AGES[at] for at in (0, 2, 5))    # the ages it shows them at
PREVIEW_STEPS = 8
LOOKING = 75            # steps that looking where the ages lie takes as long as
PRIOR = 4               # pictures of others at each age that a large network draws for itself
LONGEST_NAME = 40
UNSEEN = "It was not looked where the ages lie, so they may lean towards the age in the pictures."


class Teaching(Uploads):
    """Part of `core.systems.aging.pipeline.Aging`, which has the networks and the files."""

    choice: AgingChoice

    def teach(self, pictures: Sequence[str | Path], name: str = "", token: str | None = None, steps: int | None = None,
              seed: int | None = None, taken: Sequence[str] = ()) -> Iterator[Taught]:
        """Teach a new person from MIN_TAUGHT to MAX_TAUGHT pictures; yields every few steps.

        pictures: uploads, or the crops that `checked` made of them. token: one of words.RARE; None takes the first that
        is not in `taken`. steps: None takes the preset's. Closing the iterator stops, and the person of the last yield
        is what was learned. One teaching at a time: others wait, and are told how long. Raises SettingsError when there
        are too few pictures, or of several people.
        """
        token, preset, name = free_token(token, taken), self._preset(steps, seed), _named(name)
        looked = self.checked(pictures)
        enough(looked)
        good = [each for each in looked if each.good]

        def waiting(seconds: float) -> Taught:
            note = f"Another person is being trained; your turn comes in about {in_words(seconds)}."
            return Taught(steps=preset.steps, notes=(note,), waiting=seconds)

        return QUEUE.run(preset.steps + LOOKING * bool(preset.looks),
                         lambda job: self._teach(job, good, name, token, preset), waiting)

    def _preset(self, steps: int | None, seed: int | None) -> "Preset":
        """How this choice is taught."""
        from core.training.dreambooth import PRESETS

        preset = PRESETS["tiny" if self.choice.name == "tiny" else "sd-lora"]
        steps = preset.steps if steps is None else whole(steps, "steps", 1, MAX_LESSONS)
        return replace(preset, steps=steps, seed=settle_seed(seed))

    def _teach(self, job: Job, looked: list[Checked], name: str, token: str, preset: "Preset") -> Iterator[Taught]:
        yield Taught(steps=preset.steps, notes=("Getting ready.",))
        teacher = self.teacher(looked, token, preset)
        every, shows = max(1, preset.steps // TOLD), max(1, preset.steps // PREVIEWS)
        notes = (UNSEEN,) if preset.looks else ()       # unless it comes that far
        now, curves, begun = Taught(steps=preset.steps), {}, time.monotonic()
        for lesson in teacher.lessons():
            seconds = time.monotonic() - begun
            QUEUE.stepped(job, lesson.step + round(LOOKING * (lesson.looked or 0)), seconds)
            left = QUEUE.remaining(job)
            if lesson.looked is not None:
                now = replace(now, looked=lesson.looked, seconds=seconds, left=left)
                yield now
                continue
            for term, loss in lesson.losses.items():
                curves.setdefault(term, []).append(loss)
            if lesson.step % every == 0 or lesson.step == lesson.steps:
                subject = teacher.subject(name) if lesson.step >= min(FEW, lesson.steps) else None
                shown = self._shown(teacher) if lesson.step % shows == 0 or lesson.step == lesson.steps else now.preview
                now = Taught(lesson.step, lesson.steps, {term: [*losses] for term, losses in curves.items()}, shown,
                             subject, seconds=seconds, left=left, notes=notes)
                yield now
        subject = teacher.subject(name)
        preview = now.preview if subject.ages is None else self._shown(teacher)
        yield replace(now, subject=subject, preview=preview, adapter=self.adapter(subject), notes=())

    def teacher(self, looked: Sequence[Checked], token: str, preset: "Preset",
                others: "tuple[Tensor, Sequence[str]] | None" = None) -> "Teacher":
        """Who teaches pictures that were looked at, all of them good. others: a captioned set; None takes `prior`."""
        from core import images
        from core.training.dreambooth import Teacher

        crops = images.to_tensor([images.read(each.picture) for each in looked]).to(self.device)
        embedder, judge = self.reading.networks
        return Teacher(self.latent, crops, token, preset, embedder,
                       prior=others or (self.prior if preset.prior else None),
                       base_sha256=choices.sha256(self.choice.unet), judge=judge)

    @cached_property
    def prior(self) -> "tuple[Tensor, list[str]]":
        """Others at every age, beside whom a person is taught: what ships, or what a large network draws for itself."""
        import torch

        from core import latent

        if self.choice.name == "tiny":
            return latent.prior()
        captions = [words.PROMPT.format(age) for age in prompts.AGES for _ in range(PRIOR)]
        made = []
        for at in range(0, len(captions), PRIOR):
            with torch.no_grad():
                states, silent = (self.latent.states(said) for said in (captions[at:at + PRIOR], [""]))
            *_, step = latent.denoise(self.latent.unet, states, silent, list(range(at, at + PRIOR)))
            made.append(step.latents.float())
        return torch.cat(made), captions

    def _shown(self, teacher: "Teacher") -> str | None:
        """The person as known now, at the ages SHOWN side by side: path of a PNG; None if nobody should see it."""
        from core import images, latent

        said = [words.OF_SUBJECT.format(teacher.token, age) for age in SHOWN]
        spoken = None if teacher.spoken is None else teacher.spoken.detach()
        states = self._states(said, "", spoken, teacher.ages, Wish.emphasis)
        *_, step = latent.denoise(teacher.unet(), *states, [0] * len(said), steps=PREVIEW_STEPS)
        pictures = self._pictures(step.latents)
        if any(self._flagged(pictures)):
            return None
        sheet = images.grid(pictures, columns=len(said))
        return images.save(sheet, {"system": "aging", "preview": teacher.step}, self._passing_folder())


# ------------------------------------------------------------------------------------------------------ what is asked

def free_token(token: str | None = None, taken: Sequence[str] = ()) -> str:
    """The rare token for a new person: the one asked for, or the first that nobody has. Raises SettingsError."""
    if token is None:
        free = [each for each in words.RARE if each not in taken]
        if not free:
            raise SettingsError(f"All {len(words.RARE)} tokens stand for somebody already.", "Let somebody go first.")
        return free[0]
    if token not in words.RARE:
        raise SettingsError(f"{str(token)[:30]!r} is not a token that can stand for a person.",
                            f"Choose from: {', '.join(words.RARE)}.")
    if token in taken:
        raise SettingsError(f"{token} stands for somebody already.",
                            f"Choose another: {', '.join(each for each in words.RARE if each not in taken) or 'none'}.")
    return token


def _named(name: Any) -> str:
    if not isinstance(name, str):
        raise SettingsError("A name is text.", "Write it in words, or leave it empty.")
    return " ".join(name.split())[:LONGEST_NAME] or "Somebody"
