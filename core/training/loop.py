"""The training loop of all recipes: weight averaging, exact resuming, logging, sample sheets, saving.

Built on Hugging Face Accelerate. Use `accelerate launch -m core train …` for several GPUs or machines.
"""

import copy
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from core.errors import SettingsError
from core.output import writing
from core.training.run_state import load_state, save_state, state_in

if TYPE_CHECKING:
    from core.data import DrawnSet


@dataclass(frozen=True)
class Settings:
    """Duration and output of a training run.

    minutes: training time; the learning rate schedule follows it on any machine.
    steps: if given, the schedule follows the steps, and a resumed run equals an uninterrupted one exactly.
    """

    out: Path
    minutes: float = 60.0
    steps: int | None = None
    threads: int | None = None
    seed: int = 0
    resume: bool = False
    warmup: int = 100  # steps of linear warm-up
    floor: float = 0.01  # final learning rate, relative to the peak
    clip: float = 5.0  # largest norm of the gradient
    workers: int = 0  # data loading processes; 0: in the main process
    precision: str = "auto"  # "bf16", "no", or "auto": bf16 on GPUs with it. CPUs with bf16 units gain 1.7 times
    average: float = 0.999  # decay of the moving average of the weights
    log_every: int = 20  # steps
    save_every: float = 4.0  # minutes
    check_every: float = 4.0  # minutes


class Recipe:
    """The interface of a recipe: networks, optimisers, batches and updates.

    networks: by name; those in `averaged` also have a moving average. optimizers: by name, with their peak learning
    rate as "initial_lr". shipped: checkpoints to start from with --onward, by network name.
    presets, set_options, checked: for `of`: by name; arguments of `data.drawn_set`; validation people × looks.
    saved: the network that `finish` writes, and its name in core.models; `about` is what the manifest says of it, and
    `bits` how it is stored, see `core.hub.save`.
    """

    presets: Mapping[str, Any] = MappingProxyType({})
    set_options: Mapping[str, Any] = MappingProxyType({})
    checked: tuple[int, int]
    saved: tuple[str, str]
    about: str
    bits: int = 16
    preset: Any

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    averaged: tuple[str, ...] = ()
    batch: int
    shipped: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def of(cls, preset: str, **asked: float) -> "Recipe":
        """The recipe of a preset, some of its fields changed; draws missing faces."""
        chosen = replace(cls.presets[preset], **asked)
        return cls(chosen, *drawn_sets(chosen, cls.checked, **cls.set_options))

    def finish(self, networks: dict, folder: Path, command: str) -> list[Path]:
        """Write the checkpoint, named by the preset, and its manifest row; returns the path."""
        from core import hub

        name, network = self.saved
        return [hub.save(networks[name], self.preset.name, network=network, preset=self.preset.network, recipe=command,
                         about=self.about, folder=folder, bits=self.bits)]

    def begin(self) -> None:
        """Called before the first step, but not when a run is resumed."""

    def batches(self, start: int, shard: tuple[int, int], device) -> Iterator[dict]:
        """Endless batches of process `shard` = (index, count), from its step `start` on.

        Over all processes these are batches start · count + index and every `count`-th after it. Data loading
        processes run this on a copy without networks, optimisers and tensors on a GPU; see `loader`.
        """
        raise NotImplementedError

    def updates(self, networks: dict, batch: dict, progress: float) -> Iterator[tuple[str, torch.Tensor, dict]]:
        """Yield (optimiser name, loss, values to log) for each update of a step; each is applied at once.

        Runs under autocast between two yields; the updates themselves do not.
        """
        raise NotImplementedError

    def stage(self, progress: float) -> float:
        """How far the present stage is, 0 to 1, when the run is at `progress`: the learning rate follows it."""
        return progress

    def loader(self) -> "Recipe":
        """A copy for data loading processes: without any attribute that holds a network, an optimiser or GPU memory."""
        light = copy.copy(self)
        for name, value in vars(self).items():
            if _is_heavy(value):
                delattr(light, name)
        return light

    def check(self, networks: dict) -> dict[str, float]:
        """Metrics on validation people, of the averaged networks in eval mode."""
        return {}

    def sheet(self, networks: dict):
        """A PIL image with samples, or None."""
        return None


def drawn_sets(preset: Any, checked: tuple[int, int], **options: Any) -> "tuple[DrawnSet, DrawnSet]":
    """Training faces, people × looks of a preset, and validation faces. options: arguments of `data.drawn_set`."""
    from core import data

    return (data.drawn_set("train", preset.people, preset.looks, **options),
            data.drawn_set("validation", *checked, **options))


