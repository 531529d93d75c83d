"""The published networks, number by number. See parity.py for how; the fixtures say where each was recorded."""

import hashlib
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from parity import Fixture, fill, filled, keys

from core import hub
from core.kernels.attention import forced
from core.models import NETWORKS, build
from core.models.l2m_gan import PRESETS, FaceMasks, Generator
from core.models.sixdrepnet import euler_of, rotation_of
from core.models.stylegan2 import mix
from core.systems.vectors.attrop import Moments, Networks, Targets, adam, evaluated, feature_norm, losses, see, total

LIBRARYS = {"autoencoder", "unet", "text", "safety", "dinov2"}  # other people's classes
PUBLISHED = [(name, preset) for name, row in NETWORKS.items() if name not in LIBRARYS for preset in row.published]


@pytest.mark.parametrize(("network", "preset"), PUBLISHED)
def test_names_and_shapes_are_the_published_files(network, preset):
    """Built on the meta device, so this costs neither time nor memory."""
    with torch.device("meta"):
        ours = {key: list(value.shape) for key, value in build(network, preset).state_dict().items()}
    row = NETWORKS[network]
    published = {key: shape for key, (_, *shape) in keys(network, preset).items()}
    if network == "e4e":        # its file also holds the generator it was trained with
        published |= {f"decoder.{key}": shape for key, (_, *shape) in keys("stylegan2", "ffhq-1024").items()}
        assert row.unused == {key for key in published if key.startswith("decoder.")}
    assert row.unused <= set(published)
    assert ours == {row.rename(key): shape for key, shape in published.items() if key not in row.unused}


@pytest.mark.parametrize("name", [("iresnet50", "iresnet", "50"), ("sixdrepnet", "sixdrepnet", "b1g2"),
                                  ("bagnet17", "bagnet", "17"), ("resnet50", "resnet", "50")])
def test_the_rule_gives_the_recorded_weights(name):
    """To tell a wrong rule from a wrong network."""
    fixture, digest = Fixture(*name), hashlib.sha256()
    for value in fixture.weights().values():
        digest.update(value.numpy().astype("<f4").tobytes())
    assert digest.hexdigest() == fixture.facts["weights_sha256"]


@pytest.mark.parametrize("preset", ["50", "100"])
def test_iresnet(preset):
    fixture = Fixture(f"iresnet{preset}", "iresnet", preset)
    model = fixture.model()
    x = fixture.input("in.image")
    with torch.no_grad():
        maps = model.maps(x)
        for number, stage in enumerate(maps, 1):
            fixture.agrees(f"out.layer{number}", stage)
        fixture.agrees("out.embedding", model.embed(maps[-1]))
    if preset == "50":                                  # and in the form that a CPU uses where gradients are wanted
        fixture.agrees("out.embedding", model(x.requires_grad_()))


@pytest.fixture(scope="module")
def vec2face():
    fixture = Fixture("vec2face_base", "vec2face", "base")
    return fixture, fixture.model()


@pytest.mark.parametrize("case", ["", ".nodrop", ".allmask"])
def test_vec2face(vec2face, case):
    fixture, model = vec2face
    rep = fixture.input("in.rep")
    drop, mask = (fixture.input(f"in.token_{name}{case}") for name in ("drop_mask", "mask"))
    with torch.no_grad():
        feature = model.feature_map(model.decode(*encoded(model, rep, drop, mask)))
        fixture.agrees(f"out.decoder_feature{case}", feature)
        fixture.agrees(f"out.image{case}", model(rep, drop, mask))


def encoded(model, rep, drop, mask):
    """What `decode` takes."""
    drop, mask = drop.bool(), mask.bool()
    return model.encode(model.tokens(rep), drop, mask), drop, mask


