"""Drawn sets on disk, batches in a fixed order, and pictures that are moved together with their truth."""

import multiprocessing
import shutil
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

from core import data
from core.errors import FacetError, PictureError
from core.faces import NAMES
from core.faces.attributes import BLUR_SCALE
from core.images import recognisable

YAW, ROLL, LIGHT, AGE = (NAMES.index(name) for name in ("yaw", "roll", "light_side", "age"))


@pytest.fixture(scope="module")
def drawn() -> data.DrawnSet:
    return data.drawn_set("validation", people=3, looks=2, view="aligned", size=32)


def test_a_set_knows_its_people_and_truth(drawn):
    from core import faces_v3 as faces

    assert drawn.images.shape == (6, 32, 32, 3) and drawn.images.dtype == np.uint8
    assert drawn.person.tolist() == [0, 0, 1, 1, 2, 2] and drawn.people == 3
    identity = faces.person(1, split="validation")
    face = faces.Face(identity, faces.look(identity, data.look_seed("validation", 1, 1, 0)))
    assert np.array_equal(drawn.truth[3], faces.truth(face))
    assert np.array_equal(drawn.images[3], faces.draw(face, size=32, view="aligned"))
    assert np.allclose(drawn.points[3], faces.points(face, 32, "aligned"))


def test_a_set_is_drawn_once_and_grows(drawn, monkeypatch):
    asked = []
    draw_rows = data._draw_rows
    monkeypatch.setattr(data, "_draw_rows", lambda *a: (asked.extend(a[-1].tolist()), draw_rows(*a))[1])
    again = data.drawn_set("validation", people=3, looks=2, view="aligned", size=32)
    assert not asked and np.array_equal(again.images, drawn.images)
    more = data.drawn_set("validation", people=4, looks=2, view="aligned", size=32)
    assert asked == [6, 7] and np.array_equal(more.images[:6], drawn.images)


def test_a_set_keeps_the_name_it_had_before_there_were_two_renderers(drawn):
    assert (data.cache_dir() / "drawn" / "validation-aligned-32-88c80a9157f843ef" / "truth.npz").exists()


def test_a_set_of_the_new_renderer_holds_the_mixture_asked_for():
    from core import faces

    who, seed = faces.person(0, "validation"), data.look_seed("validation", 0, 0, 0)
    for mixture in faces.MIXTURES:
        drawn = data.drawn_set("validation", people=1, looks=1, size=32, version=4, mixture=mixture, workers=1)
        face = faces.Face(who, faces.look(who, seed, mixture))
        assert np.array_equal(drawn.truth[0], faces.truth(face))
        assert np.array_equal(drawn.images[0], faces.draw(face, 32, "aligned"))


def test_an_unknown_renderer_is_refused():
    assert data.renderer(3).VERSION == 3
    with pytest.raises(ValueError, match="version 2; there are 3 and 4"):
        data.drawn_set("validation", people=1, looks=1, version=2)


