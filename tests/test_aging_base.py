"""The networks of `aging-tiny` in training, on made-up pictures: what each loss reaches, what is kept and shipped."""

import copy
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from test_training import made_up, stepped

from core import data, hub, words
from core.cache import LRUCache
from core.errors import CheckpointError, SettingsError
from core.faces import NAMES
from core.hub import manifest
from core.latent import denoise
from core.models import build
from core.training import aging, autoencoder, decoder, diffusion, latents
from core.training.loop import _batches, onward

AUTOENCODER = "aging-autoencoder-tiny"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of checkpoints with an untrained embedder and judge, and a cache of its own."""
    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "cache"))
    for name, network in (("embedder-tiny-v3", "iresnet"), ("judge-tiny-v3", "judge")):
        ship(name, network)
    return tmp_path / "checkpoints"


def ship(name: str, network: str, seed: int = 0) -> None:
    """Random weights as a checkpoint."""
    torch.manual_seed(seed)
    hub.save(build(network, "tiny").eval(), name, network=network, preset="tiny", recipe="", about="")


@pytest.fixture
def first(place) -> autoencoder.AutoencoderRecipe:
    preset = replace(aging.PRESETS["autoencoder"], batch=2)
    return autoencoder.AutoencoderRecipe(preset, made_up(4, 2, 128), made_up(4, 2, 128), "cpu")


@pytest.fixture
def second(place) -> diffusion.DiffusionRecipe:
    ship(AUTOENCODER, "autoencoder")
    preset = replace(aging.PRESETS["unet"], batch=4)
    trained = diffusion.trained_autoencoder(AUTOENCODER).to("cpu")
    return diffusion.DiffusionRecipe(preset, trained, made_up(4, 2, 128), made_up(4, 2, 128))


def lowered(recipe, rate: float, steps: int = 4) -> float:
    """The last loss over the first when one batch is repeated."""
    batch, losses = next(recipe.batches(0, (0, 1), None)), []
    for group in recipe.optimizers["loss"].param_groups:
        group["lr"] = rate
    for _ in range(steps):
        torch.manual_seed(1)
        _, loss, _ = next(recipe.updates(recipe.networks, batch, 0.0))
        recipe.optimizers["loss"].zero_grad()
        loss.backward()
        recipe.optimizers["loss"].step()
        losses.append(float(loss.detach()))
    return losses[-1] / losses[0]


# ------------------------------------------------------------------------------------------------- the autoencoder


def test_the_autoencoder_learns(first):
    assert stepped(first, 0.0) == ["loss"]
    assert lowered(first, 1e-3) < 0.95


@pytest.mark.parametrize("term", ["pixel", "perceptual", "biometric", "years", "kl"])
def test_each_term_reaches_what_it_should_and_nothing_frozen(first, term):
    """The published code's biometric loss had no gradient at all."""
    kl = first.networks["autoencoder"].kl
    image = next(first.batches(0, (0, 1), None))["image"]
    first.terms(first.networks, image)[term].backward()
    size = {part: sum(float(p.grad.abs().sum()) for p in layer.parameters() if p.grad is not None)
            for part, layer in (("in", kl.encoder), ("out", kl.decoder))}
    assert size["in"] > 0 and (size["out"] > 0) == (term != "kl")
    assert all(p.grad is None for network in first.steering for p in network.parameters())


def test_faces_reach_the_recogniser_upright():
    """The published code turned them by swapping height and width."""
    from core import faces_v3 as faces

    identity = faces.person(1, "validation")
    face = faces.Face(identity, faces.look(identity, 1))
    large, small = (torch.from_numpy(faces.draw(face, size=size, view="aligned")).permute(2, 0, 1)[None] / 127.5 - 1
                    for size in (128, 112))
    seen = autoencoder.recognisable(large)
    assert seen.shape == (1, 3, 112, 112)
    right, *wrong = ((image - small).abs().mean() for image in (seen, seen.mT, seen.flip(2), seen.flip(3)))
    assert right < 0.03 and all(each > 3 * right for each in wrong)


def test_the_biometric_term_is_nothing_for_the_same_picture(first):
    image = next(first.batches(0, (0, 1), None))["image"]

    def same(picture):
        return picture, torch.zeros(2, 4), torch.zeros(2, 4)

    terms = first.terms({"autoencoder": same}, image)
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(dict.fromkeys(terms, 0.0), abs=1e-5)
    terms = first.terms({"autoencoder": lambda picture: same(picture.mT)}, image)
    assert terms["biometric"] > 0.01


