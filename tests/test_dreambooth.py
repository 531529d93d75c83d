"""Teaching a person, at toy size: what each term reaches, what stays as it was, stopping, resuming, the presets."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_latent import captioned, everything, pictures, toy_embedder, toy_latent

from core import faces_v3 as faces
from core import hub, subjects, words
from core.errors import CheckpointError, SettingsError
from core.latent import Latent
from core.training import dreambooth
from core.training.dreambooth import ATTENTION, PRESETS, Preset, Teacher
from core.training.dreambooth_losses import biometric, contrastive
from core.training.dreambooth_material import TIMES

TOY = replace(PRESETS["tiny"], steps=4, batch=4, others=4, rank=2, precision="no", contrastive=0.1,
              negatives=5, looks=0)
TERMS = ("noise", "prior", "biometric", "contrastive")


def teacher(preset: Preset = TOY, count: int = 5, latent: Latent | None = None, prior=captioned()) -> Teacher:
    return Teacher(latent or toy_latent(), pictures(count), "wzx", preset, toy_embedder(), prior, "abc")


def first_batch(taught: Teacher):
    chosen = taught.preset
    return taught.material.batch(0, chosen.seed, chosen.batch, chosen.others, chosen.negatives)


def grown(taught: Teacher) -> Teacher:
    """With a LoRA that changes something: as long as its B is 0, nothing reaches its A."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in taught.student.named_parameters():
            if ".lora_B." in name:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
    return taught


# ------------------------------------------------------------------------------------------ what each term reaches


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("term", TERMS)
def test_each_term_reaches_what_it_should_and_nothing_frozen(term, rank):
    """The published code's biometric loss had no gradient, and never came near the denoiser."""
    taught = grown(teacher(replace(TOY, rank=rank)))
    taught.terms(first_batch(taught))[term].backward()
    learning = taught.learning()
    subject_embedding = learning.pop("embedding")
    reached = {name for name, p in learning.items() if p.grad is not None and p.grad.abs().sum() > 0}
    halves = {"lora_A", "lora_B"} if rank else {"conv_in", "mid_block", "to_k", "to_v", "conv_out"}
    assert all(any(half in name for name in reached) for half in halves) and len(reached) > 0.9 * len(learning)
    assert (subject_embedding.grad is not None and subject_embedding.grad.abs().sum() > 0) == (term != "prior")
    others = [p for name, p in taught.student.named_parameters() if name not in taught.learning()]
    latent = taught.latent
    for module in (latent.unet, latent.text, latent.autoencoder, latent.subject, taught.embedder):
        others += list(module.parameters())
    assert all(p.grad is None for p in others)


def test_a_weight_of_0_switches_a_term_off():
    for term in TERMS[1:]:
        taught = teacher(replace(TOY, **{term: 0.0}))
        lesson = next(taught.lessons())
        assert set(lesson.losses) == set(TERMS) - {term}
    taught = teacher(replace(TOY, prior=2.0, biometric=3.0, contrastive=0.5))
    terms = {name: torch.tensor(1.0) for name in TERMS}
    assert float(taught.weighted(terms)) == 1 + 2 + 3 + 0.5


def test_nothing_that_is_given_changes():
    latent, embedder, given, (latents, captions) = toy_latent(), toy_embedder(), pictures(3), captioned()
    modules = (latent.unet, latent.text, latent.autoencoder, latent.subject, embedder)
    before, kept = everything(*modules), (given.clone(), latents.clone())
    for preset in (TOY, replace(TOY, rank=None, checkpointing=True)):
        taught = Teacher(latent, given, "sks", preset, embedder, (latents, captions))
        list(taught.lessons())
        assert any((value != 0).any() for value in taught.changes().values())
    assert all(torch.equal(a, b) for a, b in zip(before, everything(*modules), strict=True))
    assert torch.equal(given, kept[0]) and torch.equal(latents, kept[1])
    assert not any(p.requires_grad for module in modules for p in module.parameters())
    assert not any(getattr(layer, "gradient_checkpointing", False) for module in modules for layer in module.modules())


# ------------------------------------------------------------------------------------------------- the noise terms


