"""The pipeline `aging` with Stable Diffusion, from a Hub of the test's own: toys of its widths under its names.

Licence, fetching, precision, attention kernel, LoRA, LCM steps, the paper's preset, the safety checker; and that the
pictures are those of diffusers' own pipeline.
"""

from dataclasses import replace

import aging_toys
import hub_place
import numpy as np
import pytest
import torch
from aging_toys import ROWS, SD, TINY, kohya, toy
from PIL import Image

from core import hub, latent, photos, subjects, systems
from core.cache import LRUCache
from core.engine import choices
from core.engine.result import last
from core.errors import CheckpointError, SettingsError
from core.kernels import attention as kernels
from core.models.unet import NOISE
from core.systems.aging import teaching
from core.systems.aging.lora import with_lora
from core.systems.aging.pipeline import Aging, precision
from core.systems.aging.request import PAPER, QUICK, Draw, Strip
from core.training import dreambooth

the_server, server, place = hub_place.the_server, hub_place.server, hub_place.place     # the fixtures
OLD = Draw("photo of a person as old", seed=3, steps=3)


@pytest.fixture
def published(place, server, monkeypatch):
    """Serve the rows of Stable Diffusion with toy networks. They draw noise, so face detection is off."""
    monkeypatch.setattr(photos, "_haar", lambda image: [])
    aging_toys.checkout(place / "checkpoints", monkeypatch)
    aging_toys.on_hub(server, monkeypatch)
    return server


@pytest.fixture
def system(published) -> Aging:
    """The pipeline with all of it fetched."""
    for quick in (False, True):
        last(choices.fetch(SD, agree=True, extra=quick))
    return systems.load("aging", "sd14")


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


# ----------------------------------------------------------------------------------------------- rows and licence

def test_both_choices_name_the_same_networks_as_latent_does():
    for choice in (TINY, SD):
        row = latent.CHOICES[choice.name]
        assert (choice.autoencoder, choice.unet, choice.text) == (row.autoencoder, row.unet, row.text)
        assert (choice.subject or None) == row.subject
    assert [ROWS[name].network for name in SD.files()] == [
        "autoencoder", "unet", "text", None, None, "safety", "iresnet", "judge"]
    assert {row.name for row in ROWS.values() if row.repo == "CompVis/stable-diffusion-v1-4"} <= set(SD.files())
    assert ROWS[SD.quick].repo == "latent-consistency/lcm-lora-sdv1-5" and SD.files(extra=True) == (SD.quick,)


def test_size_licence_and_restrictions_are_said_before_anything_is_fetched(published):
    found = choices.facts(SD)
    assert set(found.missing) == {name for name in SD.files() if ROWS[name].repo}
    assert found.size == "about 5.7 GB" and "CreativeML OpenRAIL-M" in found.licences
    terms, = found.agreements
    for said in ("break the law", "minors", "discriminate", "medical advice", "pass on these restrictions"):
        assert said in terms
    assert "OpenRAIL" in choices.facts(SD, extra=True).agreements[0].replace("Open RAIL++", "OpenRAIL")
    with pytest.raises(CheckpointError, match="agreement to the terms"):
        next(choices.fetch(SD, agree=False))
    with pytest.raises(CheckpointError, match="sd14-unet") as error:
        systems.load("aging", "sd14")
    assert "python -m core fetch" in error.value.next_step


def test_files_of_one_name_do_not_take_each_others_place():
    rows = [row for row in ROWS.values() if row.repo]
    assert len({row.shipped for row in rows}) == len(rows)


# --------------------------------------------------------------------------------------------------- drawing

def test_it_draws_shows_itself_under_way_and_says_how(system):
    results = list(system.draw(replace(OLD, count=2, steps=4, negative="blurred")))
    assert [result.step for result in results] == [1, 2, 3, 4]
    assert all(len(result.previews) == 2 for result in results[:-1]) and results[-1].previews == ()
    result = results[-1]
    assert result.seeds == (3, 4) and result.total == 2 and len(result.images) == 2
    assert Image.open(result.images[0]).size == (64, 64)
    restored = system.restored(result.images[1])
    assert restored.request == replace(OLD, negative="blurred", count=2, steps=4, seed=4)
    assert (restored.checkpoint, restored.subject, restored.adapter) == ("sd14", "", "")
    kept = result.settings[0]
    assert (kept["checkpoint"], kept["precision"], kept["kernel"]) == ("sd14-unet", "float32", "torch")
    assert kept["sha256"] == choices.sha256("sd14-unet") and len(kept["sha256"]) == 64


