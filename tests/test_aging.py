"""The pipeline `aging` with small random networks: wishes, strips, previews, stopping, settings, people."""

import os
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import aging_toys
import numpy as np
import pytest
import torch
from aging_toys import drawn, pixels, saved
from PIL import Image

from core import hub, images, latent, subjects, systems, words
from core.engine import choices
from core.engine.readers import likeness
from core.engine.result import last
from core.errors import CheckpointError, SettingsError
from core.systems.aging import prompts, wording
from core.systems.aging.pipeline import Aging, fingerprint, subject_file
from core.systems.aging.request import Draw

system = aging_toys.system      # the fixture
OLD = Draw("photo of a person as old", seed=3, steps=3)


@pytest.fixture
def ann(system) -> subjects.Subject:
    return person(system)


def person(system: Aging, token: str = "wzx", base: str = "tiny", scale: float = 1.0) -> subjects.Subject:
    """Somebody who was taught, as far as files go."""
    torch.manual_seed(1)
    key, weight = next((name, value) for name, value in system.latent.unet.named_parameters()
                       if name.endswith("to_k.weight"))
    key = key.removesuffix(".weight")
    weights = {f"{key}.lora_A.weight": torch.randn(2, weight.shape[1]),
               f"{key}.lora_B.weight": scale * torch.randn(len(weight), 2)}
    return subjects.Subject("Ann", token, base, choices.sha256("aging-unet-tiny"), weights, torch.randn(32),
                            torch.randn(5, 512), np.asarray(drawn(4)))


def apart(a: str, b: str) -> int:
    return int(abs(pixels(a) - pixels(b)).max())


# ------------------------------------------------------------------------------------------------ what is asked for

@pytest.mark.parametrize("wrong", [
    dict(steps=float("nan")), dict(steps=True), dict(steps=0), dict(steps=1e30), dict(steps="20"), dict(steps=2.5),
    dict(count=0), dict(count=17), dict(count=True), dict(count=None), dict(guidance=float("nan")), dict(guidance=0.5),
    dict(guidance=1e30), dict(guidance=True), dict(emphasis=1.1), dict(emphasis=None),
    dict(floor=-0.1), dict(floor=float("inf")), dict(floor=[1]),
    dict(solver="euler"), dict(solver=["dpm"]), dict(solver=None), dict(seed=1e30), dict(seed=0.5), dict(seed=True),
    dict(seed=float("nan")), dict(seed="7"), dict(prompt=""), dict(prompt="  "), dict(prompt=None), dict(prompt=7),
    dict(prompt="a " * 300), dict(negative=None), dict(negative="a" * 401),
    dict(solver="lcm", steps=51)])
def test_what_can_not_be_is_refused_in_a_sentence(wrong):
    with pytest.raises(SettingsError) as error:
        Draw(**{"prompt": "photo of a person as old", **wrong})
    assert len(error.value.message) < 100 and error.value.next_step


def test_whole_floats_are_whole_and_a_seed_is_settled():
    wish = Draw("a person", steps=20.0, count=2.0, seed=7.0).checked()
    assert [type(value) for value in (wish.steps, wish.count, wish.seed)] == [int] * 3
    assert 0 <= Draw("a person", seed=-1).checked().seed < 2**32


