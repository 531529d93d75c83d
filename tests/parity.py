"""What published networks compute, without their weights: weights made by a rule, and outputs recorded with them.

Every number is derived from a full key, `<namespace>/<state-dict key>`. The first 8 bytes of its SHA-256 seed NumPy's
PCG64, whose raw bits become noise n of zero mean and unit variance; the first row of RULES that fits turns n into
offset + factor * n. The same on every machine, so the recorded outputs can be asked for to the last digits.
"""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from core import hub

HERE = Path(__file__).parent

# pattern, found in "key:dimensions"; offset; factor; whether n is divided by the root of the fan-in
RULES = [
    (r"/in\.image", 0.0, 3 ** -0.5, False),
    (r"/in\.", 0.0, 1.0, False),
    (r"\.running_mean:", 0.0, 0.1, False),
    (r"\.running_var:", 1.0, 0.1, False),
    (r"^stylegan2\.\w+/style\.\d+\.bias:", 0.0, 10.0, False),
    (r"\.modulation\.bias:", 1.0, 0.1, False),
    (r"bias:", 0.0, 0.05, False),
    (r"^stylegan2\.\w+/style\.\d+\.weight:", 0.0, 100.0, False),
    (r"\.noise\.weight:", 0.0, 0.1, False),
    (r"^stylegan2\.|^e4e/styles\.\d+\.linear\.weight:", 0.0, 1.0, False),
    (r"prelu\.weight:|^e4e/(input_layer|body\.\d+\.res_layer)\.2\.weight:", 0.25, 0.02, False),
    (r"\.weight:1$", 1.0, 0.1, False),
    (r"^(e4e/styles|sixdrepnet/layer|inception_resnet_v1/.*\.conv\.weight)", 0.0, 2 ** 0.5, True),
    (r"^iresnet.*/layer\d\.\d+\.conv2\.weight:", 0.0, 0.35, True),
    (r"^l2m_gan\.(style_encoder|discriminator)/(shared|main)\.", 0.0, 1.5, True),
    (r"^(bagnet17|resnet50)/layer\d\.\d+\.conv3\.weight:", 0.0, 0.5, True),
    (r"^(bagnet17|resnet50)/(layer\d\.\d+\.)?conv\d\.weight:", 0.0, 2 ** 0.5, True),
    (r"weight:", 0.0, 1.0, True),
    (r"", 0.0, 0.1, False),
]


def unit(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in [-1, 1), float64."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    raw = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return ((raw >> np.uint64(11)) * 2.0 ** -52 - 1.0).reshape(shape)


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight or an input, float32."""
    noise = unit(key, shape) * 3 ** 0.5
    if key.endswith(".running_var"):
        noise = np.abs(noise)
    _, offset, factor, fan_in = next(rule for rule in RULES if re.search(rule[0], f"{key}:{len(shape)}"))
    if fan_in:
        noise = noise / np.prod(shape[1:]) ** 0.5
    return (offset + factor * noise).astype(np.float32)


def image(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Pictures in [-1, 1]: blocks of 16x16 pixels under finer noise."""
    n, channels, height, width = shape
    blocks = fill(f"{key}.blocks", (n, channels, height // 16, width // 16)).repeat(16, axis=2).repeat(16, axis=3)
    return np.float32(0.75) * blocks + np.float32(0.25) * fill(key, shape)


def keys(network: str, preset: str) -> dict[str, list]:
    """Key -> [type, *shape] inside the published file, in its order."""
    return json.loads((HERE / "keys" / f"{network}-{preset}.json").read_text())["state_dict"]


def weights(network: str, preset: str, namespace: str) -> dict[str, torch.Tensor]:
    """All filled entries of the published layout, in its order."""
    return {key: torch.from_numpy(fill(f"{namespace}/{key}", tuple(shape)))
            for key, (dtype, *shape) in keys(network, preset).items() if dtype == "float32"}


def filled(network: str, preset: str, namespace: str) -> torch.nn.Module:
    """Our network with these weights, strictly loaded, in eval mode."""
    return hub.from_published(network, weights(network, preset, namespace), preset)


class Fixture:
    """One recorded network: its inputs, its outputs, and ours filled with the same weights."""

    def __init__(self, name: str, network: str = "", preset: str = "") -> None:
        self.facts = json.loads((HERE / "fixtures" / "parity" / f"{name}.json").read_text())
        self.stored = load_file(HERE / "fixtures" / "parity" / f"{name}.safetensors")
        self.network, self.preset = network, preset

    def weights(self) -> dict[str, torch.Tensor]:
        """All filled entries of the published layout, in its order."""
        return weights(self.network, self.preset, self.facts["namespace"])

    def model(self) -> torch.nn.Module:
        """Our network with these weights, strictly loaded, in eval mode."""
        return filled(self.network, self.preset, self.facts["namespace"])

    def input(self, name: str) -> torch.Tensor:
        """A stored input, or one made by its recipe."""
        if name in self.stored:
            return torch.from_numpy(self.stored[name])
        made = eval(self.facts["tensors"][name]["recipe"], {"fill": fill, "image": image, "unit": unit,
                                                            "float32": np.float32})
        return torch.from_numpy(np.asarray(made, np.float32))

    def agrees(self, name: str, ours: torch.Tensor) -> None:
        """Fails unless our tensor has the recorded one's shape and numbers, within its tolerance."""
        facts, recorded = self.facts["tensors"][name], torch.from_numpy(self.stored[name])
        part = eval(f"ours{facts.get('slice', '')}", {"ours": ours})
        assert part.shape == recorded.shape, name
        error = (part - recorded).abs().max().item()
        assert error <= facts["suggested_atol"], f"{name}: {error} > {facts['suggested_atol']}"