def test_latents_get_a_standard_spread_and_pictures_stay():
    torch.manual_seed(0)
    network, image = build("autoencoder", "tiny").eval(), torch.rand(3, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        network.kl.quant_conv.bias += torch.linspace(-2, 2, 16)
        before, coded = network(image), network.encode(image)
        after = (made := autoencoder.standardised(network, coded))(image)
        found = made.encode(image)
    assert torch.allclose(before[0], after[0], atol=1e-4) and torch.equal(network.encode(image), coded)
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose(found.std((0, 2, 3)), torch.ones(8), atol=1e-4)
    spread = coded.std((0, 2, 3))[:, None, None]
    assert torch.allclose(after[2].mul(0.5).exp(), before[2].mul(0.5).exp() / spread, atol=1e-4)    # the noise too


def test_the_autoencoder_is_checked_shown_and_shipped(first, place):
    networks = {"autoencoder": first.networks["autoencoder"].eval()}
    with torch.no_grad():
        numbers = first.check(networks)
        assert {"l1", "psnr", "cos", "years"} == set(numbers) and np.isfinite(list(numbers.values())).all()
        assert first.sheet(networks).width > 8 * 128
    path, = first.finish(networks, place, "command")
    assert path == place / f"{AUTOENCODER}.safetensors"
    found = autoencoder.latents_of(hub.load(AUTOENCODER, "cpu"), first.drawn, np.arange(8))
    assert found.mean((0, 2, 3)).abs().max() < 0.05 and (found.std((0, 2, 3)) - 1).abs().max() < 0.05


# ---------------------------------------------------------------------------------------------------- the denoiser


def test_denoiser_and_text_encoder_learn_together(second):
    assert stepped(second, 0.0) == ["loss"]
    assert lowered(second, 2e-3) < 0.9
    assert all(p.grad is None for p in second.autoencoder.parameters())


def test_batches_can_be_entered_anywhere_and_hold_both_sides(second):
    batches = [batch for batch, _ in zip(second.batches(0, (0, 1), None), range(5), strict=False)]
    entered = next(second.batches(3, (0, 1), None))
    assert all(torch.equal(entered[name], batches[3][name]) for name in ("latents", "tokens"))
    epoch = torch.cat([batch["latents"] for batch in batches[:4]])
    everything = torch.from_numpy(second.latents.reshape(16, 8, 16, 16).astype(np.float32))
    assert torch.equal(epoch.sum((1, 2, 3)).sort().values, everything.sum((1, 2, 3)).sort().values)
    assert batches[0]["tokens"].shape == (4, words.LENGTH) and torch.equal(entered["latents"], batches[3]["latents"])
    shared = next(second.batches(1, (1, 2), None))
    assert torch.equal(shared["tokens"], batches[3]["tokens"])


def test_some_captions_are_left_out_and_mirrors_swap_sides(second):
    rng = np.random.default_rng(0)
    captions = second.captions(rng.integers(16, size=2000), rng)
    assert 0.07 < captions.count("") / len(captions) < 0.13
    second.truth[:] = 0
    second.truth[:, NAMES.index("yaw")] = 40
    for side, said, other in ((0, "looking right", "looking left"), (1, "looking left", "looking right")):
        captions = " ".join(second.captions(np.full(100, side), rng))
        assert said in captions and other not in captions


def test_latents_are_made_once(second, monkeypatch, capsys):
    drawn = made_up(4, 2, 128)
    with monkeypatch.context() as patch:
        patch.setattr(latents, "latents_of", None)
        again = latents.cached_latents(second.autoencoder, drawn)
    assert again.shape == (8, 2, 8, 16, 16) and again.dtype == np.float16 and np.array_equal(again, second.latents)
    image = data.rows_of(drawn, np.arange(8))["image"]
    for side, picture in enumerate((image, image.flip(3))):
        with torch.no_grad():
            wanted = second.autoencoder.encode(picture)
        assert torch.allclose(torch.from_numpy(again[:, side].astype(np.float32)), wanted, atol=5e-3)
    capsys.readouterr()
    other = copy.deepcopy(second.autoencoder)
    other.kl.post_quant_conv.bias += 1          # a decoder that was trained on
    assert np.array_equal(latents.cached_latents(other, drawn), again) and not capsys.readouterr().err
    other.kl.quant_conv.bias += 1
    latents.cached_latents(other, drawn)
    latents.cached_latents(second.autoencoder, made_up(3, 2, 128))
    assert capsys.readouterr().err.splitlines() == ["latents of 8 of 8 pictures", "latents of 6 of 6 pictures"]


def test_little_noise_weighs_little(second):
    alphas = torch.tensor([0.999, 0.5, 0.01])
    assert diffusion.snr_weights(alphas, 5.0).tolist() == pytest.approx([5 * 0.001 / 0.999, 1, 1], rel=1e-3)
    assert second.weights.shape == (1000,) and (second.weights.diff() >= -1e-6).all()


def test_the_denoiser_is_checked_shown_and_shipped(second, place, monkeypatch):
    monkeypatch.setattr(diffusion, "denoise", partial(diffusion.denoise, steps=2))
    networks = {name: network.eval() for name, network in second.networks.items()}
    with torch.no_grad():
        numbers = second.check(networks)
        assert numbers == second.check(networks) and set(numbers) == {"noise", "noisiest"}
        assert second.sheet(networks).size[0] >= 6 * 128
    paths = second.finish(networks, place, "command")
    assert [path.stem for path in paths] == ["aging-unet-tiny", "aging-text-tiny", "aging-subject-tiny",
                                             "aging-prior-tiny"]
    states = hub.load("aging-text-tiny", "cpu")(words.tokens(["photo of a person as old"]))
    found = hub.load("aging-unet-tiny", "cpu")(torch.randn(1, 8, 16, 16), torch.tensor([9]), states)
    assert found.shape == (1, 8, 16, 16) and found.isfinite().all()


@pytest.mark.parametrize("solver", ["dpm", "unipc", "ddim", "lcm"])
def test_a_seed_draws_the_same_alone_and_in_company(second, solver):
    unet, states = second.networks["unet"].eval(), torch.randn(2, words.LENGTH, 128)
    *_, both = denoise(unet, states, states[:1], [7, 8], solver, steps=4)
    *_, alone = denoise(unet, states[1:], states[:1], [8], solver, steps=4)
    assert torch.allclose(both.latents[1:], alone.latents, atol=1e-3)
    assert not torch.allclose(both.latents[0], both.latents[1], atol=0.1)


# ------------------------------------------------------------------------------------------ who a rare token stands for


def test_a_token_stands_for_the_persons_other_pictures(second):
    """Never for the picture itself: the network would learn to copy its look."""
    rng, people = np.random.default_rng(0), second.people
    for row in range(8):
        other = row + 1 if row % 2 == 0 else row - 1                     # two pictures a person
        found, = people.others(np.array([row]), rng, most=8)
        assert torch.allclose(found, torch.nn.functional.normalize(people.vectors[other], dim=0), atol=1e-6)


def test_a_token_changes_the_states_from_where_it_stands_and_no_others(second):
    prompts = [words.OF_SUBJECT.format("sks", "child"), words.PROMPT.format("child")]
    tokens, faces = words.tokens(prompts), torch.randn(2, 512)
    networks = {name: network.eval() for name, network in second.networks.items()}
    with torch.no_grad():
        first, second_ = (diffusion.encode_captions(networks, tokens, faces * sign) for sign in (1, -1))
    assert words.rare_at(tokens).nonzero().tolist() == [[0, 4]]
    assert torch.equal(first[0, :4], second_[0, :4]) and not torch.allclose(first[0, 4:], second_[0, 4:], atol=1e-3)
    assert torch.equal(first[1], second_[1])


def test_a_token_that_stands_for_its_own_embedding_changes_nothing(second):
    text, tokens = second.networks["text"].eval(), words.tokens([words.OF_SUBJECT.format("ukj", "old, bearded")])
    own = text.clip.embeddings.token_embedding(tokens[words.rare_at(tokens)])[0]
    with torch.no_grad():
        assert torch.equal(text(tokens), text(tokens, own, words.rare_at(tokens)))


def test_the_loss_reaches_where_tokens_begin(second):
    batch = next(second.batches(0, (0, 1), None))
    batch["tokens"] = words.tokens([words.OF_SUBJECT.format("wzx", "old")] * len(batch["latents"]))
    _, loss, _ = next(second.updates(second.networks, batch, 0.0))
    loss.backward()
    # the denoiser begins with a last layer near nothing, so little is asked: that it is reached at all
    assert all(p.grad is not None for p in second.networks["subject"].parameters())


def test_the_captioned_set_has_every_age_and_nobody_twice(second, place):
    from core.latent import prior

    second.truth[:, NAMES.index("age")] = [5, 20, 35, 45, 60, 80, 5, 80]
    second.finish({name: network.eval() for name, network in second.networks.items()}, place, "command")
    kept, captions = prior()
    assert len(kept) == len(captions) <= 4 and len({caption.split(" as ")[1].split(",")[0] for caption in captions}) > 2
    assert all(any(torch.equal(latent, torch.from_numpy(own).float()) for own in second.latents[:, 0])
               for latent in kept)


def test_other_processes_make_the_same_batches_ready(second):
    before = torch.get_rng_state()
    made = list(islice(_batches(second, 2, (1, 2), torch.device("cpu"), workers=2), 5))
    wanted = list(islice(second.batches(2, (1, 2), None), 5))
    assert all(torch.equal(value, other[name]) for one, other in zip(wanted, made, strict=True)
               for name, value in one.items())
    assert torch.equal(before, torch.get_rng_state())       # so that a resumed run goes on as if it had not stopped


def test_without_an_autoencoder_nothing_is_drawn(place, monkeypatch):
    monkeypatch.setattr(aging, "drawn_sets", None)
    with pytest.raises(CheckpointError, match=r"aging-autoencoder-tiny(.|\n)*--preset autoencoder --ship checkpoints"):
        aging.recipe("unet")


def test_both_stages_by_command(place, tmp_path, monkeypatch):
    from core.commands.train import train

    monkeypatch.setattr(diffusion, "denoise", partial(diffusion.denoise, steps=2))
    monkeypatch.setattr(aging, "drawn_sets", lambda preset, checked, size: (
        made_up(preset.people, preset.looks, size), made_up(2, 4, size)))
    for preset in ("autoencoder", "unet"):
        monkeypatch.setitem(aging.PRESETS, preset, replace(aging.PRESETS[preset], batch=2))
        train("aging", preset=preset, out=tmp_path / preset, ship=place, steps=1, threads=1, people=4, looks=2)
        assert (tmp_path / preset / "state").is_dir() and (tmp_path / preset / "sheet-000001.png").is_file()
    assert {AUTOENCODER, "aging-unet-tiny", "aging-text-tiny", "aging-subject-tiny"} <= {row.name for row in hub.rows()}


def test_training_goes_on_from_what_ships(place):
    ship(AUTOENCODER, "autoencoder", seed=5)
    recipe = autoencoder.AutoencoderRecipe(replace(aging.PRESETS["autoencoder"], batch=2), made_up(4, 2, 128),
                                           made_up(4, 2, 128), "cpu")
    begun, shipped = recipe.networks["autoencoder"], hub.load(AUTOENCODER, "cpu")
    assert not torch.equal(begun.kl.quant_conv.weight, shipped.kl.quant_conv.weight)
    onward(recipe)
    assert all(torch.equal(p, shipped.state_dict()[name]) for name, p in begun.state_dict().items())
    assert lowered(recipe, 1e-3) < 1      # and it learns: what ships is frozen, a copy of it is not
    recipe.shipped = {}
    with pytest.raises(SettingsError, match="--onward"):
        onward(recipe)


def test_a_decoder_trained_on_leaves_the_latents_as_they_are(place):
    ship(AUTOENCODER, "autoencoder")
    before = hub.load(AUTOENCODER, "cpu")
    recipe = decoder.DecoderRecipe(replace(aging.PRESETS["decoder"], batch=2, warmup=1), made_up(4, 2, 128),
                                   made_up(4, 2, 128), "cpu")
    image = next(recipe.batches(0, (0, 1), None))["image"]
    latents, picture = before.encode(image), before.decode(before.encode(image))
    assert stepped(recipe, 0.0) == stepped(recipe, 0.0) == ["discriminator", "loss"]
    assert {"l1", "sharpness"} < set(recipe.check(recipe.networks)) and recipe.sheet(recipe.networks).height > 2 * 128
    recipe.finish({"autoencoder": recipe.networks["autoencoder"].eval()}, place, "command")
    after = hub.load(AUTOENCODER, "cpu")
    assert after is not before and torch.equal(after.encode(image), latents)
    assert not torch.allclose(after.decode(latents), picture, atol=1e-2)