@pytest.mark.parametrize(("prompt", "token", "wanted", "said"), [
    ("photo of a person as old, smiling", None, "photo of a person as old, smiling", ""),
    ("photo of a person as old", "wzx", "photo of a wzx person as old", ""),
    ("photo of a sks person as old", "wzx", "photo of a wzx person as old", "wzx, so it was drawn in place of sks."),
    ("elderly, smiling", "wzx", "photo of a wzx person as elderly, smiling", ""),
    ("as child", "sks", "photo of a sks person as child", ""),
    ("smiling", "sks", "photo of a sks person, smiling", ""),
    ("Photo of a PERSON as OLD!", None, "photo of a person as old", ""),
    ("a dog", None, "photo of a person", "left out: dog"),
    ("a dog", "ams", "photo of a ams person", "left out: dog"),
    ("photo of wzx, smiling", "wzx", "photo of wzx, smiling", ""),
    ("photo of wzx, smiling", None, "photo of, smiling", "No subject is selected"),
    ("photo of a person as old, with xylophone, smiling", None, "photo of a person as old, smiling", "xylophone"),
    ("photo of a person as 60 years old", None, "photo of a person as elderly", "60 years were read as “elderly”"),
    ("photo of a wzx person as old", None, "photo of a person as old", "No subject is selected"),
    ("photo of a person as middle-aged", None, "photo of a person as middleaged", "read as “middleaged”"),
    ("photo of a person as young adult", None, "photo of a person as youngadults", "“young adult” was read"),
])
def test_prompts_are_put_into_words_that_are_known_and_the_others_named(prompt, token, wanted, said):
    drawn_as, notes = wording.compose_prompt(prompt, token, is_limited=True)
    assert drawn_as == wanted and said in " ".join(notes) and bool(said) == bool(notes)
    assert words.unknown(drawn_as) == []


def test_large_networks_keep_their_words():
    assert wording.compose_prompt("a dog as old", "wzx", is_limited=False)[0] == "photo of a wzx person, a dog as old"
    assert wording.compose_prompt("a dog, 60 years", None, is_limited=False) == ("a dog, 60 years", ())


# ------------------------------------------------------------------------------------------------------------ draw

def test_a_picture_appears_and_says_all_about_itself(system):
    results = list(system.draw(replace(OLD, steps=20, count=2, negative="smiling, xylophone")))
    assert [result.step for result in results] == [4, 8, 12, 16, 20] and {result.steps for result in results} == {20}
    assert all(len(result.previews) == 2 and not result.images for result in results[:-1])
    result = results[-1]
    assert result.previews == () and result.seeds == (3, 4) and result.total == 2
    assert {Image.open(path).size for path in result.images} == {(128, 128)}
    assert result.scores["similarity"] == (None, None) and all(0 <= value <= 1 for value in result.scores["quality"])
    assert all(isinstance(value, float) for value in result.scores["years"])
    assert result.notes == ("The small network does not know these words, so they were left out: xylophone.",)
    kept = images.settings_of(result.images[0])
    assert kept == images.settings_of(result.images[0]) == {**result.settings[0]}
    for name in ("version", "checkpoint", "sha256", "autoencoder_sha256", "text_sha256", "kernel", "device", "torch",
                 "precision", "prompt", "drawn", "negative", "seed", "steps", "solver", "guidance", "years", "quality"):
        assert kept[name] not in (None, ""), name
    assert images.AI_MADE.encode() in Path(result.images[0]).read_bytes()


def test_previews_are_no_results(system):
    first = next(system.draw(OLD))
    assert len(first.previews) == 1 and system.restored(first.previews[0]) is None
    assert images.AI_MADE.encode() in Path(first.previews[0]).read_bytes()


def test_a_seed_is_the_same_picture_alone_and_in_company(system):
    many, alone = last(system.draw(replace(OLD, count=10))), last(system.draw(replace(OLD, seed=12)))
    assert many.seeds == tuple(range(3, 13)) and many.steps == 6        # two batches of three steps
    assert apart(many.images[9], alone.images[0]) <= 1 and apart(many.images[0], many.images[1]) > 1


@pytest.mark.parametrize("solver", ["dpm", "unipc", "ddim"])
def test_every_solver_draws(system, solver):
    assert last(system.draw(replace(OLD, solver=solver))).settings[0]["solver"] == solver


def test_lcm_is_for_the_large_network(system):
    assert system.solvers == ("dpm", "unipc", "ddim")
    with pytest.raises(SettingsError, match="LCM-LoRA"):
        system.draw(replace(OLD, solver="lcm"))


def test_what_is_avoided_changes_the_picture(system):
    plain, other = (last(system.draw(replace(OLD, negative=negative))) for negative in ("", "bearded"))
    assert plain.images and apart(plain.images[0], other.images[0]) > 0


def test_closing_stops(system, monkeypatch):
    steps, forward = [], type(system.latent.unet).forward
    monkeypatch.setattr(type(system.latent.unet), "forward",
                        lambda *args: steps.append(1) or forward(*args))
    drawing = system.draw(replace(OLD, steps=50))
    next(drawing)
    drawing.close()
    assert len(steps) == 10