def test_an_interrupted_set_is_resumed(monkeypatch):
    draw_rows, done = data._draw_rows, []

    def dies(*args):
        if done:
            raise KeyboardInterrupt
        done.append(args[-1])
        return draw_rows(*args)

    monkeypatch.setattr(data, "BLOCK", 2)
    monkeypatch.setattr(data, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(data, "_draw_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        data.drawn_set("validation", people=2, looks=2, size=32, seed=5, workers=1)
    asked = []
    monkeypatch.setattr(data, "_draw_rows", lambda *a: (asked.extend(a[-1].tolist()), draw_rows(*a))[1])
    whole = data.drawn_set("validation", people=2, looks=2, size=32, seed=5, workers=1)
    assert asked == [2, 3]
    assert not np.isnan(whole.truth).any() and whole.images.std(axis=(1, 2, 3)).min() > 0


def test_batches_come_in_an_order_that_can_be_entered_anywhere(drawn):
    augment = data.Augment(flip=0.5, shift=0.1, light=0.2)
    whole = [batch for batch, _ in zip(data.batches(drawn, 2, 7, augment=augment), range(6), strict=False)]
    assert sorted(torch.cat([batch["row"] for batch in whole[:3]]).tolist()) == list(range(6))
    assert [b["row"].tolist() for b in whole[:3]] != [b["row"].tolist() for b in whole[3:]]
    entered = next(data.batches(drawn, 2, 7, augment=augment, start=4))
    assert torch.equal(entered["image"], whole[4]["image"]) and torch.equal(entered["truth"], whole[4]["truth"])


def test_a_set_goes_to_another_process_as_the_name_of_its_file(drawn):
    part = replace(drawn, images=drawn.images[1:])
    for each in (drawn, part):
        sent = bytes(ForkingPickler.dumps(each.images))
        assert len(sent) < 1000 < each.images.nbytes
        assert np.array_equal(through_a_queue(each.images), each.images)
    turned = drawn.images[:, ::-1]          # no block of the file: its content is sent
    assert np.array_equal(through_a_queue(turned), turned)


def through_a_queue(value):
    queue = multiprocessing.Queue()
    queue.put(value)
    return queue.get(timeout=60)


def test_processes_share_the_batches(drawn):
    whole = [b["row"].tolist() for b, _ in zip(data.batches(drawn, 2, 7), range(4), strict=False)]
    second = data.batches(drawn, 2, 7, shard=(1, 2))
    assert [next(second)["row"].tolist() for _ in range(2)] == [whole[1], whole[3]]


def dot(x: int, y: int, size: int = 40) -> dict:
    """A black picture with one white dot, which all five points mark."""
    image = torch.full((1, 3, size, size), -1.0)
    image[:, :, y - 1 : y + 2, x - 1 : x + 2] = 1
    points = torch.tensor([x, y]).float().expand(1, 5, 2).clone()
    return {"image": image, "truth": torch.zeros(1, 35), "points": points}


def brightest(image: torch.Tensor) -> torch.Tensor:
    """Centre of mass of the light: (x, y) in pixels."""
    light = (image[0, 0] + 1) / (image[0, 0] + 1).sum()
    steps = torch.arange(image.shape[-1]).float()
    return torch.stack([(light.sum(0) * steps).sum(), (light.sum(1) * steps).sum()])


@pytest.mark.parametrize("seed", range(6))
def test_points_follow_the_picture(seed):
    augment = data.Augment(flip=0.5, shift=0.15, zoom=0.3, turn=30)
    found = data.augmented(dot(14, 24), augment, torch.Generator().manual_seed(seed))
    assert torch.allclose(found["points"][0, 0], brightest(found["image"]), atol=0.6)


def test_a_mirrored_face_looks_the_other_way():
    batch = dot(10, 20)
    batch["truth"][0, [YAW, ROLL, LIGHT, AGE]] = torch.tensor([30.0, 10.0, -0.5, 44.0])
    batch["points"] = torch.tensor([[[8.0, 10], [30, 12], [20, 20], [12, 30], [28, 31]]])
    found = data.augmented(batch, data.Augment(flip=1.0), torch.Generator().manual_seed(0))
    assert found["truth"][0, [YAW, ROLL, LIGHT, AGE]].tolist() == [-30.0, -10.0, 0.5, 44.0]
    wanted = torch.tensor([[[9.0, 12], [31, 10], [19, 20], [11, 31], [27, 30]]])
    assert torch.allclose(found["points"], wanted, atol=1e-4)
    assert batch["truth"][0, YAW] == 30  # what was given stays


def test_turning_a_picture_adds_to_its_roll():
    batch = dot(30, 19)
    found = data.augmented(batch, data.Augment(turn=30), torch.Generator().manual_seed(3))
    x, y = (brightest(found["image"]) - 19.5).tolist()
    assert found["truth"][0, ROLL] == pytest.approx(np.degrees(np.arctan2(y, x)), abs=4)
    assert abs(found["truth"][0, ROLL]) > 5


def test_a_blur_is_added_to_the_one_that_is_there():
    """Standard deviations of Gaussian blurs add as squares do, in the picture and in its truth."""
    sigma = torch.tensor([0.0, 1.5])
    image = dot(20, 20)["image"].repeat(2, 1, 1, 1)
    once = data.blur_pictures(image, sigma)
    assert torch.allclose(once[0], image[0], atol=1e-4)
    twice = data.blur_pictures(once, sigma * 4 / 3)
    assert torch.allclose(twice[1], data.blur_pictures(image, sigma * 5 / 3)[1], atol=0.02)
    batch = dot(20, 20)
    batch["truth"][0, NAMES.index("blur")] = 0.6
    seen = [data.augmented(batch, data.Augment(blur=2.0), torch.Generator().manual_seed(seed)) for seed in range(8)]
    seen.sort(key=lambda found: float(found["truth"][0, NAMES.index("blur")]))
    peaks = [float(found["image"].max()) for found in seen]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] == pytest.approx(1) and peaks[-1] < 0.9


def test_the_blur_of_an_augmented_picture_is_the_renderers():
    from core import faces

    who = faces.person(2, "validation")
    soft, sharp = (torch.from_numpy(faces.draw(faces.Face(who, faces.look(who, 3, blur=blur)), 128).copy())
                   for blur in (0.4, 0.0))
    soft, sharp = (picture.permute(2, 0, 1)[None] / 127.5 - 1 for picture in (soft, sharp))
    errors = {share: float((data.blur_pictures(sharp, torch.tensor([share * 128 / BLUR_SCALE])) - soft).abs().mean())
              for share in (0.3, 0.4, 0.5)}
    assert min(errors, key=errors.get) == 0.4


def test_noise_and_jpeg_change_the_chosen_pictures_alone():
    image = torch.linspace(-1, 1, 24).expand(16, 3, 24, 24)
    for augment in (data.Augment(noise=0.2), data.Augment(jpeg=0.5)):
        found = data.degrade(image, augment, torch.Generator().manual_seed(0))
        changed = (found != image).flatten(1).any(1)
        assert 3 < changed.sum() < 13 and found.abs().max() <= 1 and (found - image).abs().mean() < 0.1


def test_light_and_colour_stay_in_range():
    augment = data.Augment(light=0.9, colour=0.9, grey=0.5)
    batch = {"image": torch.rand(16, 3, 8, 8) * 2 - 1, "truth": torch.zeros(16, 35), "points": torch.zeros(16, 5, 2)}
    image = data.augmented(batch, augment, torch.Generator().manual_seed(0))["image"]
    assert image.abs().max() <= 1
    grey = (image.std(1) < 1e-6).flatten(1).all(1)
    assert 0 < grey.sum() < 16


def test_a_folder_may_hold_every_kind_that_can_be_read(tmp_path):
    for person in ("a", "b"):
        (tmp_path / person).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / person / "one.BMP")
        Image.new("RGB", (9, 9)).save(tmp_path / person / "two.tiff")
        (tmp_path / person / "Thumbs.db").write_text("junk")
    assert data.folder(tmp_path, size=8).person.tolist() == [0, 0, 1, 1]


