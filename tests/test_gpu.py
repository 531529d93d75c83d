"""On a CUDA device: recipes train there, people are taught there, and what is drawn is what a CPU draws."""

from dataclasses import replace

import pytest
import torch
from test_aging_base import AUTOENCODER, place, ship  # noqa: F401
from test_training import made_up
from toy_latent import captioned, pictures, toy_embedder, toy_latent

from core import hub
from core.latent import denoise
from core.training import aging, autoencoder, diffusion, vectors
from core.training.dreambooth import PRESETS, Teacher
from core.training.loop import Settings, fit

pytestmark = pytest.mark.gpu


def trained(recipe, out) -> dict:
    return fit(recipe, Settings(out=out, steps=3, workers=2, log_every=1))


def both(size: int) -> tuple:
    return made_up(4, 4, size), made_up(4, 4, size)


def test_the_stages_of_aging_train_on_the_gpu(place, tmp_path):     # noqa: F811
    ship(AUTOENCODER, "autoencoder")
    first = autoencoder.AutoencoderRecipe(replace(aging.PRESETS["autoencoder"], batch=4), *both(128))
    networks = trained(first, tmp_path / "autoencoder")
    first.finish(networks, place, "")
    assert next(hub.load(AUTOENCODER).parameters()).is_cuda
    second = diffusion.DiffusionRecipe(replace(aging.PRESETS["unet"], batch=4), hub.load(AUTOENCODER), *both(128))
    networks = trained(second, tmp_path / "unet")
    assert all(p.is_cuda and p.isfinite().all() for network in networks.values() for p in network.parameters())
    assert len(second.finish(networks, place, "")) == 4


def test_vectors_goes_on_on_the_gpu(place, tmp_path):       # noqa: F811
    torch.manual_seed(0)
    for name, network in (("vectors-tiny", "vec2face"), ("embedder-tiny", "iresnet"), (AUTOENCODER, "autoencoder")):
        ship(name, network)
    faces, held_out = both(128)
    found = [torch.randn(len(each), 512) for each in (faces, held_out)]
    recipe = vectors.VectorsRecipe(replace(vectors.PRESETS["onward"], batch=4), faces, held_out, *found)
    assert [path.name for path in recipe.finish(trained(recipe, tmp_path), tmp_path, "")] == [
        "vectors-tiny.safetensors", "vectors-people-tiny.safetensors"]


def test_what_is_drawn_is_what_a_cpu_draws():
    made = []
    for device in ("cpu", "cuda"):
        base = toy_latent()
        unet, text, coder = (each.to(device) for each in (base.unet, base.text, base.autoencoder))
        states = text(base.tokens(["photo of a person as old", ""]).to(device))
        *_, last = denoise(unet, states[:1], states[1:], [3], steps=5)
        made.append(coder.decode(last.latents).cpu())
    assert torch.allclose(*made, atol=2e-2)


@pytest.mark.parametrize("preset", ["tiny", "sd-lora", "paper"])
def test_a_lesson_on_the_gpu(preset):
    base = toy_latent("tiny" if preset == "tiny" else "sd14",
                      dtype=torch.bfloat16 if preset == "sd-lora" else torch.float32)
    for network in (base.autoencoder, base.unet, base.text, base.subject):
        if network is not None:
            network.cuda()
    teacher = Teacher(base, pictures(5, base.size), "wzx", replace(PRESETS[preset], steps=2), toy_embedder().cuda(),
                      captioned(base.unet.config.size, base.unet.config.channels))
    assert [lesson.step for lesson in teacher.lessons()] == [1, 2]
    assert all(value.isfinite().all() for value in teacher.subject("somebody").weights.values())