def test_nothing_is_drawn_before_somebody_asks_and_errors_come_at_once(system):
    with pytest.raises(SettingsError, match="words and commas"):
        system.draw(replace(OLD, prompt=", ".join(["photo of a person as old"] * 9)))


def test_the_strip_has_six_ages_of_one_seed_in_one_batch(system, monkeypatch):
    batches, denoise = [], latent.denoise
    monkeypatch.setattr(latent, "denoise", lambda *args: batches.append(len(args[3])) or denoise(*args))
    result = last(system.strip(replace(OLD, prompt="photo of a person as old, smiling", count=5)))
    assert batches == [6] and result.seeds == (3,) * 6 and result.total == 6
    drawn = [kept["drawn"] for kept in result.settings]
    assert drawn == [f"photo of a person as {age}, smiling" for age in prompts.AGES]
    assert [kept["group"] for kept in result.settings] == list(prompts.AGES)
    restored = system.restored(result.images[0]).request
    assert restored == replace(OLD, prompt="photo of a person as child, smiling")
    assert apart(last(system.draw(restored)).images[0], result.images[0]) <= 1


def test_the_small_network_refuses_no_words_and_lists_those_that_it_can_not_draw(system):
    result = last(system.draw(replace(OLD, prompt="photo of a naked person as old, smiling")))
    assert "naked" in " ".join(result.notes) and len(result.images) == 1


def test_the_strip_that_everybody_sees_first_is_drawn_once(system, ann, monkeypatch):
    monkeypatch.setitem(vars(system), "subjects", (ann,))
    first = last(system.strip(system.opening())).images
    again, = system.strip(system.opening())         # all of it at once
    assert again.images == first and len(first) == 6
    others = (replace(system.opening(), seed=2), replace(system.opening(), prompt="photo of a wzx person, bald"))
    assert all(last(system.strip(other)).images != first for other in others)
    os.utime(Path(first[0]).parent, (0, 0))
    systems.tidy()
    anew = last(system.strip(system.opening())).images
    assert anew != first and apart(anew[-1], last(system.strip(system.opening())).images[-1]) == 0


def test_the_floor_drops_pictures_and_says_which(system):
    all_of_them = last(system.draw(replace(OLD, count=4)))
    floor = sorted(all_of_them.scores["quality"])[2] - 1e-6
    result = last(system.draw(replace(OLD, count=4, floor=floor)))
    assert len(result.images) == 2 and len(result.dropped) == 2 and result.total == 4
    assert set(result.seeds) | {each.seed for each in result.dropped} == {3, 4, 5, 6}
    assert all(f"below {floor:g}" in each.why and Path(each.path).is_file() for each in result.dropped)
    assert sum(note.startswith("Dropped the picture of seed") for note in result.notes) == 2


def test_emphasis_is_for_prompts_that_name_an_age(system):
    wishes = [replace(OLD, prompt=prompt, emphasis=emphasis) for prompt in (OLD.prompt, "photo of a person")
              for emphasis in (0.0, 0.8)]
    without, much, nothing, neither = (last(system.draw(wish)).images[0] for wish in wishes)
    assert apart(without, much) > 1 and apart(nothing, neither) == 0


def test_years_are_drawn_at_their_place_among_the_words(system):
    """Those of a word's middle are the word; others are not; each prompt has its own."""
    spoken = [f"photo of a person as {age}" for age in ("middleaged", "45 years old", "41 years old")]
    word, same, other = (last(system.draw(replace(OLD, prompt=prompt))) for prompt in spoken)
    assert apart(word.images[0], same.images[0]) < 0.5 < apart(word.images[0], other.images[0])
    assert other.notes == ("41 years were read as “middleaged”, at these years.",)
    assert other.settings[0]["group"] == "middleaged"
    ages = [None, prompts.positions(41, None)]
    states = system._states([spoken[0]] * 2, "", None, ages, 0.0)[0]
    assert torch.equal(states[:1], system.latent.encode_prompts(spoken[:1])) and not torch.equal(states[0], states[1])


