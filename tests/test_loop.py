"""The training loop on a toy recipe: exact resuming, averaging, schedule, logs; several processes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from core.errors import SettingsError
from core.training import loop

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Asked:
    rate: float
    people: int


@dataclass(frozen=True)
class Held:
    networks: list[nn.Module]


class Line(loop.Recipe):
    """Two networks that learn a line, one after the other, with noise of their own."""

    averaged = ("first",)
    batch = 4

    def __init__(self, rate: float = 0.1, at_step=None):
        torch.manual_seed(1)
        first = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.networks = {"first": first, "second": nn.Linear(1, 1)}
        self.optimizers = {name: torch.optim.AdamW([{"params": list(network.parameters()), "initial_lr": rate}], rate)
                           for name, network in self.networks.items()}
        self.at_step, self.seen = at_step, []

    def batches(self, start, shard, device):
        while True:
            self.seen.append(start)
            draw = torch.Generator().manual_seed(start)
            yield {"x": torch.randn(4, 2, generator=draw), "step": start}
            start += 1

    def updates(self, networks, batch, progress):
        if self.at_step:
            self.at_step(batch["step"])
        x = batch["x"] + 0.1 * torch.randn(4, 2)  # global randomness: resuming must restore it
        made = networks["first"](x)
        yield "first", (made - x.sum(1, keepdim=True)).square().mean(), {"progress": progress}
        with torch.no_grad():
            made = networks["first"](x)
        yield "second", (networks["second"](made) - 1).square().mean(), {}

    def check(self, networks):
        return {"training": float(any(network.training for network in networks.values()))}

    def sheet(self, networks):
        return Image.new("RGB", (4, 4))


def settings(out, **changes) -> loop.Settings:
    return replace(loop.Settings(out=out, steps=8, warmup=2, log_every=1, threads=1), **changes)


def weights(networks) -> torch.Tensor:
    return torch.cat([value.float().flatten() for net in networks.values() for value in net.state_dict().values()])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = loop.fit(Line(), settings(tmp_path / "whole"))

    def stop(step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    handlers = [signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt, match="--resume"):
        loop.fit(Line(at_step=stop), settings(tmp_path / "halves"))
    assert [signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)] == handlers
    again = Line()
    torch.manual_seed(99)
    halves = loop.fit(again, settings(tmp_path / "halves", resume=True))
    assert again.seen[0] == 5 and again.seen[-1] >= 7
    assert torch.equal(weights(whole), weights(halves))


def test_a_run_is_not_begun_over_another(tmp_path):
    loop.fit(Line(), settings(tmp_path))
    with pytest.raises(SettingsError, match="already contains a run") as error:
        loop.fit(Line(), settings(tmp_path))
    assert "--resume" in error.value.next_step


def test_a_run_goes_on_at_the_rate_and_batch_size_that_are_asked_for(tmp_path):
    def line(rate: float, people: int = 4, batch: int = 4) -> Line:
        recipe = Line()
        recipe.preset, recipe.batch = Asked(rate, people), batch
        for optimizer in recipe.optimizers.values():
            optimizer.param_groups[0]["initial_lr"] = rate
        return recipe

    loop.fit(line(0.1), settings(tmp_path, steps=4))
    slower = line(0.001, batch=2)
    loop.fit(slower, settings(tmp_path, resume=True))
    assert {group["initial_lr"] for each in slower.optimizers.values() for group in each.param_groups} == {0.001}
    assert slower.seen[0] == 8      # 16 pictures were seen, whatever the batch size
    with pytest.raises(SettingsError, match="has people 4, not 8"):
        loop.fit(line(0.001, people=8), settings(tmp_path, resume=True))


def test_what_a_run_leaves_behind(tmp_path):
    networks = loop.fit(Line(), settings(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "first" in line]
    assert [line["step"] for line in steps] == list(range(1, 9)) and {"second", "rate", "img/s"} <= set(steps[0])
    assert lines[-1] == {"step": 8, "training": 0.0}
    assert Image.open(tmp_path / "sheet-000008.png").size == (4, 4)
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == "8"
    assert (tmp_path / "state").is_dir() and not (tmp_path / "state.new").exists()
    assert not any(network.training for network in networks.values())


def test_the_average_lags_behind(tmp_path):
    recipe = Line()
    start = weights({"first": recipe.networks["first"]}).clone()
    averaged = weights({"first": loop.fit(recipe, settings(tmp_path, average=0.5))["first"]})
    trained = weights({"first": recipe.networks["first"]})
    assert not torch.equal(averaged, trained)
    assert (averaged - trained).norm() < (start - trained).norm()


def test_a_killed_save_leaves_the_state_before(tmp_path):
    loop.fit(Line(), settings(tmp_path, steps=3))
    os.rename(tmp_path / "state", tmp_path / "state.old")
    (tmp_path / "state.new").mkdir()
    recipe = Line()
    loop.fit(recipe, settings(tmp_path, steps=5, resume=True))
    assert recipe.seen[0] == 3


def test_nothing_to_resume(tmp_path):
    with pytest.raises(SettingsError, match="no saved state"):
        loop.fit(Line(), settings(tmp_path, resume=True))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    class Broken(Line):
        def updates(self, networks, batch, progress):
            yield "first", networks["first"](batch["x"]).sum() * float("nan"), {}

    with pytest.raises(SettingsError, match="smaller learning rate"):
        loop.fit(Broken(), settings(tmp_path))


def test_time_ends_a_run_and_anneals_it(tmp_path):
    recipe = Line()
    loop.fit(recipe, settings(tmp_path, steps=None, minutes=0.02))
    rates = [json.loads(line)["rate"] for line in (tmp_path / "log.jsonl").read_text().splitlines() if "rate" in line]
    assert len(rates) > 3 and rates[-1] < 0.2 < max(rates)


def test_the_schedule():
    chosen = loop.Settings(out=None, warmup=10, floor=0.01)
    assert loop.rate_at(0, 0.0, chosen) == pytest.approx(0.1)
    assert loop.rate_at(50, 0.5, chosen) == pytest.approx(0.505)
    assert loop.rate_at(100, 1.0, chosen) == pytest.approx(0.01)


def test_gradients_are_clipped(tmp_path):
    class Steep(Line):
        def __init__(self):
            super().__init__()
            group = {"params": list(self.networks["first"].parameters()), "initial_lr": 1.0}
            self.optimizers = {"first": torch.optim.SGD([group], 1.0)}

        def updates(self, networks, batch, progress):
            yield "first", 1e6 * networks["first"](batch["x"]).mean(), {}

    recipe = Steep()
    before = [p.detach().clone() for p in recipe.networks["first"].parameters()]
    loop.fit(recipe, settings(tmp_path, steps=1, warmup=1, clip=0.5))
    moved = torch.cat([(p - q).flatten() for p, q in zip(recipe.networks["first"].parameters(), before, strict=True)])
    assert 0 < moved.norm() <= 0.51


@pytest.fixture
def half_precision():
    """Accelerate keeps its precision for the whole process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield "bf16"
    AcceleratorState._reset_state(reset_partial_state=True)


