"""The networks of latent diffusion: the library's classes, our attention, published sizes, saving and loading."""

from dataclasses import replace

import pytest
import torch

from core import hub, words
from core.cache import LRUCache
from core.hub import manifest
from core.kernels import attention as kernels
from core.models import NETWORKS, autoencoder, build, text, unet

LATENT = ("autoencoder", "unet", "text")
TOY = {  # Stable Diffusion 1.4 but for its widths
    "autoencoder": replace(autoencoder.PRESETS["sd14"], size=32, widths=(32, 32, 64, 64)),
    "unet": replace(unet.PRESETS["sd14"], size=8, widths=(32, 64, 64, 64), text=48),
    "text": replace(text.PRESETS["sd14"], vocabulary=99, width=48, depth=2, heads=3),
}
PUBLISHED = {  # from the configs of CompVis/stable-diffusion-v1-4
    "autoencoder": dict(
        act_fn="silu", block_out_channels=(128, 256, 512, 512), in_channels=3, latent_channels=4, layers_per_block=2,
        out_channels=3, sample_size=512, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, scaling_factor=0.18215, norm_num_groups=32),
    "unet": dict(
        act_fn="silu", attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280), center_input_sample=False,
        cross_attention_dim=768, downsample_padding=1, flip_sin_to_cos=True, freq_shift=0, in_channels=4,
        layers_per_block=2, mid_block_scale_factor=1, norm_eps=1e-5, norm_num_groups=32, out_channels=4, sample_size=64,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3),
    "text": dict(
        attention_dropout=0.0, hidden_act="quick_gelu", hidden_size=768, intermediate_size=3072, layer_norm_eps=1e-5,
        max_position_embeddings=77, num_attention_heads=12, num_hidden_layers=12, projection_dim=768, vocab_size=49408),
}
PARAMETERS = {"autoencoder": 83_653_863, "unet": 859_520_964, "text": 123_060_480}


def inner(model):
    """The library's own network."""
    return next(model.children())


def given(network: str, preset: str = "tiny"):
    """Arguments for one call."""
    config = TOY[network] if preset == "toy" else NETWORKS[network].presets[preset]
    draw = torch.Generator().manual_seed(3)
    if network == "autoencoder":
        return (torch.rand(1, 3, config.size, config.size, generator=draw) * 2 - 1,)
    if network == "text":
        return (torch.randint(config.vocabulary, (2, config.length), generator=draw),)
    states = torch.randn(2, 7, config.text, generator=draw)
    return torch.randn(2, config.channels, config.size, config.size, generator=draw), torch.tensor([5, 800]), states


def said(model, arguments) -> torch.Tensor:
    with torch.no_grad():
        found = model(*arguments)
    return found[0] if isinstance(found, tuple) else found


def with_stock_attention(model) -> None:
    """The library's attention instead of ours."""
    from diffusers.models.attention_processor import AttnProcessor

    if isinstance(model, text.TextEncoder):
        model.clip.set_attn_implementation("eager")
    else:
        inner(model).set_attn_processor(AttnProcessor())        # the plain one: softmax written out


@pytest.mark.parametrize("network", LATENT)
def test_attention_goes_through_our_kernels_and_agrees_with_the_librarys(network, monkeypatch):
    torch.manual_seed(0)
    model, arguments, called = build(network, "tiny").eval(), given(network), []
    attend = kernels.attention
    monkeypatch.setattr(kernels, "attention", lambda *args, **more: (called.append(1), attend(*args, **more))[1])
    ours = said(model, arguments)
    layers = sum(type(layer).__name__ in ("Attention", "CLIPAttention") for layer in model.modules())
    assert len(called) == layers > 0
    with kernels.forced("plain"):
        plain = said(model, arguments)
    with_stock_attention(model)
    assert torch.allclose(ours, said(model, arguments), atol=1e-4)      # sums in another order
    assert torch.allclose(ours, plain, atol=1e-4) and len(called) == 2 * layers


def test_words_look_back_only_and_padding_may_be_hidden():
    torch.manual_seed(0)
    model = build("text", "tiny").eval()
    tokens = words.tokens(["photo of a person as old", "photo of a person as child"])
    states = said(model, (tokens,))
    assert torch.allclose(states[0, :6], states[1, :6], atol=1e-6) and not torch.allclose(states[0, 6], states[1, 6])
    seen = torch.ones_like(tokens)
    seen[:, 8:] = 0
    with torch.no_grad():
        hidden = model.clip(tokens, attention_mask=seen).last_hidden_state
        model.clip.set_attn_implementation("eager")
        stock = model.clip(tokens, attention_mask=seen).last_hidden_state
    assert torch.allclose(hidden, stock, atol=1e-5)


@pytest.mark.parametrize("network", LATENT)
def test_the_published_sizes(network):
    with torch.device("meta"):
        model = build(network, "sd14")
    found = inner(model).config
    of = (lambda name: found[name]) if network != "text" else (lambda name: getattr(found, name))
    assert {name: of(name) for name in PUBLISHED[network]} == PUBLISHED[network]
    assert sum(weight.numel() for weight in model.parameters()) == PARAMETERS[network]


def published(network: str) -> dict[str, torch.Tensor]:
    """The state of a toy under the names that the published files use."""
    state = {name: value.clone() for name, value in inner(build(network, "toy")).state_dict().items()}
    if network == "text":
        positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
        return {f"text_model.{name}": value for name, value in state.items()} | positions
    if network == "autoencoder":
        for old, new in autoencoder.OLD_NAMES.items():
            state = {name.replace(f".{new}.", f".{old}."): value for name, value in state.items()}
    return state


@pytest.mark.parametrize("network", LATENT)
def test_files_with_published_names_are_read(network, monkeypatch):
    monkeypatch.setitem(NETWORKS[network].presets, "toy", TOY[network])
    torch.manual_seed(4)
    state = published(network)
    torch.manual_seed(4)
    same = build(network, "toy").eval()
    model = hub.from_published(network, state, "toy")
    assert torch.equal(said(model, given(network, "toy")), said(same, given(network, "toy")))


@pytest.mark.parametrize("network", LATENT)
def test_saved_and_loaded_it_says_the_same(network, tmp_path, monkeypatch):
    """By way of the meta device, on which nothing may be left behind."""
    monkeypatch.setattr(manifest, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(hub, "_networks", LRUCache(99))
    torch.manual_seed(0)
    model = build(network, "tiny").eval()
    for weight in model.parameters():
        weight.data = weight.data.half().float()        # what a file keeps
    hub.save(model, "latent", network=network, preset="tiny", recipe="", about="")
    loaded = hub.load("latent", "cpu")
    assert torch.equal(said(loaded, given(network)), said(model, given(network)))
    assert loaded.config == model.config and not any(weight.requires_grad for weight in loaded.parameters())


def test_latents_are_scaled_on_the_way_out_and_back():
    torch.manual_seed(0)
    model = build("autoencoder", "sd14", size=32, widths=(32, 32, 64, 64)).eval()
    image, = given("autoencoder", "toy")
    with torch.no_grad():
        whole, mean, _ = model(image)
        latents = model.encode(image)
        assert torch.allclose(latents, 0.18215 * mean) and latents.shape == (1, 4, 4, 4)
        assert torch.allclose(model.decode(latents), whole, atol=1e-5)


def test_in_training_latents_are_drawn():
    torch.manual_seed(0)
    model = build("autoencoder", "tiny")
    image, = given("autoencoder")
    with torch.no_grad():
        assert not torch.equal(model(image)[0], model(image)[0])