def test_vec2face_on_the_way(vec2face):
    fixture, model = vec2face
    rep = fixture.input("in.rep")
    with torch.no_grad():
        fixture.agrees("out.gt_tokens", model.tokens(rep))
        latent, drop, mask = encoded(model, rep, fixture.input("in.token_drop_mask"), fixture.input("in.token_mask"))
        fixture.agrees("out.latent", latent)
        tokens = model.decode(latent, drop, mask)
        fixture.agrees("out.tokens", tokens)
        fixture.agrees("out.decoder_mid", model.im_decoder.middle(model.feature_map(tokens)))
        fixture.agrees("out.image.small", model.im_decoder(fixture.input("in.decoder_feature.small")))
        decoded = model.tokens_and_image(rep, drop, mask)
    assert torch.equal(decoded.tokens, tokens[:, 1:])
    assert torch.equal(decoded.clean, model.tokens(rep)[:, 1:])


def test_vec2face_without_masks_hides_nothing(vec2face):
    fixture, model = vec2face
    rep = fixture.input("in.rep")
    with torch.no_grad(), forced("plain"):              # and the plain kernel draws the same picture
        fixture.agrees("out.image.nodrop", model(rep))


def test_masks_follow_the_noise(vec2face):
    """The recorded masks hide the positions with the least noise: 5 of 49 dropped, 15 masked, at a rate of 0.3."""
    fixture, _ = vec2face
    rank = fixture.input("in.noise").argsort(1).argsort(1)
    for name, share in (("in.token_drop_mask", 0.1), ("in.token_mask", 0.3)):
        assert np.array_equal(fixture.stored[name][:, 1:], (rank < np.ceil(49 * share)).float().numpy())


# Head pose


@pytest.fixture(scope="module")
def sixdrepnet():
    fixture = Fixture("sixdrepnet", "sixdrepnet", "b1g2")
    return fixture, fixture.model()


def test_sixdrepnet(sixdrepnet):
    fixture, model = sixdrepnet
    with torch.no_grad():
        maps = model.maps(fixture.input("in.image"))
        for number, each in enumerate(maps):
            fixture.agrees(f"out.layer{number}", each)
        six = model.six(maps[-1])
        fixture.agrees("out.ortho6d", six)
        fixture.agrees("out.rotation", rotation_of(six))
        fixture.agrees("out.euler", euler_of(rotation_of(six)).deg2rad())
        small = model(fixture.input("in.image112"))
    fixture.agrees("out.rotation112", small.rotation)
    fixture.agrees("out.euler112", small.euler.deg2rad())


def test_six_numbers_become_angles(sixdrepnet):
    """Parallel halves, nothing at all, and looking straight up or down among them."""
    fixture, _ = sixdrepnet
    rotation = rotation_of(fixture.input("in.poses"))
    fixture.agrees("out.poses_rotation", rotation)
    fixture.agrees("out.poses_euler", euler_of(rotation).deg2rad())


# Feature extractors for clustering


@pytest.mark.parametrize("name", [("bagnet17", "bagnet", "17"), ("resnet50", "resnet", "50")])
def test_feature_extractors(name):
    fixture = Fixture(*name)
    model = fixture.model()
    x = fixture.input("in.image")
    with torch.no_grad():
        maps = model.maps(x)
        for number, stage in enumerate(maps, 1):
            fixture.agrees(f"out.layer{number}", stage)
        with patch.object(model, "maps", return_value=maps):    # computed once
            fixture.agrees("out.features", model.features(x))
            fixture.agrees("out.logits", model(x))
            if name[1] == "bagnet":
                fixture.agrees("out.patch_logits", model.patch_logits(x))


# L2M-GAN


@pytest.fixture(scope="module")
def l2m_gan():
    """The recording, the editing network, and the style code, its parts and the edited part."""
    fixture = Fixture("l2m_gan")
    spaces = {"generator": "l2m_gan.generator_hpf1", "style_encoder": "l2m_gan.style_encoder"}
    state = {}
    for key, (_, *shape) in keys("l2m_gan", "published").items():
        part, _, rest = key.partition(".")
        state[key] = torch.from_numpy(fill(f"{spaces[part]}/{rest}", tuple(shape)))
    model = hub.from_published("l2m_gan", state, "published")
    x, source, target = (fixture.input(f"in.{name}") for name in ("image", "y_src", "y_trg"))
    with torch.no_grad():
        return fixture, model, x, model.codes(x, source, target)