def beginning(name: str, network: str, recipe: str) -> nn.Module:
    """The network that a preset begins with: of a checkpoint, or of a file that `train` wrote. recipe: trains it.

    Raises CheckpointError, SettingsError.
    """
    from core import hub

    if not hub.known(name) and not Path(name).exists():
        raise SettingsError(f"There is no checkpoint and no file {name}, which generator names.",
                            f"Train it first:  python -m core train {recipe} --preset tiny --ship checkpoints")
    return hub.network_of(name, network)


def _is_heavy(value: object) -> bool:
    """Whether a value is, or contains, a network, an optimiser or a tensor that is not in main memory."""
    value = vars(value) if is_dataclass(value) else value
    if isinstance(value, (list, tuple, dict)):
        return any(map(_is_heavy, value.values() if isinstance(value, dict) else value))
    return isinstance(value, (nn.Module, torch.optim.Optimizer)) or (torch.is_tensor(value) and not value.is_cpu)


def onward(recipe: Recipe) -> None:
    """Load the shipped checkpoints into a recipe's networks. Raises SettingsError if the recipe has none."""
    from core import hub

    if not recipe.shipped:
        raise SettingsError("--onward is not available for this recipe: some of its networks are not shipped.",
                            "Leave out --onward; vectors and stylegan2 have a preset onward.")
    for name, checkpoint in recipe.shipped.items():
        recipe.networks[name].load_state_dict(hub.load(checkpoint, "cpu").state_dict())