def test_guidance_leads_away_from_the_prompt_without_its_age(system):
    base = system.latent
    empty, short = base.encode_prompts(["bald"]), base.encode_prompts(["photo of a person, smiling"])
    said = ["photo of a person as old, smiling", "photo of a person"]
    states, negative_states = system._states(said, "bald", None, None, 0.25)
    assert torch.equal(states, base.encode_prompts(said))
    assert torch.allclose(negative_states, torch.cat([0.75 * empty + 0.25 * short, empty]), atol=1e-5)
    assert torch.equal(system._states(["photo of a person as old"], "bald", None, None, 0.0)[1], empty)
    assert torch.equal(system._states(["photo of a person, "], "bald", None, None, 0.25)[1], empty)


def test_a_picture_from_before_there_was_emphasis_comes_back_as_it_was(system, tmp_path):
    result = last(system.draw(replace(OLD, emphasis=0.3)))
    kept = dict(result.settings[0])
    assert kept.pop("emphasis") == 0.3
    path = images.save(Image.open(result.images[0]), kept, tmp_path)
    assert system.restored(path).request.emphasis == 0.0


def test_a_picture_makes_itself_again(system):
    asked = replace(OLD, count=2, guidance=3.0, emphasis=0.2, solver="unipc", negative="bald", floor=0.01)
    result = last(system.draw(asked))
    restored = system.restored(result.images[1])
    assert restored.request == replace(asked, seed=4)
    assert restored.checkpoint == "tiny"
    assert apart(last(system.draw(replace(restored.request, count=1))).images[0], result.images[1]) <= 1


@pytest.mark.parametrize("kept", [
    {"system": "aging"}, {"system": "aging", "prompt": 7}, {"system": "aging", "prompt": "old", "steps": True},
    {"system": "aging", "prompt": " "}, {"system": "aging", "prompt": "old", "seed": 1e30}])
def test_a_strangers_settings_are_checked(system, kept, tmp_path):
    with pytest.raises(SettingsError):
        system.restored(images.save(drawn(1), kept, tmp_path))


def test_other_pictures_remember_nothing(system, tmp_path):
    assert system.restored(images.save(drawn(1), {"system": "vectors"}, tmp_path)) is None
    assert system.restored(saved(drawn(1), tmp_path / "plain.png")) is None


def test_pictures_in_a_zip(system):
    result = last(system.draw(replace(OLD, count=2)))
    with zipfile.ZipFile(system.zip(result)) as archive:
        assert sorted(archive.namelist()) == sorted(["settings.json", *(Path(path).name for path in result.images)])