def test_l2m_gan_style_codes(l2m_gan):
    fixture, _, _, codes = l2m_gan
    for name, ours in zip(("s", "s1", "s2", "s3"), codes, strict=True):
        fixture.agrees(f"out.{name}", ours)


@pytest.mark.parametrize(("name", "strength", "masked"), [("image", 1.0, False), ("image_masked", 1.5, True),
                                                          ("image_degree0", 0.0, True)])
def test_l2m_gan_with_a_high_pass(l2m_gan, name, strength, masked):
    fixture, model, x, codes = l2m_gan
    masks = FaceMasks(fixture.input("in.mask1"), fixture.input("in.mask2")) if masked else None
    with torch.no_grad():
        fixture.agrees(f"out.hpf1.{name}", model.generator(x, codes.style(strength), masks))


def test_l2m_gan_without_a_high_pass(l2m_gan):
    fixture, _, x, codes = l2m_gan
    with torch.device("meta"):
        model = Generator(replace(PRESETS["published"], high_pass=0.0))
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(fill(f"l2m_gan.generator_hpf0/{key}", tuple(shape)))
                           for key, shape in shapes.items()}, assign=True)
    with torch.no_grad():
        fixture.agrees("out.hpf0.image", model(x, codes.style()))


def test_l2m_gan_discriminator(l2m_gan):
    fixture, _, x, _ = l2m_gan
    model = filled("l2m_discriminator", "published", "l2m_gan.discriminator")
    with torch.no_grad():
        logits = model(x)
        fixture.agrees("out.disc_all", logits)
        with patch.object(model.main, "forward", return_value=logits):
            fixture.agrees("out.disc", model(x, fixture.input("in.y_src")))


# AttrOP


@pytest.fixture(scope="module")
def readers(sixdrepnet):
    """Embedding, yaw and quality as the original reads them: its pose network sees BGR of 112 pixels, as they are."""
    _, pose = sixdrepnet
    return (Fixture("iresnet100", "iresnet", "100").model(),
            lambda images: pose((images.flip(1) + 1) / 2).euler[:, 1],
            feature_norm(filled("iresnet", "100", "iresnet100.quality")))


@pytest.mark.parametrize("case", ["self", "pose"])
def test_attrop_step(vec2face, readers, sixdrepnet, case):
    """Losses, gradient and Adam's first step."""
    fixture, (_, generator) = Fixture("vec2face_attrop"), vec2face
    drop, mask = (fixture.input(f"in.token_{name}mask.0") for name in ("drop_", ""))
    networks = Networks(lambda rep: generator(rep, drop, mask), *readers)
    asked = fixture.facts["settings"]
    targets = Targets(yaw=asked["pose"] if case == "pose" else None, quality=asked["q_target"], either_side=True)
    rep = fixture.input("in.rep")
    likeness = fixture.input("in.class_rep") if case == "pose" else rep

    seen, gradient = evaluated(networks, rep, likeness, targets)
    gradient = gradient / len(rep)                      # the original's loss is the batch's mean
    fixture.agrees(f"out.{case}.image.0", seen.images)
    fixture.agrees(f"out.{case}.quality_norm.0", seen.quality)
    terms = [term.mean() for term in (*losses(seen, targets), total(seen, targets))]
    fixture.agrees(f"out.{case}.losses.0", torch.stack(terms))
    fixture.agrees(f"out.{case}.grad.0", gradient)
    step, _ = adam(gradient, Moments.none(rep), 1)
    firm = gradient.abs() >= 0.06                       # elsewhere the sign is not stable under rounding
    assert firm.float().mean() > 0.5
    moved, recorded = rep - asked["lr"] * step, torch.from_numpy(fixture.stored[f"out.{case}.rep.1"])
    assert (moved - recorded)[firm].abs().max() <= 1e-4
    with torch.no_grad():
        fixture.agrees(f"out.{case}.id_feature.0", readers[0](seen.images))
        if case == "pose":
            fixture.agrees("out.pose.rotation.0", sixdrepnet[1]((seen.images.flip(1) + 1) / 2).rotation)
    assert torch.equal(see(networks, rep, likeness).images.detach(), seen.images)


