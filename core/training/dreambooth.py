"""Train a person: DreamBooth on a few pictures, with the two terms of the paper that preserve identity.

Banerjee et al., *Identity-Preserving Aging of Face Images via Latent Diffusion Models*, IJCB 2023; Ruiz et al.,
*DreamBooth*, CVPR 2023. The prompt is "photo of a wzx person". Captioned pictures of others preserve the age words.
Autoencoder, text encoder and embedder are frozen. A copy of the denoiser is trained, by a LoRA or entirely. With
`aging-tiny` the token's embedding is trained too; it starts from the person's face vectors.

    loss = noise + prior · noise of the captioned set + biometric · L1 of face vectors + contrastive · NT-Xent

The random numbers of a step depend on the seed and the step only, so an interrupted training resumes exactly.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core import words
from core.data import look_seed
from core.errors import CheckpointError, SettingsError
from core.hub.files import replacing
from core.images import recognisable
from core.latent import Latent, clean
from core.models.unet import UNet
from core.output import writing
from core.sampling import SEEDS
from core.subjects import PORTRAIT, Subject, merged
from core.training.diffusion import snr_weights
from core.training.dreambooth_ages import calibrate_ages, sweep_ages
from core.training.dreambooth_losses import biometric, contrastive
from core.training.dreambooth_material import TIMES, Batch, gathered
from core.training.dreambooth_student import alphas, autocast, frugal, student
from core.training.optim import adamw_groups

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
EVERYTHING = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut",
              "time_emb_proj")


@dataclass(frozen=True)
class Preset:
    """Settings of the training. prior, biometric, contrastive: weights of the terms; 0 disables a term.

    The biometric term uses `seen` pictures a step, and only pictures with little noise. The one-step estimate of a very
    noisy picture is an average face without identity, and decoding is the most expensive part.
    """

    base: str                               # the checkpoint choice to train
    steps: int
    rate: float                             # AdamW's learning rate for the denoiser
    batch: int = 4                          # pictures of the person per step; SimCLR needs at least 4
    others: int = 4                         # captioned pictures per step
    negatives: int = 32                     # further latents for the contrastive term, from the captioned set
    rank: int | None = None                 # of the LoRA; None: the whole denoiser is trained
    targets: tuple[str, ...] = ATTENTION    # layers that get a LoRA, by name suffix
    precision: str = "no"                   # "bf16", "no", or "auto": bf16 where the device computes it faster
    checkpointing: bool = False             # recompute activations to save memory
    annealed: bool = False                  # cosine decay of the learning rate to 0
    warmup: int = 0                         # steps of linear warm-up
    snr: float | None = None                # γ of min-SNR loss weights; None: equal weights
    prior: float = 1.0
    biometric: float = 0.1
    seen: int = 1
    little: float = 0.4                     # "little noise": timesteps below this share of all
    contrastive: float = 0.1
    temperature: float = 0.5
    token_rate: float = 0.0                 # AdamW's learning rate for the token's embedding; 0: frozen
    decay: float = 0.01                     # AdamW's weight decay
    clip: float = 1.0                       # largest norm of the gradient
    mirrored: bool = True                   # also train on mirror images
    aged: float = 0.0                       # share of pictures whose prompt names the age estimated by the judge
    looks: int = 0                          # pictures per age of the calibration sweep; 0: no calibration
    seed: int = 0


# Memory and time; for the large networks by `python -m core bench aging` on an H200 with random weights:
#   tiny      1 GB. A step takes 0.4 to 0.7 s on one CPU core, calibration a minute: 110 s in all on two cores.
#   paper     22.2 GB at the peak, 0.63 s a step: 8.5 minutes.
#   sd-lora   6.8 GB at the peak, 0.40 s a step: 5.5 minutes.
# The tiny learning rate was chosen on five validation people: 1.5e-3 gave FNMR 0.089 and exact ages 0.642, 1e-3 gave
# 0.115 and 0.667. At 3e-3, hair, glasses and ages degraded (one person of 60 years, a half-trained base).
# Prompts that name the age are not in the paper. With the plain prompt alone, "teenager" was estimated at 43 years and
# exact ages at 33 % instead of 75 %; with ages in all prompts, at 24 to 30 years.
# The contrastive term is disabled for tiny: on five validation people it raised the FNMR from 0.153 to 0.167 and
# lowered exact ages from 0.675 to 0.667.
PRESETS = {
    "tiny": Preset("tiny", steps=200, rate=1.5e-3, batch=8, others=8, rank=8, targets=EVERYTHING, precision="auto",
                   annealed=True, warmup=10, snr=5.0, contrastive=0.0, token_rate=2e-3, aged=1.0, looks=16),
    "paper": Preset("sd14", steps=800, rate=1e-6, checkpointing=True),
    "sd-lora": Preset("sd14", steps=800, rate=1e-4, rank=16, precision="bf16", checkpointing=True),
}


@dataclass(frozen=True)
class Lesson:
    """One training step: its number from 1, the number of steps, and the unweighted loss terms.

    calibration: progress of age calibration after the last step, 0 to 1, with empty losses; None before.
    """

    step: int
    steps: int
    losses: dict[str, float]
    calibration: float | None = None


class Teacher:
    """Trains one person. `lessons` may be closed at any step; `subject` and `unet` return the state reached."""

    def __init__(self, latent: Latent, images: Tensor, token: str, preset: Preset, embedder: nn.Module,
                 prior: tuple[Tensor, Sequence[str]] | None = None, base_sha256: str = "",
                 judge: nn.Module | None = None) -> None:
        """images: (N, 3, S, S) in [-1, 1], aligned faces of one person, S = latent.size. embedder: frozen, 112 pixels.

        prior: latents (M, C, h, w) of other people, with a caption each. base_sha256: of the denoiser's file.
        judge: estimates ages for the prompts (`aged`) and for calibration (`looks`); None disables both.
        The arguments are not modified. Raises SettingsError for unusable pictures, tokens or presets.
        """
        _teachable(latent, images, token, preset, prior)
        self.latent, self.preset, self.token, self.embedder = latent, preset, token, embedder
        self.images, self.base_sha256, self.judge = images, base_sha256, judge
        self.material = gathered(latent, embedder, images, preset.mirrored, prior)
        self.student = student(latent.unet, preset.rank, preset.targets, preset.seed)
        self.autoencoder = latent.autoencoder
        if preset.checkpointing:
            self.student.unet.enable_gradient_checkpointing()
            self.autoencoder = frugal(latent.autoencoder, "kl")
        self.alphas = alphas().to(latent.device)
        self.weights = torch.ones_like(self.alphas) if preset.snr is None else snr_weights(self.alphas, preset.snr)
        self.embedding = latent.subject_embedding(self.faces)
        if self.embedding is not None and preset.token_rate:
            self.embedding = nn.Parameter(self.embedding.float().clone())
        self.prompts, self.prompt_index = self._prompts()              # P prompts; the prompt of each row
        with torch.no_grad():
            self.prompt_states = latent.encode_prompts(self.prompts, self.embedding)   # (P, T, C)
        self.optimizer = self._optimizer()
        self.step, self.losses = 0, {}
        self.ages: tuple[float, ...] | None = None                      # set by calibration

    @property
    def prompt(self) -> str:
        """The training prompt."""
        return words.SUBJECT.format(self.token)

    @torch.no_grad()
    def _prompts(self) -> tuple[list[str], Tensor]:
        """The plain prompt and those that name an age; and the prompt's index for each row of the material, (R,)."""
        groups = []
        if self.judge is not None and self.preset.aged:
            years = self.judge(recognisable(self.images.to(self.latent.device)))["age"].clamp(min=0)
            groups = [words.group_of(float(each)) for each in years]
        known = list(dict.fromkeys(groups))
        which = [1 + known.index(group) for group in groups] or [0] * len(self.images)
        return ([self.prompt, *(words.OF_SUBJECT.format(self.token, group) for group in known)],
                torch.tensor(which, device=self.latent.device)[self.material.picture])

    @property
    def faces(self) -> Tensor:
        """The face vectors of the pictures, (N, 512)."""
        return self.material.vectors[: len(self.images)]

    def learning(self) -> dict[str, nn.Parameter]:
        """The trained parameters: the denoiser's by name, and the token's "embedding", if it is trained."""
        found = {name: p for name, p in self.student.named_parameters() if p.requires_grad}
        return found | ({"embedding": self.embedding} if isinstance(self.embedding, nn.Parameter) else {})

    def _optimizer(self) -> torch.optim.AdamW:
        chosen, learning = self.preset, self.learning()
        embedding = [learning.pop("embedding")] if "embedding" in learning else []
        return adamw_groups((learning.values(), chosen.rate, chosen.decay), (embedding, chosen.token_rate, 0.0))

    # ------------------------------------------------------------------------------------------------- the steps

    def lessons(self) -> Iterator[Lesson]:
        """Run the remaining steps one at a time, then calibrate the ages.

        Raises SettingsError when the loss is not finite.
        """
        chosen = self.preset
        while self.step < chosen.steps:
            batch = self.material.batch(self.step, chosen.seed, chosen.batch, chosen.others if chosen.prior else 0,
                                        chosen.negatives if chosen.contrastive else 0)
            with autocast(self.latent.device, chosen.precision):
                terms = self.terms(batch)
            self._update(self.weighted(terms))
            self.step += 1
            losses = {name: float(term.detach()) for name, term in terms.items()}
            self.losses = {name: 0.9 * self.losses.get(name, loss) + 0.1 * loss for name, loss in losses.items()}
            yield Lesson(self.step, chosen.steps, losses)
        if chosen.looks and self.judge is not None and self.embedding is not None and self.ages is None:
            yield from self._calibrate()

    def _calibrate(self) -> Iterator[Lesson]:
        """Calibrate the ages; without effect if closed early."""
        seeds = [look_seed("ages", self.preset.seed, number, 0) % SEEDS for number in range(self.preset.looks)]
        for found in sweep_ages(self.latent, self.unet(), self.token, self.embedding.detach(), self.judge, seeds):
            if found.share == 1:
                self.ages = calibrate_ages(found.years)
            yield Lesson(self.step, self.preset.steps, {}, found.share)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The unweighted loss terms; disabled ones are left out."""
        chosen, count = self.preset, len(batch.rows)
        alpha = self.alphas[batch.time][:, None, None, None]
        noisy = alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * batch.noise
        found = self.student(noisy.to(self.latent.dtype), batch.time, self._prompt_states(batch)).float()
        error = self.weights[batch.time] * (found - batch.noise).square().mean((1, 2, 3))   # (B + P,)
        estimate = clean(noisy[:count], found[:count], alpha[:count])                       # ẑ₀, (B, C, h, w)
        terms = {"noise": error[:count].mean()}
        if chosen.prior:
            terms["prior"] = error[count:].mean()
        if chosen.biometric:
            terms["biometric"] = self._biometric(estimate, batch)
        if chosen.contrastive:
            terms["contrastive"] = contrastive(batch.latents[:count], estimate, self.material.picture[batch.rows],
                                               batch.negatives, chosen.temperature)
        return terms

    def _prompt_states(self, batch: Batch) -> Tensor:
        """Prompt embeddings of the batch, (B + P, T, C); recomputed for the person if the token is trained."""
        learned = isinstance(self.embedding, nn.Parameter)
        states = self.latent.encode_prompts(self.prompts, self.embedding) if learned else self.prompt_states
        which = self.prompt_index[batch.rows]                                                 # (B,)
        which = which * (torch.arange(len(which), device=which.device) < self.preset.aged * len(which))
        return torch.cat([states[which], self.material.states[batch.captions].to(states.dtype)])

    def _biometric(self, estimate: Tensor, batch: Batch) -> Tensor:
        time = batch.time[: len(batch.rows)]
        seen = (time < self.preset.little * TIMES).nonzero()[: self.preset.seen, 0]
        return biometric(self.embedder, self._pictures, estimate[seen], self.material.vectors[batch.rows[seen]])

    def _pictures(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents.to(self.latent.dtype)).float()

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the terms; the noise term has weight 1."""
        return sum(getattr(self.preset, name, 1.0) * term for name, term in terms.items())

    def _update(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise SettingsError(f"Training stopped at step {self.step + 1}: the loss is {loss.item()}.",
                                "Train again with another seed or fewer steps.")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.learning().values()), self.preset.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._rate()
        self.optimizer.step()

    def _rate(self) -> float:
        """The learning rate of this step, relative to its peak."""
        rising = min((self.step + 1) / max(self.preset.warmup, 1), 1.0)
        falling = 0.5 * (1 + math.cos(math.pi * self.step / self.preset.steps)) if self.preset.annealed else 1.0
        return rising * falling

    # ------------------------------------------------------------------------------------------ what was learned

    @torch.no_grad()
    def changes(self) -> dict[str, Tensor]:
        """The trained weights in the layout of Subject.weights, float32 on the CPU."""
        learned = {name: p.detach().float().cpu().clone() for name, p in self.learning().items() if name != "embedding"}
        if self.preset.rank is not None:
            return {name.replace(".default.", "."): value for name, value in learned.items()}
        before = dict(self.latent.unet.named_parameters())
        return {name: value for name, value in learned.items() if not torch.equal(value, before[name].float().cpu())}

    def unet(self) -> UNet:
        """A denoiser with the training so far, in eval mode; further steps do not change it."""
        return merged(self.latent.unet, self.changes())

    def subject(self, name: str) -> Subject:
        """The person as trained so far, with weights in half precision, exactly as a file stores them."""
        settings = asdict(self.preset) | {"taken": self.step, "pictures": len(self.images), "losses": self.losses}
        faces = self.faces.cpu().half().float()
        embedding = None if self.embedding is None else self.embedding.detach().float().cpu().clone()
        return Subject(name, self.token, self.latent.name, self.base_sha256,
                       {key: value.half() for key, value in self.changes().items()}, embedding, faces,
                       _portrait(self.images, faces), json.loads(json.dumps(settings)), self.ages)

    # -------------------------------------------------------------------------------------------------- resuming

    def save(self, path: Path | str) -> None:
        """Write the training state for `restore`, atomically."""
        with replacing(Path(path)) as part:
            torch.save({"of": self._digest(), "step": self.step, "losses": self.losses,
                        "learning": {name: p.detach() for name, p in self.learning().items()},
                        "optimizer": self.optimizer.state_dict()}, part)

    @torch.no_grad()
    def restore(self, path: Path | str) -> None:
        """Resume from a file that `save` wrote; the following steps equal those of an uninterrupted training.

        Raises CheckpointError for an unreadable file, SettingsError for other pictures or settings.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            of = state["of"]
        except Exception as error:      # a pickle fails in more ways than can be listed
            raise CheckpointError(f"{path} is not a readable training state.",
                                  "Leave out --resume to start again.") from error
        if of != self._digest():
            raise SettingsError(f"{path} belongs to other pictures or settings.",
                                "Give the same pictures and settings, or leave out --resume to start again.")
        for name, p in self.learning().items():
            p.copy_(state["learning"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.losses = state["step"], state["losses"]

    def _digest(self) -> str:
        facts = json.dumps([asdict(self.preset), self.token, self.latent.name, self.base_sha256, self.prompts])
        pixels = self.images.detach().float().cpu().contiguous().numpy().tobytes()
        return hashlib.sha256(facts.encode() + pixels).hexdigest()


def kept(teacher: Teacher, out: Path, resume: bool = False, every: int = 50) -> Iterator[Lesson]:
    """The steps of a teacher, saving its state to out/state.pt every `every` steps and at the end or when closed."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if resume:
        teacher.restore(out / "state.pt")
    try:
        for lesson in teacher.lessons():
            yield lesson
            if lesson.losses and lesson.step % every == 0:
                teacher.save(out / "state.pt")
    finally:
        teacher.save(out / "state.pt")