def test_visitors_do_not_disturb_each_other(system, ann):
    """Two wishes at once, one of them of a taught person, are the pictures they are alone."""
    wishes = [OLD, replace(OLD, subject=ann), replace(OLD, seed=9)]
    alone, together = [last(system.draw(wish)).images[0] for wish in wishes], {}
    threads = [threading.Thread(target=lambda at=at: together.update({at: last(system.draw(wishes[at])).images[0]}))
               for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(apart(alone[at], together[at]) <= 1 for at in range(3))


# ---------------------------------------------------------------------------------------------------------- people

def test_a_taught_person_is_drawn_by_a_copy_that_is_kept(system, monkeypatch):
    before = {name: value.clone() for name, value in system.latent.unet.state_dict().items()}
    made, adapted = [], subjects.adapted
    monkeypatch.setattr(subjects, "adapted", lambda *args: made.append(1) or adapted(*args))
    ann = person(system, scale=3.0)     # whom nobody has drawn yet
    result, again = (last(system.draw(replace(OLD, subject=who))) for who in (ann, replace(ann, name="Ann again")))
    assert len(made) == 1 and apart(result.images[0], again.images[0]) == 0
    assert all(torch.equal(value, before[name]) for name, value in system.latent.unet.state_dict().items())
    assert apart(result.images[0], last(system.draw(OLD)).images[0]) > 1
    kept = result.settings[0]
    assert (kept["subject"], kept["token"], kept["adapter"]) == ("Ann", "wzx", fingerprint(ann))
    vector = system.reading.read([Image.open(result.images[0])], aligned=True)[0].vector
    assert result.scores["similarity"][0] == pytest.approx(likeness(vector, ann.faces), abs=0.02)
    system.forget(ann)
    last(system.draw(replace(OLD, subject=ann)))
    assert len(made) == 2


def test_the_fingerprint_is_of_what_was_taught(system, ann):
    assert fingerprint(None) == "" and fingerprint(ann) == fingerprint(replace(ann, name="Eve"))
    assert len({fingerprint(each) for each in (ann, replace(ann, token="sks"), replace(ann, embedding=None),
                                               replace(ann, ages=(1.0,) * 6), person(system, scale=2.0))}) == 5


def test_a_persons_ages_are_drawn_where_they_lie(system, ann):
    """Somebody whose word for old lies where teenagers are looks the same in both."""
    young = replace(ann, ages=(22.5,) * 6)
    old, teenager = (replace(OLD, prompt=f"photo of a wzx person as {age}", subject=ann) for age in ("old", "teenager"))
    leaning = last(system.draw(replace(old, subject=young)))
    assert apart(leaning.images[0], last(system.draw(teenager)).images[0]) < 0.01
    assert apart(leaning.images[0], last(system.draw(old)).images[0]) > 0.1
    assert leaning.settings[0]["ages"] == young.ages


def test_a_person_comes_back_from_the_file(system, ann):
    path = system.adapter(ann)
    assert Path(path).suffix == ".safetensors" and "ann-wzx" in path
    back = system.subject_file(path)
    assert fingerprint(back) == fingerprint(ann) and subject_file(path).name == "Ann"
    assert apart(*(last(system.draw(replace(OLD, subject=each))).images[0] for each in (ann, back))) <= 1
    assert np.array_equal(pixels(system.portrait(back)), ann.portrait)


def test_bad_adapters_are_refused(system, ann, tmp_path):
    path = Path(system.adapter(ann))
    cut, text = tmp_path / "cut.safetensors", tmp_path / "text.safetensors"
    cut.write_bytes(path.read_bytes()[:-40])
    text.write_text("hello")
    for bad in (cut, text, tmp_path / "nowhere.safetensors", hub.file("embedder-tiny-v3")):
        with pytest.raises(CheckpointError):
            system.subject_file(bad)
    for other in (replace(ann, base="sd14"), replace(ann, base_sha256="0" * 64)):
        with pytest.raises(SettingsError, match="trained on"):
            system.subject_file(system.adapter(other))
    with pytest.raises(SettingsError, match="trained on sd14"):
        system.draw(replace(OLD, subject=replace(ann, base="sd14")))
    with pytest.raises(SettingsError, match="has 9 numbers, where tiny takes 32"):      # a file that somebody made up
        system.draw(replace(OLD, subject=replace(ann, embedding=torch.randn(9))))


def test_nobody_ships_with_these_toys(system):
    assert system.subjects == ()


# ------------------------------------------------------------------------------------------------ what it computes

def test_what_computes_is_named(system):
    about = system.about
    assert about["checkpoint"] == "aging-unet-tiny" and about["kernel"] == "torch" and about["precision"] == "float32"
    assert len(about["sha256"]) == len(about["text_sha256"]) == 64


def test_without_its_checkpoints_it_says_so(system, tmp_path, monkeypatch):
    hub.row("aging-unet-tiny").shipped.rename(tmp_path / "gone")
    try:
        with pytest.raises(CheckpointError, match="aging-unet-tiny"):
            Aging()
    finally:
        (tmp_path / "gone").rename(hub.row("aging-unet-tiny").shipped)


def test_old_files_are_deleted(system, tmp_path):
    import os

    path = Path(last(system.draw(OLD)).images[0])
    os.utime(path.parent, (time.time() - 8000,) * 2)
    system.tidy()
    assert not path.exists()
    mine = Aging(folder=tmp_path / "out")
    kept = Path(last(mine.draw(OLD)).images[0])
    mine.tidy()
    assert [kept] == list((tmp_path / "out").iterdir())        # and none of what it looked like under way