def test_the_noise_is_learned():
    taught = teacher(replace(TOY, steps=12, rate=3e-2, warmup=0, annealed=False, biometric=0.0))
    batch = first_batch(taught)
    before = {name: float(term.detach()) for name, term in taught.terms(batch).items()}
    list(taught.lessons())
    after = {name: float(term.detach()) for name, term in taught.terms(batch).items()}
    assert after["noise"] < 0.95 * before["noise"] and after["prior"] < before["prior"]


def test_the_person_is_trained_under_the_token_and_others_under_their_captions():
    taught = teacher()
    batch = first_batch(taught)
    states = taught._prompt_states(batch)
    captions = list(dict.fromkeys(captioned()[1]))
    wanted = taught.latent.encode_prompts([captions[int(number)] for number in batch.captions])
    assert torch.allclose(states[taught.preset.batch :], wanted, atol=1e-6)
    own = taught.latent.encode_prompts([words.SUBJECT.format("wzx")], taught.embedding)
    assert torch.allclose(states[: taught.preset.batch], own.expand(4, -1, -1), atol=1e-6)


class Clock(torch.nn.Module):
    """A judge that says so many years, picture by picture."""

    def __init__(self, years: list[float]) -> None:
        super().__init__()
        self.years = torch.tensor(years)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        assert image.shape[1:] == (3, 112, 112)
        return {"age": self.years[: len(image)]}