def test_a_folder_of_photos_gives_the_same_batches(tmp_path):
    for person in ("anna", "bert"):
        (tmp_path / person).mkdir()
        for number in range(2):
            colour = (200, 40 * number, 0 if person == "anna" else 255)
            Image.new("RGB", (50, 40), colour).save(tmp_path / person / f"{number}.png")
    photos = data.folder(tmp_path, size=24)
    batch = next(data.batches(photos, 4, seed=0))
    assert batch["image"].shape == (4, 3, 24, 24) and batch["person"].tolist() == [0, 0, 1, 1]
    assert batch["image"][2, 2].mean() == pytest.approx(1) and batch["truth"].isnan().all()


def test_drafts_of_a_data_set_that_is_being_made_are_no_people(tmp_path):
    for name in ("000000/0000.png", "000001/0000.png", ".images/draft.png", "000001/.half.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert data.folder(tmp_path, size=8).person.tolist() == [0, 1]


def test_a_bad_picture_is_named(tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "7.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"bert.7\.png"):
        data.folder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(FacetError, match="Give a folder"):
        data.folder(tmp_path)


def test_outputs_are_the_networks_own(drawn):
    mean = lambda x: {"mean": x.mean((1, 2, 3))}  # noqa: E731

    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))
            self.forward = mean

    rows = data.rows_of(drawn, np.arange(6))["image"]
    wanted = recognisable(rows).mean((1, 2, 3))
    assert torch.allclose(data.outputs(Mean(), drawn, batch=4)["mean"], wanted, atol=1e-6)
    assert torch.allclose(data.outputs(Mean(), rows, batch=4)["mean"], wanted, atol=1e-6)


def test_processes_draw_the_same_as_one(monkeypatch):
    monkeypatch.setattr(data, "BLOCK", 1)
    alone = data.drawn_set("test", people=3, looks=1, size=32, seed=1, workers=1)
    alone = np.array(alone.images)
    shutil.rmtree(data.cache_dir() / "drawn")
    together = data.drawn_set("test", people=3, looks=1, size=32, seed=1, workers=2)
    assert np.array_equal(alone, together.images)
