"""Small random networks in the place of those of `aging`: a checkout whose two choices draw noise in no time."""

import copy
import io
import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from core import faces_v3 as faces
from core import hub, latent, systems
from core.cache import LRUCache
from core.engine.waiting import JobQueue
from core.faces_v3 import jit  # noqa: F401  compiled code stays in the cache of the run, wherever a test puts its own
from core.hub import manifest
from core.models import NETWORKS, autoencoder, iresnet, safety, subject, text, unet
from core.systems.aging import pipeline, teaching
from core.training import dreambooth, dreambooth_ages

REAL = manifest.CHECKPOINTS
ROWS = {row.name: row for row in hub.rows()}        # of the real manifest
READERS = ("embedder-tiny-v3", "judge-tiny-v3", "landmarks-tiny")
TINY, SD = systems.choices("aging")
SMALL = {   # aging-tiny but for its widths
    "autoencoder": replace(autoencoder.PRESETS["tiny"], widths=(8, 8, 8, 8), groups=4),
    "unet": replace(unet.PRESETS["tiny"], widths=(16, 16, 32), text=32, heads=2, groups=4),
    "text": replace(text.PRESETS["tiny"], width=32, heads=2),
    "subject": replace(subject.PRESETS["tiny"], width=16, text=32),
}
TOY = {     # Stable Diffusion 1.4 but for its widths
    "autoencoder": replace(autoencoder.PRESETS["sd14"], size=64, widths=(32, 32, 64, 64)),
    "unet": replace(unet.PRESETS["sd14"], size=8, widths=(32, 64, 64, 64), text=48),
    "text": replace(text.PRESETS["sd14"], vocabulary=253, width=48, depth=2, heads=3),
    "safety": replace(safety.PRESETS["sd14"], size=32, patch=8, width=32, depth=2, heads=2, concept=16),
    "iresnet": replace(iresnet.PRESETS["tiny"], widths=(16, 16, 16, 16), depths=(1, 1, 1, 1)),
}


def toy(network: str, presets: dict, seed: int = 0) -> torch.nn.Module:
    """A network of one of the tables above, its weights from a seed: a copy of the one made first."""
    return copy.deepcopy(_toy(network, presets is SMALL, seed))


@cache
def _toy(network: str, small: bool, seed: int) -> torch.nn.Module:
    presets = SMALL if small else TOY
    torch.manual_seed(seed)
    made = NETWORKS[network].cls(presets[network]).eval().requires_grad_(False)
    if network == "unet":
        for weight in made.parameters():    # diffusers begins some layers at 0: they must say something
            if weight.abs().max() == 0 and weight.ndim > 1:
                weight.data = 0.02 * torch.randn_like(weight)
    return made


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder of checkpoints with the networks that read, as they ship; nothing loaded, nobody teaching."""
    monkeypatch.setattr(manifest, "CHECKPOINTS", folder)
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    monkeypatch.setattr(systems, "_pipelines", LRUCache(9))
    monkeypatch.setattr(teaching, "QUEUE", JobQueue())
    monkeypatch.setattr(pipeline, "PROGRESS_S", float("inf"))        # a busy machine says no more than a quick one
    folder.mkdir(parents=True, exist_ok=True)
    for name in READERS:
        shutil.copy(REAL / ROWS[name].file, folder)
    for name in (*READERS, "yunet"):
        manifest.put(ROWS[name], folder)


def look_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few places where ages could lie, little drawing there and in previews: seconds instead of half a minute."""
    monkeypatch.setattr(teaching, "PREVIEW_STEPS", 2)
    few = replace(dreambooth.PRESETS["tiny"], looks=2, batch=4, others=4)
    monkeypatch.setitem(dreambooth.PRESETS, "tiny", few)
    monkeypatch.setattr(dreambooth_ages, "AGE_GRID", (5.0, 45.0, 88.0))
    monkeypatch.setattr(dreambooth_ages, "STEPS", 1)


