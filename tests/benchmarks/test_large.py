"""What teaching and drawing cost with networks of Stable Diffusion's shape: here with toys of that shape."""

from dataclasses import asdict, replace

import pytest
import torch
from aging_toys import TOY

from core import hub
from core.bench import aging
from core.commands.bench import large
from core.errors import SettingsError

TOYS = {network: asdict(config) for network, config in TOY.items()}


def test_everything_is_measured(monkeypatch, capsys):
    from core.models import build

    small = dict(widths=(16, 16, 16, 16), depths=(1, 1, 1, 1))
    monkeypatch.setattr(aging, "build", lambda name, preset, **changes: build(
        name, "tiny" if name == "iresnet" else preset, **(small if name == "iresnet" else changes)))
    monkeypatch.setattr(aging, "PICTURES", 2)
    monkeypatch.setattr(aging, "OTHERS", 4)
    for name in aging.TRAINED_PRESETS:
        monkeypatch.setitem(aging.PRESETS, name, replace(aging.PRESETS[name], batch=2, others=2))
    monkeypatch.setattr(aging, "SHOWN", {"dpm": (2, 5.0), "lcm": (1, 1.0)})
    monkeypatch.setattr(hub, "default_device", lambda: "mps")       # any but the CPU, where it is refused
    whole = aging.costs
    monkeypatch.setattr(aging, "costs", lambda device: whole("cpu", steps=1, toys=TOYS))
    large()
    title, *lines = capsys.readouterr().out.splitlines()
    assert "random weights" in title and [line.split("  ")[0] for line in lines] == [
        "sd-lora: a training step", "paper: a training step", "a picture by dpm in 2 steps",
        "a picture by lcm in 1 steps"]
    assert all(float(line.split()[-2]) > 0 for line in lines)


def test_the_prompts_are_as_long_as_the_published_ones():
    numbers = aging.padded(["photo of a person as old", ""])
    assert numbers.shape == (2, 77) and torch.equal(numbers[:, -1], numbers[1, 1].expand(2))


def test_a_cpu_is_spared(monkeypatch):
    monkeypatch.setattr(hub, "default_device", lambda: "cpu")
    with pytest.raises(SettingsError, match=r"on a GPU(.|\n)*bench vectors"):
        large()