def _portrait(images: Tensor, faces: Tensor) -> np.ndarray:
    """The picture whose face vector is closest to the mean, (128, 128, 3) uint8."""
    unit = F.normalize(faces, dim=1)
    chosen = images[int((unit @ unit.mean(0)).argmax())][None].float().cpu()
    small = F.interpolate(chosen, PORTRAIT[:2], mode="bilinear", antialias=True)[0]
    return ((small.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def _teachable(latent: Latent, images: Tensor, token: str, preset: Preset, prior: tuple | None) -> None:
    """Raise SettingsError for pictures, tokens or presets that cannot be trained."""
    if token not in words.RARE:
        raise SettingsError(f"{token!r} is not a rare token.",
                            f"Choose from: {', '.join(words.RARE)}.")
    if images.ndim != 4 or not len(images) or images.shape[1:] != (3, latent.size, latent.size):
        raise SettingsError(f"Pictures have shape {tuple(images.shape)}.",
                            f"Give one or more as (N, 3, {latent.size}, {latent.size}).")
    if preset.prior and (prior is None or not len(prior[0])):
        raise SettingsError("Prior preservation needs a captioned set of other people.",
                            "Give one, or set the weight `prior` to 0.")
    if preset.contrastive and prior is None and len(images) < 2:
        raise SettingsError("The contrastive term needs at least two pictures or a captioned set.",
                            "Give more pictures or a captioned set, or set the weight `contrastive` to 0.")