class Clock:
    """Steps, pictures and seconds so far, over all parts of a resumed run."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.step, self.pictures, self.spent = settings, 0, 0, 0.0
        self.seen = time.monotonic()

    def tick(self, pictures: int) -> None:
        now = time.monotonic()
        self.step, self.pictures = self.step + 1, self.pictures + pictures
        self.spent, self.seen = self.spent + now - self.seen, now

    @property
    def progress(self) -> float:
        """Progress of the run, in [0, 1]."""
        if self.settings.steps is not None:
            return min(self.step / self.settings.steps, 1.0)
        return min(self.spent / (60 * self.settings.minutes), 1.0)

    def state_dict(self) -> dict:
        return {"step": self.step, "pictures": self.pictures, "spent": self.spent}

    def load_state_dict(self, state: dict) -> None:
        self.step, self.pictures, self.spent = state["step"], state["pictures"], state["spent"]
        self.seen = time.monotonic()


def fit(recipe: Recipe, settings: Settings) -> dict[str, nn.Module]:
    """Train for the given time or steps; returns the networks, averaged if applicable, in eval mode.

    Writes to `settings.out`: log.jsonl, settings.json, sheet-<step>.png, and state/ for `resume`. SIGTERM,
    SIGHUP and Ctrl-C save the state first.
    """
    if not settings.resume and state_in(settings.out) is not None:
        raise SettingsError(f"{settings.out} already contains a run.",
                            "Continue it with --resume, or use another folder:  --out DIR")
    accelerator = _accelerator(settings)
    try:
        run = _prepared(accelerator, recipe, settings)
        try:
            run.train()
            return run.finished()
        finally:
            run.release()
    finally:
        accelerator.end_training()      # a process that ends while it is connected to the others may abort


def _prepared(accelerator, recipe: Recipe, settings: Settings) -> "_Run":
    """A run at its first step, or at the saved one."""
    if not settings.resume and accelerator.is_main_process:     # other processes get its weights by `prepare`
        recipe.begin()
    networks = {name: accelerator.prepare(network) for name, network in recipe.networks.items()}
    optimizers = {name: accelerator.prepare(optimizer) for name, optimizer in recipe.optimizers.items()}
    averages = {name: _averaged(accelerator.unwrap_model(networks[name]), settings) for name in recipe.averaged}
    clock = Clock(settings)
    accelerator.register_for_checkpointing(clock, *averages.values())
    if settings.resume:
        load_state(accelerator, settings.out, recipe)
    return _Run(accelerator, recipe, settings, networks, optimizers, averages, clock)


@dataclass(frozen=True)
class _Run:
    accelerator: object
    recipe: Recipe
    settings: Settings
    networks: dict
    optimizers: dict
    averages: dict
    clock: Clock

    @property
    def pictures(self) -> int:
        """Pictures of one step, in all processes."""
        return self.recipe.batch * self.accelerator.num_processes

    def release(self) -> None:
        """Drop what synchronises the networks of several processes, so that no network keeps the connection.

        The traceback of an error keeps networks. Python would then close the connection with its lock held, and wait
        forever for a thread that needs this lock.
        """
        for network in self.networks.values():
            if isinstance(network, DistributedDataParallel):
                network.reducer = network.logger = None

    def train(self) -> None:
        with _stop_requested() as stop:
            is_stopped = self.steps(stop)
        self.save()
        if is_stopped:
            message = f"Stopped at step {self.clock.step}; continue with --resume."
            self.accelerator.print(message, flush=True)
            raise KeyboardInterrupt(message)       # gives the command its exit status
        self.look()

    def steps(self, stop) -> bool:
        """Train until the end, or until `stop()` in any process, which is returned; validate and save now and then."""
        shard = (self.accelerator.process_index, self.accelerator.num_processes)
        start = self.clock.pictures // self.pictures
        batches = _batches(self.recipe, start, shard, self.accelerator.device, self.settings.workers)
        saved = checked = logged = self.clock.spent
        self.clock.seen = time.monotonic()
        while self.clock.progress < 1.0:
            if self.in_any(stop()):
                return True
            numbers = self.step(next(batches))
            if self.clock.step % self.settings.log_every == 0:
                self.log(numbers, (self.clock.spent - logged) / self.settings.log_every)
                logged = self.clock.spent
            if self.clock.spent - checked > 60 * self.settings.check_every:
                checked = self.clock.spent
                logged += self.timed(self.look)
            if self.clock.spent - saved > 60 * self.settings.save_every:
                saved = self.clock.spent
                logged += self.timed(self.save)
        return False

    def timed(self, task) -> float:
        """Run a task between steps; returns its seconds, which are excluded from the logged speed."""
        begun = time.monotonic()
        task()
        return time.monotonic() - begun

    def save(self) -> None:
        save_state(self.accelerator, self.settings.out, self.recipe)

    def step(self, batch: dict) -> dict:
        """One step of every optimiser; returns the values to log."""
        rate = rate_at(self.clock.step, self.recipe.stage(self.clock.progress), self.settings)
        numbers = {"rate": rate}
        for network in self.networks.values():
            network.train()
        updates = self.recipe.updates(self.networks, batch, self.clock.progress)
        while (update := self.forward(updates)) is not None:
            name, loss, logged = update
            self.update(self.optimizers[name], loss, rate)
            numbers |= {name: loss.detach()} | logged
        for name, average in self.averages.items():
            average.update_parameters(self.accelerator.unwrap_model(self.networks[name]))
        self.clock.tick(self.pictures)
        self.clock.spent = self.agreed(self.clock.spent)
        return numbers

    def forward(self, updates: Iterator) -> tuple[str, torch.Tensor, dict] | None:
        """The next update of a step, computed under autocast; None after the last."""
        with self.accelerator.autocast():
            return next(updates, None)

    def in_any(self, flag: bool) -> bool:
        """Whether a flag is set in any process. All must ask at the same point, or they wait for each other forever."""
        if self.accelerator.num_processes == 1:
            return flag
        from accelerate.utils import reduce

        return bool(reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum"))

    def agreed(self, seconds: float) -> float:
        """The time of the first process, for all: different times would desynchronise the processes."""
        if self.accelerator.num_processes == 1:
            return seconds
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor(seconds, dtype=torch.float64, device=self.accelerator.device)))

    def update(self, optimizer, loss: torch.Tensor, rate: float) -> None:
        """One step of an optimiser. Raises SettingsError in all processes if the loss of any is not finite."""
        if self.in_any(not torch.isfinite(loss)):
            value = loss.item() if not torch.isfinite(loss) else "not finite in another process"
            raise SettingsError(f"The loss is {value} at step {self.clock.step}.",
                                "Resume from the saved state with a smaller learning rate.")
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], self.settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        optimizer.step()

    def log(self, numbers: dict, seconds: float) -> None:
        numbers = {name: float(value) for name, value in numbers.items()}
        numbers |= {"img/s": self.pictures / max(seconds, 1e-9)}
        self.accelerator.log(numbers | {"minutes": self.clock.spent / 60}, step=self.clock.step)
        self.tell("step", numbers)

    def tell(self, what: str, numbers: dict) -> None:
        shown = " ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.accelerator.print(f"{what} {self.clock.step} {self.clock.progress:.1%} {shown}", flush=True)

    def look(self) -> None:
        """Validate the averaged networks and write the sample sheet."""
        if not self.accelerator.is_main_process:
            return
        with torch.no_grad():
            numbers = self.recipe.check(self.finished())
            sheet = self.recipe.sheet(self.finished())
        self.accelerator.log(numbers, step=self.clock.step)
        self.tell("check", numbers)
        if sheet is not None:
            sheet.save(self.settings.out / f"sheet-{self.clock.step:06d}.png")

    def finished(self) -> dict[str, nn.Module]:
        plain = {name: self.accelerator.unwrap_model(network) for name, network in self.networks.items()}
        chosen = plain | {name: average.module for name, average in self.averages.items()}
        return {name: network.eval() for name, network in chosen.items()}


def _batches(recipe: Recipe, start: int, shard: tuple[int, int], device, workers: int) -> Iterator[dict]:
    """A recipe's batches; prepared by `workers` processes in the same order, if not 0."""
    if not workers:
        yield from recipe.batches(start, shard, device)
        return
    # own generator: the global one, restored on resuming, must not depend on the number of workers
    # forkserver: a process must not be forked once it has used CUDA or OpenMP
    ready = DataLoader(_Share(recipe.loader(), start, shard), batch_size=None, num_workers=workers, prefetch_factor=4,
                       multiprocessing_context="forkserver", generator=torch.Generator(),
                       pin_memory=device.type == "cuda")
    for batch in ready:
        yield {name: value.to(device, non_blocking=True) for name, value in batch.items()}