def with_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ship toys as `aging-tiny`, with a captioned set of noise; after teaching it is looked but a little."""
    look_little(monkeypatch)
    for network, config in SMALL.items():
        monkeypatch.setitem(NETWORKS[network].presets, "small", config)
    for seed, (network, name) in enumerate((("autoencoder", TINY.autoencoder), ("unet", TINY.unet), ("text", TINY.text),
                                            ("subject", TINY.subject))):
        hub.save(toy(network, SMALL, seed), name, network=network, preset="small", recipe="", about="a toy")
    captions = [f"photo of a person as {age}" for age in ("child", "old", "elderly")]
    latent.write_prior(torch.randn(3, 8, 16, 16), captions, latent.PRIOR, manifest.CHECKPOINTS, "")


@cache
def published(network: str, seed: int = 0) -> bytes:
    """A toy as a safetensors file under the names that CompVis/stable-diffusion-v1-4 uses."""
    inner = next(toy(network, TOY, seed).children())
    state = {name: value.contiguous() for name, value in inner.state_dict().items()}
    if network == "text":
        state = {f"text_model.{name}": value for name, value in state.items()}
        state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    if network == "safety":
        state = {name.replace("vision_model.", "vision_model.vision_model.", 1): value for name, value in state.items()}
        state["vision_model.vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        state["concept_embeds_weights"] = torch.full((17,), 2.0)        # nothing is withheld: no cosine reaches 2
        state["special_care_embeds_weights"] = torch.full((3,), 2.0)
    if network == "autoencoder":
        for old, new in autoencoder.OLD_NAMES.items():
            state = {name.replace(f".{new}.", f".{old}."): value for name, value in state.items()}
    return save(state)


@cache
def pickled(network: str) -> bytes:
    """A toy as a file of torch."""
    memory = io.BytesIO()
    torch.save(toy(network, TOY).state_dict(), memory)
    return memory.getvalue()


@cache
def kohya(seed: int = 5, rank: int = 4) -> dict[str, torch.Tensor]:
    """A LoRA for the toy denoiser's attention under kohya's names, which the published LCM-LoRA has too."""
    draw, state = torch.Generator().manual_seed(seed), {}
    for name, layer in toy("unet", TOY).unet.named_modules():
        if not name.endswith(("to_q", "to_k", "to_v", "to_out.0", "proj_in")):
            continue
        shape = layer.weight.shape
        key = f"lora_unet_{name.replace('.', '_')}"
        state[f"{key}.lora_down.weight"] = torch.randn(rank, shape[1], *shape[2:], generator=draw)
        state[f"{key}.lora_up.weight"] = 0.05 * torch.randn(shape[0], rank, *shape[2:], generator=draw)
        state[f"{key}.alpha"] = torch.tensor(rank / 2)
    return state


def on_hub(server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of Stable Diffusion as the manifest has them, with toys behind them on a Hub of the test's own."""
    for network, config in TOY.items():
        monkeypatch.setitem(NETWORKS[network].presets, "toy", config)
    words = REAL / "aging-words"
    contents = {SD.autoencoder: published("autoencoder"), SD.unet: published("unet"), SD.text: published("text"),
                SD.safety: published("safety"), SD.quick: save(kohya()), SD.embedder: pickled("iresnet"),
                "sd14-vocabulary": json.dumps(json.loads((words / "vocab.json").read_text("utf-8"))).encode(),
                "sd14-merges": (words / "merges.txt").read_bytes()}
    for name, content in contents.items():
        row = ROWS[name]
        server.put(row.repo, row.file, content, large=True)
        manifest.put(replace(row, preset=row.preset and "toy", revision=None, sha256=None, bytes=None,
                             rounded_bytes=row.bytes), manifest.CHECKPOINTS)
    monkeypatch.setitem(latent.CHOICES, "sd14", replace(latent.CHOICES["sd14"], size=64))
    latent._published_tokenizer.cache_clear()


def drawn(number: int, look: int = 0, size: int = 128, **wanted: float) -> Image.Image:
    """A drawn test person, aligned."""
    identity = faces.person(number, "test")
    looks = faces.look(identity, look, **{"yaw": 0.0, "blur": 0.0, "exposure": 0.0, "sunglasses": 0.0} | wanted)
    return Image.fromarray(faces.draw(faces.Face(identity, looks), size=size, view="aligned"))


def photo(number: int, look: int = 0, size: int = 256) -> Image.Image:
    """A drawn test person with head and shoulders, as somebody would upload them."""
    identity = faces.person(number, "test")
    looks = faces.look(identity, look, yaw=0.0, pitch=0.0, blur=0.0, exposure=0.0, eyes_closed=0.0, sunglasses=0.0)
    return Image.fromarray(faces.draw(faces.Face(identity, looks), size=size, view="portrait"))


def saved(picture: Image.Image, path: Path) -> str:
    picture.save(path)
    return str(path)


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> pipeline.Aging:
    """The pipeline, of small random networks."""
    with pytest.MonkeyPatch.context() as patch:
        checkout(tmp_path_factory.mktemp("aging") / "checkpoints", patch)
        with_tiny(patch)
        yield systems.load("aging")