# StyleGAN2, recorded at 64 pixels with the channels of the published network


def recorded_stylegan2(fixture, network, part):
    """The published preset at 64 pixels, filled by the rule under all of its own keys."""
    model = build(network, "ffhq-1024", channels=(512,) * 5)
    namespace = fixture.facts["parts"][part]["namespace"]
    model.load_state_dict({key: torch.from_numpy(fill(f"{namespace}/{key}", tuple(value.shape)))
                           for key, value in model.state_dict().items()}, strict=True)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def stylegan2():
    fixture = Fixture("stylegan2")
    return fixture, recorded_stylegan2(fixture, "stylegan2", "generator")


def relative_error(fixture, name, ours):
    """The largest difference to the recorded tensor, over its largest value; and the shape is the recorded one."""
    fixture.agrees(name, ours)
    recorded = torch.from_numpy(fixture.stored[name])
    part = eval(f"ours{fixture.facts['tensors'][name].get('slice', '')}", {"ours": ours})
    return ((part - recorded).abs().max() / recorded.abs().max()).item()


def test_stylegan2_step_by_step(stylegan2):
    fixture, model = stylegan2
    w = model.map(fixture.input("in.z"))
    noises = model.noise_maps("constant", 2)
    fixture.agrees("out.w", w)
    x = model.conv1(model.input(2), w, noises[0])
    fixture.agrees("out.conv1", x)
    rgb = model.to_rgb1(x, w)
    fixture.agrees("out.to_rgb1", rgb)
    x = model.convs[0](x, w, noises[1])
    fixture.agrees("out.convs.0", x)
    fixture.agrees("out.to_rgbs.0", model.to_rgbs[0](model.convs[1](x, w, noises[2]), w, rgb))


@pytest.mark.parametrize("case", ["", ".noise", ".noise_batch", ".truncation", ".mixing", ".w_plus"])
def test_stylegan2(stylegan2, case):
    fixture, model = stylegan2
    w, noise = model.map(fixture.input("in.z")), "constant"
    if case.startswith(".noise"):
        noise = [fixture.input(f"in{case}.{i}") for i in range(9)]
    elif case == ".truncation":
        w = model.truncate(w, 0.7, fixture.input("in.mean_w"))
        fixture.agrees("out.w.truncation", w[:, None].expand(-1, 10, -1))
    elif case == ".mixing":
        w = mix(w, model.map(fixture.input("in.z2")), 4, 10)
    elif case == ".w_plus":
        w = fixture.input("in.w_plus")
    assert relative_error(fixture, f"out.image{case}", model.synthesize(w, noise)) <= 1e-4


def test_stylegan2_discriminator():
    fixture = Fixture("stylegan2")
    model = recorded_stylegan2(fixture, "stylegan2-discriminator", "discriminator")
    features = model.convs(fixture.input("in.image"))
    for batch in (1, 2, 4, 8):
        assert relative_error(fixture, f"out.disc.batch{batch}", model.logits(features[:batch])) <= 1e-4


# Networks around StyleGAN2


def test_e4e():
    fixture = Fixture("e4e", "e4e", "ffhq")
    model = fixture.model()
    with torch.no_grad():
        maps = model.maps(fixture.input("in.image"))
        for name, each in zip(("out.c1", "out.c2", "out.c3"), maps, strict=True):
            fixture.agrees(name, each)
        pyramid = model.pyramid(maps)
        assert relative_error(fixture, "out.latents", model.latents(pyramid)) <= 1e-4
        for rows in (0, 4):
            assert relative_error(fixture, f"out.latents.stage{rows}", model.latents(pyramid, rows)) <= 1e-4


def test_inception_resnet():
    fixture = Fixture("inception_resnet_v1", "inception-resnet", "vggface2")
    model = fixture.model()
    with torch.no_grad():
        maps = model.maps(fixture.input("in.image"))
        for name, each in maps.items():
            fixture.agrees(f"out.{name}", each)
        fixture.agrees("out.raw", model.embed(maps["block8"]))
        assert relative_error(fixture, "out.embedding", model(fixture.input("in.image"))) <= 1e-4
