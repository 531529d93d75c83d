"""Age calibration of a trained person: interpolated age embeddings, the sweep, and what a teacher keeps."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from toy_latent import captioned, pictures, toy_embedder, toy_latent

from core import words
from core.latent import denoise, interpolate_age_embeddings
from core.training import dreambooth_ages
from core.training.dreambooth import PRESETS, Teacher
from core.training.dreambooth_ages import calibrate_ages, sweep_ages

TOY = replace(PRESETS["tiny"], steps=4, batch=4, others=4, rank=2, precision="no", looks=0)


class Calendar(torch.nn.Module):
    """A judge that sees so many years in the pictures of a call, one call after another."""

    def __init__(self, years: Sequence[float]) -> None:
        super().__init__()
        self.years = iter(years)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        assert image.shape[1:] == (3, 112, 112) and not image.requires_grad
        return {"age": torch.full((len(image),), next(self.years))}


def test_words_lie_between_the_words():
    latent = toy_latent()
    embedding, prompt = torch.randn(16), "photo of a wzx person as {}, smiling"
    prompts = [prompt.format(age) for age in words.GROUPS]
    said = latent.encode_prompts(prompts, embedding)
    assert torch.allclose(latent.encode_prompts(prompts, embedding, [words.MIDDLES] * len(prompts)), said, atol=1e-6)
    for group, middle in enumerate(words.MIDDLES):      # whichever word it is that lies there
        moved = latent.encode_prompts([prompt.format("child")], embedding, [(middle,) * 6])[0]
        assert torch.allclose(moved, said[group], atol=1e-6)
    embeddings = torch.randn(6, 16)
    found = interpolate_age_embeddings(embeddings, (40.0, 22.5, 0.0, 97.5))
    wanted = torch.stack([(embeddings[2] + embeddings[3]) / 2, embeddings[1], 1.5 * embeddings[0] - embeddings[1] / 2,
                          2 * embeddings[5] - embeddings[4]])
    assert torch.allclose(found, wanted, atol=1e-5)
    plain = latent.encode_prompts(["photo of a wzx person, smiling"], embedding)
    assert torch.equal(latent.encode_prompts(["photo of a wzx person, smiling"], embedding, [(1.0,) * 6]), plain)


def test_each_age_is_put_where_most_pictures_are_of_its_years():
    places = np.array(dreambooth_ages.AGE_GRID)[:, None]
    assert calibrate_ages(places) == words.MIDDLES                                      # words already right
    assert calibrate_ages(np.full((len(places), 3), 33.0)) == words.MIDDLES             # nothing to choose from
    older = calibrate_ages(places + 12 + np.array([-2, 0, 2]))
    assert np.allclose(older, [5, 10.5, 23, 33, 45.5, 77.5], atol=1.5)          # the old are as old as they should be
    younger = calibrate_ages(0.5 * places + np.array([-1, 1]))
    assert np.allclose(younger[1:], [45, 70, 88, 88, 88], atol=3)               # as far as it goes
    one_of_many = np.where(np.arange(9) == 0, 60.0, places)                     # always 60, the others as they should
    assert np.allclose(calibrate_ages(one_of_many)[:4], words.MIDDLES[:4], atol=2)
    wavy = calibrate_ages(places + np.where(np.arange(len(places)) % 2, 12, -12)[:, None])
    assert list(wavy) == sorted(wavy) and np.allclose(wavy, words.MIDDLES, atol=14)


def test_it_is_looked_at_each_place_with_the_same_noise(monkeypatch):
    latent, embedding, asked = toy_latent(), torch.randn(16), []

    def denoised(unet, states, negative_states, seeds, **settings):
        asked.append((states, list(seeds)))
        return denoise(unet, states, negative_states, seeds, **settings | {"steps": 1})

    monkeypatch.setattr(dreambooth_ages, "denoise", denoised)
    found = list(sweep_ages(latent, latent.unet, "sks", embedding, Calendar(dreambooth_ages.AGE_GRID), [7, 8]))
    assert [len(each.years) for each in found] == list(range(1, len(dreambooth_ages.AGE_GRID) + 1))
    assert found[-1].share == 1 and np.array_equal(found[-1].years, np.stack([dreambooth_ages.AGE_GRID] * 2, 1))
    for (states, seeds), place in zip(asked, dreambooth_ages.AGE_GRID, strict=True):
        assert seeds == [7, 8]
        prompts = ["photo of a sks person as child"] * 2
        assert torch.equal(states, latent.encode_prompts(prompts, embedding, [(place,) * 6] * len(prompts)))


def test_after_the_last_step_it_is_looked_where_the_ages_lie(tmp_path, monkeypatch):
    monkeypatch.setattr(dreambooth_ages, "STEPS", 1)
    preset, years = replace(TOY, looks=2, aged=0.0), [2 * place for place in dreambooth_ages.AGE_GRID]

    def taught(judge) -> Teacher:
        return Teacher(toy_latent(), pictures(5), "wzx", preset, toy_embedder(), captioned(), judge=judge)

    able = taught(Calendar(years))
    lessons = list(able.lessons())
    assert [lesson.calibration for lesson in lessons[:TOY.steps]] == [None] * TOY.steps
    looks = lessons[TOY.steps:]
    assert [lesson.calibration for lesson in looks] == [number / len(years) for number in range(1, len(years) + 1)]
    assert all(lesson.step == TOY.steps and lesson.losses == {} for lesson in looks)
    assert able.ages == calibrate_ages(np.array(years)[:, None]) and able.subject("Ada").ages == able.ages
    assert able.ages[1] < words.MIDDLES[1]
    assert list(able.lessons()) == []
    for judge, looked in ((None, preset), (Calendar(years), TOY)):
        blind = Teacher(toy_latent(), pictures(5), "wzx", looked, toy_embedder(), captioned(), judge=judge)
        assert len(list(blind.lessons())) == TOY.steps and blind.subject("Ada").ages is None
    stopped = taught(Calendar(years))
    lessons = stopped.lessons()
    assert [next(lessons).calibration for _ in range(TOY.steps + 2)][-1] == 2 / len(years)
    lessons.close()
    assert stopped.subject("Ada").ages is None
    stopped.save(tmp_path / "state.pt")
    resumed = taught(Calendar(years))
    resumed.restore(tmp_path / "state.pt")
    assert len(list(resumed.lessons())) == len(years) and resumed.ages == able.ages
