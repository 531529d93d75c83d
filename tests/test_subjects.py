"""Adapter files: what is written comes back, what is cut or foreign is refused, and diffusers reads them too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_latent import everything, toy_latent

from core import subjects, words
from core.errors import CheckpointError, SettingsError
from core.subjects import DOWN, UP, Subject

LAYERS = ("unet.mid_block.resnets.0.conv1", "unet.conv_in", "unet.mid_block.attentions.0.proj_in",
          "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v",
          "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0")


def made_up_subject(unet, layers: tuple[str, ...] = LAYERS, **changes) -> Subject:
    """A LoRA of rank 2 on some layers of a denoiser, as large as its weights."""
    torch.manual_seed(3)
    own, weights = dict(unet.named_parameters()), {}
    for layer in layers:
        shape = own[f"{layer}.weight"].shape
        weights[layer + DOWN] = (torch.randn(2, *shape[1:]) * 0.3).half()
        weights[layer + UP] = (torch.randn(shape[0], 2, *[1] * (len(shape) - 2)) * 0.3).half()
    portrait = np.random.default_rng(0).integers(0, 256, subjects.PORTRAIT, dtype=np.uint8)
    subject = Subject("Ada · ö", "wzx", "tiny", "abc", weights, torch.randn(16), torch.randn(5, 512).half().float(),
                      portrait, {"steps": 4, "losses": {"noise": 0.25}})
    return replace(subject, **changes)


@pytest.fixture
def latent():
    return toy_latent()


@pytest.fixture
def file(latent, tmp_path) -> Path:
    return subjects.write(made_up_subject(latent.unet), tmp_path / "ada.safetensors")


def test_what_is_written_comes_back(latent, file):
    given, found = made_up_subject(latent.unet), subjects.read(file, "tiny", "abc")
    assert (found.name, found.token, found.base, found.base_sha256) == ("Ada · ö", "wzx", "tiny", "abc")
    assert found.settings == given.settings and np.array_equal(found.portrait, given.portrait)
    assert torch.equal(found.faces, given.faces) and torch.equal(found.embedding, given.embedding)
    assert found.weights.keys() == given.weights.keys()
    assert all(torch.equal(found.weights[key], value) for key, value in given.weights.items())
    assert found.prompt() == "photo of a wzx person" and found.prompt("old") == "photo of a wzx person as old"


def test_a_person_without_a_vector_comes_back_so(latent, tmp_path):
    path = subjects.write(made_up_subject(latent.unet, embedding=None, base="sd14"), tmp_path / "file.safetensors")
    assert subjects.read(path, "sd14").embedding is None


def test_where_the_ages_lie_comes_back(latent, file, tmp_path):
    assert subjects.read(file).ages is None
    ages = (5.0, 18.25, 30.0, 44.0, 60.0, 90.0)
    path = subjects.write(made_up_subject(latent.unet, ages=ages), tmp_path / "file.safetensors")
    assert subjects.read(path).ages == ages


def test_only_the_lora_is_in_the_tensors_and_a_header_tells_the_rest(file):
    from safetensors import safe_open

    assert all("lora" in key and key.startswith("unet.") for key in load_file(file))
    with safe_open(file, "pt") as stored:
        facts = stored.metadata()
    assert (facts["token"], facts["class"], facts["base"]) == ("wzx", "person", "tiny") and "steps" in facts["settings"]
    assert file.stat().st_size < 200_000


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_a_cut_adapter_is_refused_with_a_next_step(file, part):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(CheckpointError, match=r"ada.safetensors is cut off or damaged"):
        subjects.read(file, "tiny")


def test_an_adapter_for_another_base_says_for_which(file):
    with pytest.raises(SettingsError, match=r"tiny.* sd14"):
        subjects.read(file, "sd14")
    with pytest.raises(SettingsError, match="other weights of tiny"):
        subjects.read(file, "tiny", "another training's")
    assert subjects.read(file, "tiny", "").token == "wzx"


def damaged(file: Path, tensors: dict | None = None, **facts: str | None) -> Path:
    """The file with some facts of its header changed, or taken out for None, and other tensors."""
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        header = stored.metadata() | facts
    save_file(load_file(file) if tensors is None else tensors, file,
              {key: value for key, value in header.items() if value is not None})
    return file


@pytest.mark.parametrize("facts", [
    {"token": "the"}, {"token": None}, {"settings": "{"}, {"settings": "[]"}, {"faces": "%%"}, {"faces": "AAAA"},
    {"portrait": "AAAA"}, {"spoken": "A"}, {"base": None}, {"facet": None}, {"facet": "another thing"},
    {"faces": subjects._packed(np.full((2, 512), np.nan, "<f2"))}, {"faces": ""}, {"settings": "[" * 100_000},
    {"faces": subjects._packed(np.eye(2, 512, 1, "<f2") * [[1], [0]])}, {"ages": "[1, 2, 3]"}, {"ages": "{}"},
    {"ages": "[1, 2, 3, 4, 5, NaN]"}, {"ages": "[-1, 2, 3, 4, 5, 6]"}, {"ages": "[1, 2, 3, 4, 5, 1e9]"},
    {"ages": "[1, 2, 3, 4, 5, []]"}, {"ages": "[1, 2, 3, 4, 5, 6"},
    {"ages": f"[1, 2, 3, 4, 5, {10**400}]"}])
def test_a_header_that_lies_is_refused(file, facts):
    with pytest.raises(CheckpointError, match=r"ada.safetensors"):
        subjects.read(damaged(file, **facts))


def test_tensors_that_are_no_lora_are_refused(file):
    good, key = load_file(file), LAYERS[0] + DOWN
    wide = good[LAYERS[0] + UP].flatten(1)[..., None, None].repeat(1, 1, 3, 3)
    for change in ({key: None}, {key: torch.full_like(good[key], torch.inf)}, {"text_encoder.x": torch.zeros(1)},
                   {key: good[key][:1].clone()}, {LAYERS[0] + UP: wide}, {key: good[key].long()},
                   {key: good[key].to(torch.float8_e4m3fn)}):
        tensors = {name: value for name, value in (good | change).items() if value is not None}
        with pytest.raises(CheckpointError, match="valid adapter"):
            subjects.read(damaged(file, tensors))
        damaged(file, good)


def test_numbers_that_are_not_finite_are_not_written(latent, tmp_path):
    subject = made_up_subject(latent.unet)
    weights = dict(subject.weights) | {LAYERS[0] + UP: torch.full((16, 2, 1, 1), torch.nan)}
    with pytest.raises(CheckpointError, match="not finite"):
        subjects.write(replace(subject, weights=weights), tmp_path / "file.safetensors")
    assert list(tmp_path.glob("*")) == []


# ------------------------------------------------------------------------------------------------------- merging


def answer(unet) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return unet(torch.randn(2, 8, 4, 4), torch.tensor([3, 700]), torch.randn(2, words.LENGTH, 16))


def test_the_denoiser_that_is_given_stays_and_shares(latent):
    before, first = everything(latent.unet), answer(latent.unet)
    made = subjects.adapted(latent.unet, made_up_subject(latent.unet))
    assert all(torch.equal(a, b) for a, b in zip(before, everything(latent.unet), strict=True))
    assert torch.equal(answer(latent.unet), first) and (answer(made) - first).abs().max() > 0.01
    assert made.unet.conv_out.weight is latent.unet.unet.conv_out.weight
    assert not made.training and not any(p.requires_grad for p in made.parameters())


def test_a_lora_is_b_times_a():
    down, up = torch.randn(2, 5, 3, 3), torch.randn(7, 2, 1, 1)
    x = torch.randn(1, 5, 6, 6)
    wanted = torch.nn.functional.conv2d(torch.nn.functional.conv2d(x, down, padding=1), up)
    assert torch.allclose(torch.nn.functional.conv2d(x, subjects.product(down, up), padding=1), wanted, atol=1e-4)


def test_whole_tensors_take_the_place_of_the_old(latent, tmp_path):
    weight = latent.unet.unet.conv_out.weight + 1
    subject = made_up_subject(latent.unet, weights={"unet.conv_out.weight": weight})
    made = subjects.adapted(latent.unet, subjects.read(subjects.write(subject, tmp_path / "file.safetensors")))
    assert torch.equal(made.unet.conv_out.weight, weight)


def test_a_lora_that_does_not_fit_is_refused(latent):
    subject = made_up_subject(latent.unet)
    for key in ("unet.mid_block.resnets.7.conv1", "unet.conv_out"):
        weights = {key + DOWN: torch.zeros(2, 9), key + UP: torch.zeros(9, 2)}
        with pytest.raises(CheckpointError, match=r"The adapter"):
            subjects.adapted(latent.unet, replace(subject, weights=weights))


def test_a_weight_that_is_changed_twice_is_refused(latent):
    subject = made_up_subject(latent.unet)
    weights = subject.weights | {f"{LAYERS[0]}.weight": dict(latent.unet.named_parameters())[f"{LAYERS[0]}.weight"]}
    with pytest.raises(CheckpointError, match="twice"):
        subjects.adapted(latent.unet, replace(subject, weights=weights))


def test_a_small_file_can_not_ask_for_a_huge_product(latent, monkeypatch):
    subject = made_up_subject(latent.unet)
    monkeypatch.setattr(subjects, "product", lambda down, up: pytest.fail("multiplied before it was looked at"))
    weights = {"unet.conv_out" + DOWN: torch.zeros(1, 400_000), "unet.conv_out" + UP: torch.zeros(400_000, 1)}
    with pytest.raises(CheckpointError, match="another shape"):
        subjects.adapted(latent.unet, replace(subject, weights=weights))
    with pytest.raises(CheckpointError, match="another shape"):
        subjects.adapted(latent.unet, replace(subject, weights={"unet.conv_out.weight": torch.zeros(())}))


def test_diffusers_reads_the_file_alike(latent, file):
    """By the two calls that other programs use."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    wanted = answer(subjects.adapted(latent.unet, subjects.read(file)))
    plain = toy_latent()
    plain.unet.unet.load_lora_adapter(load_file(file), prefix="unet")
    assert torch.allclose(answer(plain.unet), wanted, atol=1e-4)
    other = toy_latent()
    pipeline = StableDiffusionPipeline(other.autoencoder.kl, other.text.clip, words.tokenizer(), other.unet.unet,
                                       DDIMScheduler(steps_offset=1, clip_sample=False), None, None,
                                       requires_safety_checker=False)
    pipeline.load_lora_weights(file.parent, weight_name=file.name)
    assert torch.allclose(answer(other.unet), wanted, atol=1e-4)
    assert not torch.allclose(answer(toy_latent().unet), wanted, atol=1e-2)