def test_only_the_forward_runs_under_autocast(tmp_path, half_precision):
    seen = {"forward": set(), "backward": set(), "step": set()}

    def note(what: str) -> None:
        seen[what].add(torch.is_autocast_enabled("cpu"))

    class Watched(Line):
        def __init__(self):
            super().__init__()
            self.optimizers["first"].register_step_pre_hook(lambda *_: note("step"))

        def updates(self, networks, batch, progress):
            made = networks["first"](batch["x"])
            made.register_hook(lambda grad: note("backward"))
            note("forward")
            yield "first", made.float().square().mean(), {}
            note("forward")

    loop.fit(Watched(), settings(tmp_path, steps=2, precision=half_precision))
    assert seen == {"forward": {True}, "backward": {False}, "step": {False}}


# ----------------------------------------------------------------------------------------------- data processes

class Parents(Line):
    """Batches that name the process which the data process comes from."""

    def batches(self, start, shard, device):
        while True:
            yield {"x": torch.tensor([os.getppid()]), "heavy": torch.tensor([hasattr(self, "networks")])}


def test_data_processes_are_not_forked_from_this_one_and_get_no_networks():
    recipe = Parents()
    batch = next(loop._batches(recipe, 0, (0, 1), torch.device("cpu"), workers=1))
    assert batch["x"].item() != os.getpid() and not batch["heavy"].item()
    assert set(vars(recipe)) - set(vars(recipe.loader())) == {"networks", "optimizers"}


# --------------------------------------------------------------------------------------------- several processes

PROGRAM = """
import os, signal, sys
from pathlib import Path
import torch
from core.errors import SettingsError
from core.training import loop
from test_loop import Line, settings

rank, out, part = int(os.environ["RANK"]), Path(sys.argv[1]), sys.argv[2]

class Unlucky(Line):
    def updates(self, networks, batch, progress):
        for name, loss, logged in super().updates(networks, batch, progress):
            yield name, loss * (float("nan") if rank == 1 and batch["step"] == 5 else 1.0), logged

def stop(step):
    if rank == 1 and step == 2:
        os.kill(os.getpid(), signal.SIGTERM)

recipe = Line(at_step=stop) if part == "first" else Unlucky()
try:
    loop.fit(recipe, settings(out, resume=part == "second"))
except (KeyboardInterrupt, SettingsError) as error:
    said = f"{type(error).__name__} {len(recipe.seen)} {str(error).splitlines()[0]}"
from accelerate import PartialState
joined = torch.distributed.is_initialized()     # a process that ends so may abort
(out / f"said-{part}-{rank}").write_text(f"{PartialState().num_processes} {joined} {said}")
"""


def test_a_closed_terminal_stops_like_ctrl_c():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)       # under nohup it is ignored
    try:
        with loop._stop_requested() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_processes_get_no_networks():
    recipe = Line()
    recipe.held = Held([nn.Linear(2, 2)])
    assert not {"held", "networks", "optimizers"} & set(vars(recipe.loader()))


def test_two_processes_train_one_network_and_stop_together(tmp_path):
    """A signal to one of them, or its loss, ends both at the same step; resuming goes on from there.

    Without being told that there is no GPU, accelerate lets each process train a network of its own.
    """
    (program := tmp_path / "train.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE")}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", program,
               run := tmp_path / "run"]
    environment |= {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OMP_NUM_THREADS": "1"}
    said = {}
    for part in ("first", "second"):
        done = subprocess.run([*command, part], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-4000:]
        said[part] = [(run / f"said-{part}-{rank}").read_text() for rank in (0, 1)]
    assert said["first"] == ["2 False KeyboardInterrupt 3 Stopped at step 3; continue with --resume."] * 2
    assert said["second"] == ["2 False SettingsError 3 The loss is not finite in another process at step 5.",
                              "2 False SettingsError 3 The loss is nan at step 5."]
