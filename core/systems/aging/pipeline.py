"""`aging`: the same person at any age, by a prompt; with the small networks that ship, or with Stable Diffusion 1.4.

Banerjee et al., *Identity-Preserving Aging of Face Images via Latent Diffusion Models*, IJCB 2023, arXiv 2307.08585.
Every picture has a seed of its own, so it is the same alone and in a batch; every picture is a PNG that says how it was
made. One pipeline serves both choices of checkpoints: same calls, same settings.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from core.cache import LRUCache
from core.engine import choices, files
from core.engine.files import Files
from core.engine.readers import Read, Reading, likeness
from core.engine.replay import Opening
from core.engine.result import Dropped, Restored, Result, last
from core.errors import SettingsError
from core.output import new_file
from core.sampling import seeds_from
from core.systems.aging import SYSTEM, prompts, safety
from core.systems.aging.choices import AgingChoice
from core.systems.aging.lora import with_lora
from core.systems.aging.request import OPENING, SOLVERS, Strip, Wish, ages_in, restored
from core.systems.aging.results import file_name
from core.systems.aging.teaching import Teaching
from core.systems.aging.wording import GENERIC_PROMPT, compose_prompt, supported_words

if TYPE_CHECKING:
    from torch import Tensor

    from core.latent import Latent, Step
    from core.models.unet import UNet
    from core.subjects import Subject

BATCH = 8               # pictures drawn at a time
PREVIEWS = 5            # times that a picture under way is shown
PROGRESS_S = 0.5        # longest time between two results, also without new previews
MAX_DENOISERS = {"tiny": 12, "sd14": 2}     # of trained people, that stay in memory


class Aging(Files, Teaching):
    """The pipeline. Methods that draw yield a `Result` after every few steps; closing the iterator stops them."""

    def __init__(self, folder: str | Path | None = None, checkpoint: str = "tiny", dtype: str | None = None) -> None:
        """Load the networks of a choice, all on this machine already. Raises SettingsError, CheckpointError.

        folder: where pictures go; a temporary one, emptied as it ages, when None. checkpoint: see `core.systems`.
        dtype: "float32", "float16" or "bfloat16"; None takes what suits the device.
        """
        choice = SYSTEM.choose(checkpoint)
        choices.require(choice)
        from core import hub, latent

        dtype = dtype or precision(choice.name, hub.default_device())
        if dtype not in ("float32", "float16", "bfloat16"):
            raise SettingsError(f"There is no precision called {str(dtype)[:30]!r}.",
                                "Choose from: float32, float16, bfloat16.")
        self._begin(choice, latent.load(choice.name, dtype=dtype), folder)

    def _begin(self, choice: AgingChoice, networks: "Latent", folder: str | Path | None = None) -> None:
        """The pipeline of networks that are loaded."""
        super().__init__(folder)
        self.choice, self.latent, self.device = choice, networks, networks.device
        self.reading = Reading(choice.embedder, choice.judge, self.device)
        self._denoisers = LRUCache(MAX_DENOISERS.get(choice.name, 2))
        self._opening = Opening(lambda: self._strip(self._validated(self.opening())))

    def warm(self) -> None:
        """Do once what is slow the first time, and draw the opening strip."""
        last(self.draw(Wish(f"{GENERIC_PROMPT} as old", seed=0, steps=2)))
        if self.subjects:
            last(self.strip(self.opening()))

    def opening(self) -> Strip:
        """The request of the strip that a page opens with, of the first shipped person; there must be one."""
        person = self.subjects[0]
        return Strip(prompts.plain(person.token), subject=person, seed=OPENING)

    # ------------------------------------------------------------------------------------------------ people

    @cached_property
    def subjects(self) -> "tuple[Subject, ...]":
        """The trained people that ship with this choice and are on this machine."""
        from core import hub, subjects

        known = {row.name: row for row in hub.rows()}
        here = [name for name in self.choice.people if name in known and hub.place(known[name])]
        return tuple(subjects.read(hub.file(name), self.choice.name) for name in here)

    def subject_file(self, path: str | Path) -> "Subject":
        """The person in an adapter file; see `subject_file` below. It must fit the denoiser in use."""
        return subject_file(path, self.choice.name)

    def adapter(self, subject: "Subject") -> str:
        """A person as a file to keep, and to upload again: path of a safetensors file."""
        from core import subjects

        name = "".join(letter for letter in subject.name.lower() if letter.isalnum())[:30] or subject.token
        with new_file(self._new_folder(), f"facet-{name}-{subject.token}.safetensors") as path:
            return str(subjects.write(subject, path))

    def forget(self, subject: "Subject") -> None:
        """Drop what is cached for a person; the subject itself stays valid."""
        for quick in (False, True):
            self._denoisers.drop((fingerprint(subject), quick))

    def portrait(self, subject: "Subject") -> str:
        """One of the pictures that a person was trained on: path of a PNG."""
        return self._keep(Image.fromarray(subject.portrait), "portrait")

    # ------------------------------------------------------------------------------------------------ draw

    def draw(self, wish: Wish) -> Iterator[Result]:
        """Pictures of a request. Raises SettingsError, also for a person trained on another base, and CheckpointError
        when the solver's LoRA is not on this machine.
        """
        wish = self._validated(wish)
        drawn, notes = self._composed(wish.prompt, wish.subject)
        seeds = seeds_from(wish.seed, wish.count)
        return self._draw(wish, [(wish.prompt, drawn)] * wish.count, seeds, notes)

    def run(self, request: Wish) -> Iterator[Result]:
        """The pictures of a Draw or a Strip as they come. Raises FacetError before the first."""
        subject = request.subject or self.person(request.person, request.adapter)
        request = replace(request, subject=subject).checked()
        return self.strip(request) if isinstance(request, Strip) else self.draw(request)

    def person(self, which: str, adapter: str | Path | None = None) -> "Subject | None":
        """The person of an adapter file, or the shipped one of this number or name; None for neither.

        Raises SettingsError.
        """
        if adapter:
            return self.subject_file(adapter)
        asked = which.strip().lower()
        if asked in ("", "0"):
            return None
        for number, subject in enumerate(self.subjects, 1):
            if asked in (str(number), subject.name.lower()):
                return subject
        raise SettingsError(f"There is no person {which[:40]!r}; {len(self.subjects)} ship with this checkpoint.",
                            f"Choose from: {', '.join(subject.name for subject in self.subjects) or 'none'}.")

    def strip(self, wish: Wish) -> Iterator[Result]:
        """Several ages in one batch, all from one seed: the prompt asks for each in turn, its other words kept.

        The one that the page opens with is drawn once and kept, unless the caller chose where pictures go. Raises
        SettingsError like `draw`, also when the words must not be drawn at one of the ages.
        """
        wish = self._validated(replace(wish, count=1))
        return iter(self._opening) if self._temporary and self._opens(wish) else self._strip(wish)

    def _opens(self, wish: Wish) -> bool:
        """Whether this is the strip that the page opens with."""
        if not self.subjects or wish.subject is not self.subjects[0] or getattr(wish, "ages", "all") != "all":
            return False
        opening = self.opening().values()
        return all(getattr(wish, name) == value for name, value in opening.items()
                   if name not in ("count", "person", "ages"))

    def _strip(self, wish: Wish) -> Iterator[Result]:
        """`strip`, drawn now."""
        ages = ages_in(wish.ages) if isinstance(wish, Strip) else prompts.AGES
        asked = [prompts.at_age(wish.prompt, age) for age in ages]
        for prompt in asked:        # words that are fine at one age may be refused at another
            self._refuse(prompt)
        composed = [self._composed(prompt, wish.subject) for prompt in asked]
        notes = tuple(dict.fromkeys(note for _, found in composed for note in found))
        rows = [(prompt, drawn) for prompt, (drawn, _) in zip(asked, composed, strict=True)]
        return self._draw(wish, rows, [wish.seed] * len(rows), notes)

    def _validated(self, wish: Wish) -> Wish:
        """The checked request. Raises SettingsError for what this choice of checkpoints can't or must not draw."""
        self._refuse(wish.prompt)
        if self.choice.safety:
            safety.refuse_without(wish.negative)
        if wish.solver not in self.solvers:
            raise SettingsError(f"{SOLVERS[wish.solver]} needs the LCM-LoRA, and there is none for {self.choice.name}.",
                                f"Choose from: {', '.join(self.solvers)}.")
        if wish.solver == "lcm":
            choices.require(self.choice, extra=True)
        if wish.subject is not None and wish.subject.base != self.choice.name:
            raise SettingsError(f"{wish.subject.name or 'This person'} was trained on {wish.subject.base}, and "
                                f"{self.choice.name} is in use.",
                                f"Choose the checkpoint {wish.subject.base}, or train the person again here.")
        embedding, width = None if wish.subject is None else wish.subject.embedding, self.latent.text.config.width
        if embedding is not None and embedding.shape != (width,):
            raise SettingsError(f"The token of {wish.subject.name or 'this person'} has {embedding.numel()} numbers, "
                                f"where {self.choice.name} takes {width}.", "Train the person again here.")
        return wish.checked()

    @property
    def solvers(self) -> tuple[str, ...]:
        """The solvers of this choice, the default first."""
        return tuple(name for name in SOLVERS if name != "lcm" or self.choice.quick)

    def _refuse(self, prompt: str) -> None:
        """Raise SettingsError for a prompt that must not be drawn. The small network can draw nothing but faces."""
        if self.choice.safety:
            safety.refuse(prompt)

    def _composed(self, prompt: str, subject: "Subject | None") -> tuple[str, tuple[str, ...]]:
        return compose_prompt(prompt, None if subject is None else subject.token, self.choice.name == "tiny")

    def _draw(self, wish: Wish, rows: list[tuple[str, str]], seeds: list[int],
              notes: tuple[str, ...]) -> Iterator[Result]:
        """Pictures batch by batch. rows: each picture's prompt as asked, and as drawn."""
        is_limited = wish.negative.strip() and self.choice.name == "tiny"
        negative, more = supported_words(wish.negative) if is_limited else (wish.negative.strip(), ())
        self.latent.tokens([negative, *(drawn for _, drawn in rows)])       # raises for a prompt that is too long
        return self._drawn(wish, rows, seeds, negative, tuple(dict.fromkeys(notes + more)))

    def _drawn(self, wish: Wish, rows: list[tuple[str, str]], seeds: list[int], negative: str,
               notes: tuple[str, ...]) -> Iterator[Result]:
        from core import latent

        parts = [slice(at, at + BATCH) for at in range(0, len(rows), BATCH)]
        found = Result(steps=wish.steps * len(parts), total=len(rows), notes=notes)
        adapter = fingerprint(wish.subject)
        unet, folder, preview_dir = self._unet(wish, adapter), self._new_folder(), self._preview_dir()
        embedding, ages = (None, None) if wish.subject is None else (wish.subject.embedding, wish.subject.ages)
        for number, part in enumerate(parts):
            own = [prompts.positions(self._years(asked), ages) for asked, _ in rows[part]]
            states = self._states([drawn for _, drawn in rows[part]], negative, embedding, own, wish.emphasis)
            yielded_at = time.monotonic()
            for step in latent.denoise(unet, *states, seeds[part], wish.solver, wish.steps, wish.guidance):
                done, shows = number * wish.steps + step.index, step.index % max(1, step.total // PREVIEWS) == 0
                if step.index < step.total and (shows or time.monotonic() > yielded_at + PROGRESS_S):
                    previews = self._preview(step, preview_dir) if shows else found.previews
                    found, yielded_at = replace(found, previews=previews, step=done), time.monotonic()
                    yield found
            about = [self._settings(wish, *row, seed, adapter, number * BATCH + at)
                     for at, (row, seed) in enumerate(zip(rows[part], seeds[part], strict=True))]
            found = self._add_batch(replace(found, step=done, previews=()), wish, step.latents, about, folder)
            yield found

    def _years(self, prompt: str) -> float | None:
        """The years that a prompt asks for, where the network can't read numbers itself."""
        return prompts.years_in(prompt) if self.choice.name == "tiny" else None

    def _states(self, prompts_drawn: list[str], negative: str, embedding: "Tensor | None",
                ages: "Sequence[Sequence[float] | None]", emphasis: float) -> "tuple[Tensor, Tensor]":
        """Prompt embeddings (N, T, C), and negative ones, (1, T, C) or (N, T, C).

        embedding: of the subject. ages: of each prompt, see `prompts.positions`.
        """
        import torch

        ageless = [prompts.without_age(prompt) if prompts.age_in(prompt) else "" for prompt in prompts_drawn]
        with torch.no_grad():
            return (self.latent.encode_prompts(prompts_drawn, embedding, ages),
                    self.latent.negative_states(negative, ageless, embedding, emphasis))

    # -------------------------------------------------------------------------------------------- denoisers

    def _unet(self, wish: Wish, adapter: str) -> "UNet":
        """The denoiser of a wish: that of the choice, or a copy that knows the person or draws in few steps.

        adapter: the person's fingerprint.
        """
        quick, subject = wish.solver == "lcm", wish.subject
        if subject is None and not quick:
            return self.latent.unet
        return self._denoisers.get((adapter, quick), lambda: self._build_denoiser(subject, quick))

    def _build_denoiser(self, subject: "Subject | None", quick: bool) -> "UNet":
        from core import subjects

        unet = self.latent.unet if subject is None else subjects.adapted(self.latent.unet, subject)
        return with_lora(unet, self._lcm_lora, self.choice.quick) if quick else unet

    @cached_property
    def _lcm_lora(self) -> "dict[str, Tensor]":
        """The tensors of the LCM-LoRA."""
        from core import hub
        from core.hub import weights

        return weights.read(hub.file(self.choice.quick), hub.row(self.choice.quick))

    # --------------------------------------------------------------------------------------------- pictures

    def _preview(self, step: "Step", folder: Path) -> tuple[str, ...]:
        """The pictures as estimated so far, without those that the safety checker withholds: paths of PNGs."""
        pictures = self._pictures(step.estimate)
        pictures = [each for each, withheld in zip(pictures, self._flagged(pictures), strict=True) if not withheld]
        kept = [{"system": "aging", "preview": step.index, "row": row} for row in range(len(pictures))]
        return tuple(files.save(pictures, kept, folder, lambda one: f"step{one['preview']:03d}-{one['row']:02d}.png"))

    def _pictures(self, latents: "Tensor") -> list[Image.Image]:
        """Latents (N, C, h, w) -> N pictures; in float32 where half precision overflows."""
        import torch

        from core import images

        with torch.inference_mode():
            made = self.latent.autoencoder.decode(latents.to(self.latent.dtype))
            if self.latent.dtype != torch.float32 and not bool(made.isfinite().all()):
                made = self._float32_autoencoder.decode(latents.float())
        return images.to_pil(made.float().clamp(-1, 1))

    @cached_property
    def _float32_autoencoder(self) -> Any:
        return deepcopy(self.latent.autoencoder).float()

    def _add_batch(self, found: Result, wish: Wish, latents: "Tensor", settings: list[dict[str, Any]],
                   folder: Path) -> Result:
        """The result with the pictures of one more batch, measured and saved."""
        pictures = self._pictures(latents)
        flagged = self._flagged(pictures)
        faces = None if wish.subject is None else wish.subject.faces
        for picture, kept, withheld, read in zip(pictures, settings, flagged,
                                                 self.reading.read(pictures, self.choice.drawn), strict=True):
            found = self._add_picture(found, wish, picture, kept, withheld, read, likeness(read.vector, faces), folder)
        return found

    def _add_picture(self, found: Result, wish: Wish, picture: Image.Image, kept: dict[str, Any], withheld: bool,
                     read: Read, similarity: float | None, folder: Path) -> Result:
        """The result with one more picture, kept or dropped with a reason."""
        seed, drawn = kept["seed"], kept["drawn"]
        if withheld:
            note = f"The safety checker withheld the picture of seed {seed}. Try another seed or other words."
            withheld = Dropped(None, seed, drawn, "withheld by the safety checker")
            return replace(found, dropped=(*found.dropped, withheld), notes=(*found.notes, note))
        measures = {"similarity": similarity, "years": read.years, "quality": read.quality}
        kept = kept | {name: None if value is None else round(value, 4) for name, value in measures.items()}
        path, = files.save([picture], [kept], folder, file_name)
        if (read.quality or 0.0) < wish.floor:
            why = f"quality {read.quality:.2f}, below {wish.floor:g}" if read.quality else "no face was found"
            return replace(found, dropped=(*found.dropped, Dropped(path, seed, drawn, why)),
                           notes=(*found.notes, f"Dropped the picture of seed {seed}: {why}."))
        notes = () if read.vector is not None else (f"No face was found in the picture of seed {seed}.",)
        scores = {name: (*found.scores.get(name, ()), value) for name, value in measures.items()}
        return replace(found, images=(*found.images, path), seeds=(*found.seeds, seed), scores=scores,
                       settings=(*found.settings, kept), notes=found.notes + notes)

    def _flagged(self, pictures: Sequence[Image.Image]) -> list[bool]:
        """Which pictures the safety checker withholds."""
        if not self.choice.safety:
            return [False] * len(pictures)
        return safety.unsafe(pictures, self._checker)

    @cached_property
    def _checker(self) -> Any:
        from core import hub

        return hub.load(self.choice.safety, self.device)

    # ---------------------------------------------------------------------------------------------- results

    def _settings(self, wish: Wish, asked: str, drawn: str, seed: int, adapter: str, at: int) -> dict[str, Any]:
        """The settings that make one picture again."""
        person = wish.subject
        who = {"subject": "", "token": "", "ages": None} if person is None else {
            "subject": person.name, "token": person.token, "ages": person.ages}
        return {"system": "aging", **self.about, "prompt": asked, "drawn": drawn, "negative": wish.negative, **who,
                "adapter": adapter, "group": prompts.age_in(asked) or "", "steps": wish.steps, "solver": wish.solver,
                "guidance": wish.guidance, "emphasis": wish.emphasis, "seed": seed, "count": wish.count, "at": at,
                "floor": wish.floor}

    def restored(self, path: str | Path) -> Restored | None:
        """The request that made a picture here; None for other files. The file is untrusted, so all values are checked.

        Its subject is there only if it is one that ships. Raises SettingsError.
        """
        from core import images

        kept = images.settings_of(path)
        if not kept or kept.get("system") != "aging" or "preview" in kept:
            return None
        adapter = str(kept.get("adapter", ""))[:64]
        person = next((each for each in self.subjects if adapter and fingerprint(each) == adapter), None)
        made_by = {choice.unet: choice.name for choice in SYSTEM.choices}
        return Restored(restored(kept, person), made_by.get(str(kept.get("checkpoint"))), adapter,
                        str(kept.get("subject", ""))[:60])

    def files(self, result: Result) -> dict[str, str]:
        """What belongs to a result besides its pictures, by name: path of "zip"."""
        return {"zip": self.zip(result)}

    def zip(self, result: Result) -> str:
        """Pictures and a table of their settings in one ZIP; returns its path."""
        return files.zipped(result.images, result.settings, self._new_folder())

    @property
    def about(self) -> dict[str, str]:
        """Attention kernel, device, precision, versions, checkpoints and their hashes."""
        from core.kernels.attention import kernel_for

        config = self.latent.unet.config
        width = next(width for width, attends in zip(config.widths, config.attends, strict=True) if attends)
        return self._constants | {"kernel": kernel_for(self.device, self.latent.dtype, width // config.heads)}

    @cached_property
    def _constants(self) -> dict[str, str]:
        """The part of `about` that never changes."""
        choice = self.choice
        return {"checkpoint": choice.unet, "sha256": choices.sha256(choice.unet),
                "autoencoder": choice.autoencoder, "autoencoder_sha256": choices.sha256(choice.autoencoder),
                "text": choice.text, "text_sha256": choices.sha256(choice.text),
                "embedder": choice.embedder, "judge": choice.judge,
                "precision": str(self.latent.dtype).removeprefix("torch."), **files.machine(self.device)}


def subject_file(path: str | Path, checkpoint: str | None = None) -> "Subject":
    """The person in an adapter file. checkpoint: the choice it must have been trained on; None takes any.

    Raises CheckpointError for a file that is cut, damaged or no adapter of ours, SettingsError for another base.
    """
    from core import subjects

    if checkpoint is None:
        return subjects.read(path)
    choice = SYSTEM.choose(checkpoint)
    return subjects.read(path, choice.name, choices.sha256(choice.unet))


def precision(choice: str, device: Any) -> str:
    """What a choice computes in: large networks in half precision on GPUs, all others in single."""
    on_gpu = str(device).split(":")[0] in ("cuda", "mps")
    return "float16" if on_gpu and choice != "tiny" else "float32"


def fingerprint(subject: "Subject | None") -> str:
    """SHA-256 of a person's trained weights, 64 hexadecimal digits; "" for None."""
    if subject is None:
        return ""
    digest = hashlib.sha256(subject.token.encode())
    tensors = {**subject.weights, **({} if subject.embedding is None else {"spoken": subject.embedding})}
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].detach().float().cpu().contiguous().numpy().tobytes())
    if subject.ages is not None:
        digest.update(f"ages{subject.ages}".encode())
    return digest.hexdigest()