def test_a_seed_is_the_same_alone_and_in_company(system):
    both, alone = (last(system.draw(wish)) for wish in (replace(OLD, count=2), replace(OLD, seed=4)))
    assert abs(pixels(both.images[1]) - pixels(alone.images[0])).max() <= 1


def test_words_that_a_large_network_knows_are_left_in(system):
    result = last(system.draw(replace(OLD, prompt="oil painting of a dragon as a middle-aged knight, 50 mm")))
    assert result.settings[0]["drawn"] == "oil painting of a dragon as a middle-aged knight, 50 mm"
    assert not any("left out" in note for note in result.notes)


def test_a_prompt_that_is_too_long_is_refused(system):
    with pytest.raises(SettingsError, match="at most 75"):
        system.draw(replace(OLD, prompt="of " * 90))


@pytest.mark.parametrize("solver", ["dpm", "ddim", "unipc", "lcm"])
@pytest.mark.parametrize("guidance", [1.0, 7.5])
def test_the_pictures_are_those_of_diffusers_own_pipeline(system, solver, guidance):
    import diffusers

    settings = {"ddim": {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False},
                "lcm": {"clip_sample": False}}.get(solver, {})
    scheduler = getattr(diffusers, latent.SOLVERS[solver][0])(**NOISE, **settings)
    networks = system.latent
    theirs = diffusers.StableDiffusionPipeline(
        vae=networks.autoencoder.kl, text_encoder=networks.text.clip, tokenizer=latent._published_tokenizer(),
        unet=networks.unet.unet, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    made = theirs("photo of a person as old", negative_prompt="blurred", num_inference_steps=6, height=64, width=64,
                  guidance_scale=guidance, generator=[torch.Generator().manual_seed(seed) for seed in (3, 4)],
                  num_images_per_prompt=2, output_type="np").images
    states, negative_states = system._states(["photo of a person as old"] * 2, "blurred", None, None, 0.0)
    *_, step = latent.denoise(networks.unet, states, negative_states, [3, 4], solver, 6, guidance)
    ours = np.stack([np.asarray(picture) for picture in system._pictures(step.latents)])
    assert abs(ours - np.round(made * 255)).max() <= 1


def test_the_papers_preset(system, monkeypatch):
    """DDIM without noise of its own, 100 steps, guidance 10, 8 pictures."""
    called, denoise = [], latent.denoise
    monkeypatch.setattr(latent, "denoise", lambda *args: called.append(args[4:]) or denoise(*args[:5], 1, args[6]))
    wish = Draw("photo of a person as old", seed=1, **PAPER)
    result = last(system.draw(wish))
    assert called == [("ddim", 100, 10.0)] and len(result.images) == 8 and result.steps == 100
    assert latent.scheduler("ddim", 100).timesteps.tolist()[:2] == [991, 981]
    assert result.settings[0]["solver"] == "ddim" and system.restored(result.images[0]).request.guidance == 10.0


# ------------------------------------------------------------------------------------------------- precision, kernel

def test_half_precision_draws_nearly_the_same(system):
    half = Aging(checkpoint="sd14", dtype="float16")
    assert half.latent.dtype == torch.float16 and half.about["precision"] == "float16"
    assert half.latent.unet is not system.latent.unet and system.latent.dtype == torch.float32
    pictures = [pixels(last(each.draw(replace(OLD, steps=1))).images[0]) for each in (system, half)]
    assert abs(pictures[0] - pictures[1]).mean() < 2
    assert last(half.draw(replace(OLD, **QUICK | {"steps": 1}))).images


def test_gpus_get_half_precision_and_the_small_networks_single():
    assert [precision("sd14", device) for device in ("cuda", "cuda:1", "mps", "cpu")] == ["float16"] * 3 + ["float32"]
    assert precision("tiny", "cuda") == "float32"
    with pytest.raises(SettingsError, match="precision"):
        Aging(dtype="float8")


def test_an_autoencoder_that_overflows_is_asked_again_in_single_precision(system, monkeypatch):
    half = Aging(checkpoint="sd14", dtype="float16")
    decode = type(half.latent.autoencoder).decode
    monkeypatch.setattr(type(half.latent.autoencoder), "decode", lambda self, latents:
                        decode(self, latents) * (torch.inf if latents.dtype == torch.float16 else 1))
    wanted, made = (pixels(last(each.draw(replace(OLD, steps=1))).images[0]) for each in (system, half))
    assert abs(wanted - made).mean() < 2 and half._float32_autoencoder.kl.dtype == torch.float32


def test_the_attention_kernel_is_chosen_and_named(system):
    with kernels.forced("plain"):
        assert system.about["kernel"] == "plain"
        plain = last(system.draw(OLD))
    assert plain.settings[0]["kernel"] == "plain" and system.about["kernel"] == "torch"
    assert abs(pixels(plain.images[0]) - pixels(last(system.draw(OLD)).images[0])).max() <= 1


# --------------------------------------------------------------------------------------------------- LoRA and LCM

def by_hand(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """A LoRA under kohya's names added to the toy denoiser's weights: W + alpha / rank · up · down."""
    unet = toy("unet", aging_toys.TOY)
    for name, layer in unet.unet.named_modules():
        key = f"lora_unet_{name.replace('.', '_')}"
        if f"{key}.alpha" in state:
            down, up = (state[f"{key}.lora_{side}.weight"] for side in ("down", "up"))
            scale = state[f"{key}.alpha"] / len(down)
            layer.weight.data += scale * (up.flatten(1) @ down.flatten(1)).view_as(layer.weight)
    return unet


def said(unet) -> torch.Tensor:
    draw = torch.Generator().manual_seed(2)
    noisy, states = torch.randn(2, 4, 8, 8, generator=draw), torch.randn(2, 7, 48, generator=draw)
    with torch.no_grad():
        return unet(noisy, torch.tensor([5, 800]), states)


def test_a_lora_under_kohyas_names_is_merged_into_a_copy():
    unet, state = toy("unet", aging_toys.TOY), kohya()
    before = said(unet)
    merged = with_lora(unet, state)
    assert torch.allclose(said(merged), said(by_hand(state)), atol=1e-4)
    assert not torch.allclose(said(merged), before, atol=1e-2) and torch.equal(said(unet), before)
    assert merged.state_dict().keys() == unet.state_dict().keys()
    assert not any(weight.requires_grad for weight in merged.parameters())


def test_a_lora_under_diffusers_names_is_merged_too():
    unet = toy("unet", aging_toys.TOY)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.randn(4, 32), torch.randn(32, 4)
    merged = with_lora(unet, {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up})
    own, new = (network.unet.get_submodule(name).weight for network in (unet, merged))
    assert torch.allclose(new, own + up @ down, atol=1e-5)


@pytest.mark.parametrize("state", [{}, {"x": torch.ones(2)}, {"lora_unet_mid_block_nowhere.lora_down.weight":
                                                            torch.ones(4, 4)}])
def test_a_file_that_is_no_lora_of_a_denoiser_is_refused(state):
    with pytest.raises(CheckpointError):
        with_lora(toy("unet", aging_toys.TOY), state)


def test_lcm_draws_in_four_steps_with_its_lora(system):
    wish = replace(OLD, **QUICK)
    before = said(system.latent.unet)
    result = last(system.draw(wish))
    assert result.steps == 4 and result.settings[0]["solver"] == "lcm"
    assert torch.equal(said(system.latent.unet), before)
    states, negative_states = system._states(["photo of a person as old"], "", None, None, 0.0)
    *_, step = latent.denoise(by_hand(kohya()), states, negative_states, [3], "lcm", 4, 1.0)
    wanted = np.asarray(system._pictures(step.latents)[0]).astype(int)
    assert abs(pixels(result.images[0]) - wanted).max() <= 1
    assert system.solvers == ("dpm", "unipc", "ddim", "lcm")


def test_lcm_without_its_lora_says_how_to_get_it(published):
    last(choices.fetch(SD, agree=True))
    with pytest.raises(CheckpointError, match="draw in four steps before lcm-lora-sd15 is on this machine") as error:
        systems.load("aging", "sd14").draw(replace(OLD, **QUICK))
    assert "python -m core fetch lcm-lora-sd15" in error.value.next_step


def test_the_last_few_are_remembered():
    made, memory = [], LRUCache(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert memory.get(key, lambda key=key: made.append(key) or -key) == -key
    assert made == [1, 2, 3, 2]


# ------------------------------------------------------------------------------------------------ a person, safety

def person(base: str = "sd14", scale: float = 0.2) -> subjects.Subject:
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weights = {f"unet.{name}.lora_A.weight": torch.ones(1, 48), f"unet.{name}.lora_B.weight": scale * torch.ones(32, 1)}
    return subjects.Subject("Ann", "sks", base, "", weights, None, torch.ones(5, 512),
                            np.zeros((128, 128, 3), np.uint8))


def test_a_taught_person_is_drawn_and_goes_with_lcm(system):
    wish = replace(OLD, subject=person())
    result = last(system.draw(wish))
    assert tuple(kept["drawn"] for kept in result.settings) == ("photo of a sks person as old",)
    kept = result.settings[0]
    assert (kept["subject"], kept["token"], len(kept["adapter"])) == ("Ann", "sks", 64)
    assert abs(pixels(result.images[0]) - pixels(last(system.draw(OLD)).images[0])).max() > 1
    quick, plain = (last(system.draw(replace(each, **QUICK))) for each in (wish, OLD))
    assert abs(pixels(quick.images[0]) - pixels(plain.images[0])).max() > 1


def test_a_person_is_taught_on_it_beside_people_that_it_draws_itself(system, tmp_path, monkeypatch):
    monkeypatch.setattr(teaching, "PRIOR", 1)
    monkeypatch.setattr(teaching, "PREVIEW_STEPS", 2)
    few = replace(dreambooth.PRESETS["sd-lora"], batch=1, others=1)
    monkeypatch.setitem(dreambooth.PRESETS, "sd-lora", few)
    denoise = latent.denoise        # others are drawn in few steps as well
    monkeypatch.setattr(latent, "denoise", lambda *args, **settings: denoise(
        *args, **settings if len(args) > 4 else {"steps": 2} | settings))
    for look in range(5):
        aging_toys.drawn(1, look).save(tmp_path / f"{look}.png")
    news = last(system.teach(sorted(tmp_path.glob("*.png")), "Ann", steps=1, seed=1))
    latents, captions = system.prior
    assert latents.shape == (6, 4, 8, 8) and captions[0] == "photo of a person as child"
    back = system.subject_file(news.adapter)
    assert (back.base, back.embedding, back.settings["rank"], back.settings["precision"]) == ("sd14", None, 16, "bf16")
    assert Image.open(news.preview).height == 64
    assert last(system.draw(replace(OLD, subject=back))).settings[0]["drawn"] == "photo of a wzx person as old"


def test_a_person_of_another_base_is_refused(system):
    with pytest.raises(SettingsError, match="trained on tiny"):
        system.draw(replace(OLD, subject=person("tiny")))


def test_a_flagged_picture_is_withheld_and_said_so_instead_of_turning_black(system):
    system._checker.checker.concept_embeds_weights.data.fill_(-2.0)
    result = last(system.draw(replace(OLD, count=2)))
    assert result.images == () and result.total == 2
    assert [(each.path, each.seed) for each in result.dropped] == [(None, 3), (None, 4)]
    assert all("safety checker" in each.why for each in result.dropped)
    assert sum("safety checker withheld the picture" in note for note in result.notes) == 2


def test_previews_are_looked_at_too(system):
    system._checker.checker.concept_embeds_weights.data.fill_(-2.0)
    assert all(result.previews == () for result in system.draw(replace(OLD, steps=5)))


def test_a_refused_prompt_is_refused_here_too(system):
    with pytest.raises(SettingsError, match="draws nothing sexual"):
        system.draw(Draw("a nude person"))
    with pytest.raises(SettingsError, match="negative prompt"):
        system.draw(Draw("photo of a person", negative="clothes"))
    with pytest.raises(SettingsError, match="draws nothing sexual"):     # at one of its ages only
        system.strip(Strip("photo of a person as old in a bikini"))
    assert hub.row("sd14-safety").network == "safety"