@dataclass
class _Share(IterableDataset):
    """The batches of one data loading process: every n-th batch of a shard."""

    recipe: Recipe
    start: int
    shard: tuple[int, int]

    def __iter__(self) -> Iterator[dict]:
        (index, count), worker = self.shard, get_worker_info()
        first = (self.start + worker.id) * count + index
        return self.recipe.batches(0, (first, count * worker.num_workers), None)


def rate_at(step: int, progress: float, settings: Settings) -> float:
    """Learning rate relative to its peak: linear warm-up, then cosine decay to the floor."""
    warm = min((step + 1) / max(settings.warmup, 1), 1.0)
    return warm * (settings.floor + (1 - settings.floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def _accelerator(settings: Settings):
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.utils import set_seed

    with writing(settings.out):
        settings.out.mkdir(parents=True, exist_ok=True)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    able = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    precision = able if settings.precision == "auto" else settings.precision
    parts = DistributedDataParallelKwargs(find_unused_parameters=True)      # early steps may not use all layers
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available()   # else each trains alone
    accelerator = Accelerator(mixed_precision=precision, log_with=[_tracker(settings)], kwargs_handlers=[parts],
                              cpu=several)
    set_seed(settings.seed, device_specific=True)
    accelerator.init_trackers("facet", config={name: str(value) for name, value in asdict(settings).items()})
    return accelerator


def _averaged(network: nn.Module, settings: Settings) -> AveragedModel:
    """A moving average of parameters and buffers, with a decay that grows from 0.1, so that early steps fade."""

    def blend(average: list, current: list, count) -> None:
        decay = min(settings.average, (1 + int(count)) / (10 + int(count)))
        for kept, now in zip(average, current, strict=True):
            kept.lerp_(now, 1 - decay) if kept.is_floating_point() else kept.copy_(now)

    return AveragedModel(network, multi_avg_fn=blend, use_buffers=True)


def _tracker(settings: Settings):
    from accelerate.tracking import GeneralTracker, on_main_process

    class JsonlTracker(GeneralTracker):
        """Appends one JSON line per call to log.jsonl; the run's settings go to settings.json."""

        name, requires_logging_directory = "jsonl", False

        @property
        def tracker(self):
            return settings.out / "log.jsonl"

        @on_main_process
        def store_init_configuration(self, values: dict) -> None:
            (settings.out / "settings.json").write_text(json.dumps(values, indent=1))

        @on_main_process
        def log(self, values: dict, step: int | None = None, **_) -> None:
            with self.tracker.open("a") as file:
                file.write(json.dumps({"step": step} | values) + "\n")

    return JsonlTracker()


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """A function that tells whether SIGTERM, SIGHUP or Ctrl-C was received; only in the main thread."""
    asked, before = [], {}
    if threading.current_thread() is threading.main_thread():
        kinds = [kind for kind in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
                 if signal.getsignal(kind) is not signal.SIG_IGN]       # nohup ignores SIGHUP: that stays
        before = {kind: signal.signal(kind, lambda *_: asked.append(True)) for kind in kinds}
    try:
        yield lambda: bool(asked)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