@pytest.mark.parametrize(("share", "said"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_prompts_say_how_old_the_person_is_in_the_picture(share, said):
    """Else the token itself would come to mean an age, and the person would be that old whatever is asked."""
    years = [10.0, 67.0, -1.0, 33.0]
    taught = Teacher(toy_latent(), pictures(4), "wzx", replace(TOY, aged=share), toy_embedder(), captioned(),
                     judge=Clock(years))
    batch = first_batch(taught)
    plain, groups = "photo of a wzx person", ["child", "old", "child", "youngadults"]
    prompts = [f"{plain} as {groups[picture]}" for picture in taught.material.picture[batch.rows].tolist()]
    wanted = taught.latent.encode_prompts([*prompts[:said], *[plain] * (4 - said)], taught.embedding)
    assert torch.allclose(taught._prompt_states(batch)[:4], wanted, atol=1e-6)
    assert teacher(replace(TOY, aged=share)).prompts == [plain]


def test_the_tokens_vector_begins_where_the_face_vectors_put_it_and_is_learned():
    taught = teacher()
    start = taught.latent.subject_embedding(taught.faces)
    assert torch.equal(taught.embedding.detach(), start)
    list(taught.lessons())
    assert not torch.equal(taught.embedding.detach(), start)
    assert torch.equal(teacher(replace(TOY, token_rate=0)).embedding, start)


def test_batches_hold_different_pictures_at_all_times_of_the_noise():
    taught = teacher(count=5)
    for step in range(20):
        batch = taught.material.batch(step, 0, 4, 4, 5)
        assert len(set(taught.material.picture[batch.rows].tolist())) == 4
        for time in (batch.time[:4], batch.time[4:]):
            assert sorted((time * 4 // TIMES).tolist()) == [0, 1, 2, 3]
    again = taught.material.batch(19, 0, 4, 4, 5)
    assert torch.equal(again.noise, batch.noise) and torch.equal(again.rows, batch.rows)
    assert not torch.equal(taught.material.batch(18, 0, 4, 4, 5).noise, batch.noise)
    rows = torch.cat([taught.material.batch(step, 0, 4, 4, 5).rows for step in range(40)])
    assert set(rows.tolist()) == set(range(10))                                         # mirror images too


def test_latents_are_those_of_the_pictures_and_their_mirror_images():
    taught, given = teacher(count=3), pictures(3)
    for rows, image in ((slice(0, 3), given), (slice(3, 6), given.flip(3))):
        with torch.no_grad():
            wanted = taught.latent.autoencoder.encode(image)
        assert torch.allclose(taught.material.latents[rows], wanted, atol=1e-5)
    assert len(teacher(replace(TOY, mirrored=False), count=3).material.latents) == 3


# ---------------------------------------------------------------------------------------------- the biometric term


class Lossless(torch.nn.Module):
    """Pictures as their own latents, with a fourth channel."""

    def encode(self, image: Tensor) -> Tensor:
        return F.pad(image, (0, 0, 0, 0, 0, 1))

    def decode(self, latents: Tensor) -> Tensor:
        return latents[:, :3]


def drawn(count: int, size: int = 112) -> Tensor:
    """Looks of a drawn person: (N, 3, S, S)."""
    identity = faces.person(1, "validation")
    looks = [faces.draw(faces.Face(identity, faces.look(identity, seed)), size=size, view="aligned")
             for seed in range(count)]
    return torch.stack([torch.from_numpy(each).permute(2, 0, 1) / 127.5 - 1 for each in looks])


def test_the_recogniser_sees_the_estimate_upright(monkeypatch):
    """The published code swapped height and width. A denoiser that is right must find nothing to mend; turned, it must.

    Trained recogniser, pictures and their mirror images, so every wrong way round is seen.
    """
    latent = replace(toy_latent(), size=112, autoencoder=Lossless(), subject=None)
    preset = replace(TOY, little=1.0, seen=4)
    taught = Teacher(latent, drawn(4), "wzx", preset, hub.load("embedder-tiny-v3", "cpu"), captioned(112, 4))
    batch = first_batch(taught)
    assert (batch.rows >= 4).any() and (batch.rows < 4).any()
    taught.student = lambda noisy, time, states: batch.noise
    right = float(taught.terms(batch)["biometric"])
    assert right < 0.02
    for turned in (lambda x: x[:, :3].mT, lambda x: x[:, :3].flip(2), lambda x: x[:, :3].flip(3)):
        monkeypatch.setattr(taught.autoencoder, "decode", turned)
        assert float(taught.terms(batch)["biometric"]) > 5 * right


def test_the_biometric_term_is_the_l1_distance_of_face_vectors():
    def embedder(image):
        return image.mean((2, 3))

    found, wanted = torch.full((2, 3, 8, 8), 0.5), torch.tensor([[0.5, 0.5, 0.5], [0.5, 1.1, 0.5]])
    assert float(biometric(embedder, lambda x: x, found, wanted)) == pytest.approx(0.1)
    nothing = biometric(embedder, lambda x: x, found[:0].requires_grad_(), wanted[:0])
    assert nothing.item() == 0 and nothing.requires_grad


def test_only_pictures_with_little_noise_are_recognised(monkeypatch):
    seen = []

    def watched(embedder, decode, found, wanted):
        seen.append(wanted)
        return found.sum()

    taught = teacher(replace(TOY, batch=4, seen=2, little=0.5))
    monkeypatch.setattr(dreambooth, "biometric", watched)
    batch = first_batch(taught)
    taught.terms(batch)
    chosen = (batch.time[:4] < 0.5 * TIMES).nonzero()[:, 0]
    assert len(chosen) == 2 and torch.equal(seen[0], taught.material.vectors[batch.rows[chosen]])


# -------------------------------------------------------------------------------------------- the contrastive term


def plain_nt_xent(clean: Tensor, found: Tensor, picture: list[int], others: Tensor, temperature: float) -> float:
    """The same by its definition, one anchor at a time."""
    items = [F.normalize(x.flatten(), dim=0) for x in (*clean, *found)]
    more, shows, count, total = [F.normalize(x.flatten(), dim=0) for x in others], picture * 2, len(clean), 0.0
    for anchor in range(2 * count):
        partner = (anchor + count) % (2 * count)
        rivals = [items[i] for i in range(2 * count) if shows[i] != shows[anchor]] + more
        right = math.exp(float(items[anchor] @ items[partner]) / temperature)
        total -= math.log(right / (right + sum(math.exp(float(items[anchor] @ x) / temperature) for x in rivals)))
    return total / (2 * count)


def random_latents(count: int, seed: int) -> Tensor:
    return torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("picture", [[0, 1, 2, 3], [0, 1, 0, 3]])
@pytest.mark.parametrize("others", [0, 6])
def test_contrast_is_simclrs(picture, others):
    clean, found, more = random_latents(4, 1), random_latents(4, 2), random_latents(others, 3)
    value = contrastive(clean, found, torch.tensor(picture), more, 0.5)
    assert float(value) == pytest.approx(plain_nt_xent(clean, found, picture, more, 0.5), rel=1e-4)


def test_contrast_falls_when_the_right_pairs_match():
    clean, more, picture = random_latents(4, 1), random_latents(6, 3), torch.arange(4)
    near, wrong = clean + 0.5 * random_latents(4, 2), (clean + 0.5 * random_latents(4, 2)).roll(1, 0)
    values = [float(contrastive(clean, found, picture, more, 0.5)) for found in (clean, near, wrong)]
    assert values == sorted(values) and values[2] - values[0] > 1
    found = random_latents(4, 7).requires_grad_()
    optimizer = torch.optim.Adam([found], 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        contrastive(clean, found, picture, more, 0.5).backward()
        optimizer.step()
    alike = F.cosine_similarity(clean.flatten(1)[:, None], found.detach().flatten(1)[None], dim=2)
    assert torch.equal(alike.argmax(1), picture) and alike.diagonal().min() > 0.8


@pytest.mark.parametrize("count", [1, 2, 5])
def test_there_are_always_negatives(count):
    """In the published code there were none, and the loss was exactly zero."""
    taught = teacher(count=count)
    for step in range(3):
        batch = taught.material.batch(step, 0, 4, 4, 5)
        assert len(batch.negatives) == 5
        assert float(taught.terms(batch)["contrastive"]) > 0.1


def test_without_a_captioned_set_the_other_pictures_are_negatives():
    preset = replace(TOY, prior=0.0, batch=2)
    taught = teacher(preset, count=4, prior=None)
    batch = taught.material.batch(0, 0, 2, 0, 9)
    assert len(batch.negatives) == 4 and float(taught.terms(batch)["contrastive"]) > 0.1
    shown = taught.material.latents[torch.isin(taught.material.picture, taught.material.picture[batch.rows])]
    assert not any(torch.equal(a, b) for a in batch.negatives for b in shown)
    with pytest.raises(SettingsError, match="at least two pictures"):
        teacher(preset, count=1, prior=None)


# ------------------------------------------------------------------------------------- stopping, resuming, keeping


def same(first: Teacher, second: Teacher) -> bool:
    pairs = zip(first.learning().values(), second.learning().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and first.losses == second.losses


def test_a_resumed_teaching_equals_one_without_a_break(tmp_path):
    whole = teacher()
    lessons = list(whole.lessons())
    begun = teacher()
    assert len(list(islice(dreambooth.kept(begun, tmp_path, every=2), 3))) == 3
    resumed = teacher()
    rest = list(dreambooth.kept(resumed, tmp_path, resume=True))
    assert [lesson.step for lesson in rest] == [4] and rest[0].losses == lessons[3].losses
    assert same(whole, resumed) and not same(whole, begun)
    assert list(dreambooth.kept(teacher(), tmp_path, resume=True)) == []


def test_a_state_of_another_teaching_or_none_is_refused(tmp_path):
    teacher().save(tmp_path / "state.pt")
    with pytest.raises(SettingsError, match=r"other pictures or settings(.|\n)*--resume"):
        teacher(count=4).restore(tmp_path / "state.pt")
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:999])
    for path in (tmp_path / "state.pt", tmp_path / "nothing.pt"):
        with pytest.raises(CheckpointError, match="--resume"):
            teacher().restore(path)


def test_stopping_keeps_what_was_learned(tmp_path):
    taught = teacher()
    lessons = taught.lessons()
    assert [next(lessons).step for _ in range(2)] == [1, 2]
    lessons.close()
    subject = taught.subject("Ada")
    assert subject.settings["taken"] == 2 and subject.settings["pictures"] == 5
    assert set(subject.settings["losses"]) == set(TERMS)
    assert any((value != 0).any() for key, value in subject.weights.items() if "lora_B" in key)
    found = subjects.read(subjects.write(subject, tmp_path / "ada.safetensors"), "tiny", "abc")
    assert torch.equal(found.embedding, subject.embedding) and torch.equal(found.faces, subject.faces)
    assert torch.equal(drawn_by(subjects.adapted(taught.latent.unet, found), taught.prompt_states),
                       drawn_by(subjects.adapted(taught.latent.unet, subject), taught.prompt_states))


@torch.no_grad()
def drawn_by(unet, states: Tensor) -> Tensor:
    channels, size = unet.config.channels, unet.config.size
    noise = torch.randn(1, channels, size, size, generator=torch.Generator().manual_seed(4))
    return unet(noise.to(states.dtype), torch.tensor([500]), states).float()


@pytest.mark.parametrize("rank", [2, None])
def test_previews_and_the_file_draw_what_was_learned(rank):
    taught = teacher(replace(TOY, rank=rank, rate=1e-2))
    before = drawn_by(taught.latent.unet, taught.prompt_states)
    assert torch.allclose(drawn_by(taught.unet(), taught.prompt_states), before, atol=1e-6)
    list(taught.lessons())
    now = drawn_by(taught.student, taught.prompt_states)
    assert torch.allclose(drawn_by(taught.unet(), taught.prompt_states), now, atol=1e-4)
    made = subjects.adapted(taught.latent.unet, taught.subject(""))
    assert torch.allclose(drawn_by(made, taught.prompt_states), now, atol=5e-3)
    assert (drawn_by(taught.latent.unet, taught.prompt_states) - now).abs().max() > 0.01


def test_teaching_the_same_is_the_same():
    first, second, other = teacher(), teacher(), teacher(replace(TOY, seed=1))
    for taught in (first, second, other):
        list(taught.lessons())
    assert same(first, second) and not same(first, other)


def test_the_portrait_is_one_of_the_pictures():
    subject = teacher().subject("Ada")
    large = F.interpolate(pictures(5), 128, mode="bilinear").add(1).mul(127.5)
    off = (large - torch.from_numpy(subject.portrait).permute(2, 0, 1)).abs().mean((1, 2, 3))
    assert subject.portrait.shape == (128, 128, 3) and off.min() < 1


# ----------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("change", "said"), [
    (dict(token="the"), "wzx, sks, ams, ukj"), (dict(images=pictures(0)), "one or more"),
    (dict(images=pictures(2, 64)), "32, 32"), (dict(prior=None), "captioned set")])
def test_what_cannot_be_taught_is_refused(change, said):
    given = dict(latent=toy_latent(), images=pictures(3), token="wzx", preset=TOY, embedder=None, prior=captioned())
    with pytest.raises(SettingsError, match=said):
        Teacher(**given | change)


def test_a_loss_that_is_no_number_ends_it_with_a_next_step():
    taught = teacher()
    with torch.no_grad():
        taught.embedding.fill_(torch.nan)
    with pytest.raises(SettingsError, match=r"step 1(.|\n)*another seed"):
        next(taught.lessons())


# --------------------------------------------------------------------------------------------------- the presets


@pytest.mark.parametrize("name", ["paper", "sd-lora"])
def test_stable_diffusions_presets_teach_a_toy_of_its_shape(name):
    latent = toy_latent("sd14", dtype=torch.bfloat16 if name == "sd-lora" else torch.float32)
    preset = replace(PRESETS[name], steps=2, rank=PRESETS[name].rank and 2)
    taught = Teacher(latent, pictures(3, 64), "wzx", preset, toy_embedder(), captioned(8, 4))
    before = {key: p.detach().clone() for key, p in taught.learning().items()}
    assert taught.embedding is None and "embedding" not in before
    assert all(p.dtype == torch.float32 for p in before.values())
    lessons = list(taught.lessons())
    assert all(math.isfinite(loss) for loss in lessons[1].losses.values()) and set(lessons[1].losses) == set(TERMS)
    assert any(not torch.equal(before[key], p) for key, p in taught.learning().items())
    subject = taught.subject("Ada")
    assert subject.embedding is None and subject.base == "sd14"
    assert drawn_by(subjects.adapted(latent.unet, subject), taught.prompt_states).isfinite().all()
    assert {p.dtype for p in subjects.adapted(latent.unet, subject).parameters()} == {latent.dtype}


def test_computing_activations_twice_changes_no_gradient():
    found = []
    for checkpointing in (False, True):
        taught = grown(teacher(replace(TOY, checkpointing=checkpointing, targets=ATTENTION)))
        taught.weighted(taught.terms(first_batch(taught))).backward()
        found.append([p.grad for p in taught.learning().values()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_bf16_is_chosen_where_it_is_quicker(monkeypatch):
    from core.training.dreambooth_student import autocast

    cpu = torch.device("cpu")
    for tiles in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda tiles=tiles: {"amx_bf16": tiles})
        with autocast(cpu, "auto"):
            assert torch.is_autocast_enabled("cpu") == tiles
    for precision, wanted in (("bf16", True), ("no", False)):
        with autocast(cpu, precision):
            assert torch.is_autocast_enabled("cpu") == wanted
