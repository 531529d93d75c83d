"""Teaching somebody in the pipeline `aging`: uploads looked over, lessons, stopping, waiting; small random networks."""

from dataclasses import replace
from pathlib import Path

import aging_toys
import numpy as np
import pytest
import torch
from aging_toys import photo, pixels, saved
from PIL import Image

from core import faces, words
from core.engine import waiting
from core.engine.result import last
from core.engine.waiting import Job, JobQueue, in_words
from core.errors import SettingsError
from core.systems.aging import teaching
from core.systems.aging.pipeline import fingerprint
from core.systems.aging.request import Wish
from core.systems.aging.teaching import free_token

system = aging_toys.system      # the fixture
OLD = Wish("photo of a person as old", seed=3, steps=3)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory) -> list[str]:
    """Five photos of one drawn person."""
    folder = tmp_path_factory.mktemp("uploads")
    return [saved(photo(4, look), folder / f"ann-{look}.png") for look in range(5)]


# --------------------------------------------------------------------------------------------------------- uploads

def test_good_uploads_are_cut_out_and_aligned(system, uploads):
    looked = system.checked(uploads)
    assert all(each.good and each.note == "" and each.vector.shape == (512,) for each in looked)
    assert {Image.open(each.picture).size for each in looked} == {(128, 128)}
    assert [each.path for each in looked] == uploads


def test_uploads_are_copied_for_their_owner(system, uploads):
    mine, yours = system.received(uploads), system.received(uploads)
    assert [Path(path).name for path in mine] == [Path(path).name for path in uploads]
    assert not set(mine) & set(yours) and Path(mine[0]).read_bytes() == Path(uploads[0]).read_bytes()


@pytest.mark.parametrize(("number", "look"), [(4, 1), (7, 1), (9, 2), (11, 3)])
def test_an_aligned_face_is_taken_as_it_is(system, number, look, tmp_path):
    """Its points would be found a little off, or not at all."""
    identity = faces.person(number, "test")
    face = faces.Face(identity, faces.look(identity, look, yaw=0.0, blur=0.0, exposure=0.0, sunglasses=0.0))
    shown, large = (Image.fromarray(faces.draw(face, size, "aligned")) for size in (128, 256))
    one, = system.checked([saved(shown, tmp_path / "aligned.png")])
    assert one.good and np.array_equal(pixels(one.picture), np.asarray(shown))
    again, = system.checked([one.picture])
    assert again.picture == one.picture and np.allclose(again.vector, one.vector, atol=1e-4)
    larger, = system.checked([saved(large, tmp_path / "larger.png")])
    assert abs(pixels(larger.picture) - np.asarray(large.reduce(2))).mean() < 4


def test_what_is_wrong_with_each_upload_is_said(system, uploads, tmp_path):
    whole = Path(uploads[0]).read_bytes()
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    saved(Image.new("RGB", (256, 256), "gray"), tmp_path / "nobody.png")
    saved(Image.open(uploads[1]).resize((200, 200)), tmp_path / "twice.jpg")
    names = ("text.png", "cut.png", "empty.png", "nobody.png", "twice.jpg", "nowhere.png")
    looked = system.checked([*uploads, *(tmp_path / name for name in names)])
    assert all(each.good for each in looked[:5])
    said = dict(zip(names, [each.problem for each in looked[5:]], strict=True))
    for name, part in zip(names, ("not a picture", "cut off", "empty", "No face", "same picture as ann-1.png",
                                  "could not be opened"), strict=True):
        assert part in said[name], said
    assert not any(each.good for each in looked[5:])


def test_of_several_faces_the_largest_is_taken_and_said_so(system, tmp_path):
    group = Image.new("RGB", (420, 280), (90, 110, 130))
    group.paste(photo(4, 1, 128), (10, 76))
    group.paste(photo(6, 1, 256), (150, 12))
    both, alone = system.checked([saved(group, tmp_path / "group.png"), saved(photo(6, 1, 256), tmp_path / "six.png")])
    assert both.picture and both.note == "2 faces are in it; the largest is taken."
    unit = [each.vector / np.linalg.norm(each.vector) for each in (both, alone)]
    assert unit[0] @ unit[1] > 0.8


def test_somebody_else_is_seen(system, uploads, tmp_path):
    others = [saved(photo(9, look), tmp_path / f"eve-{look}.png") for look in range(2)]
    looked = system.checked([others[0], *uploads, others[1]])
    assert [each.good for each in looked] == [False, True, True, True, True, True, False]
    assert all("another person than the others" in looked[at].problem for at in (0, 6))


def test_pictures_of_two_people_are_too_few_of_one(system, uploads, tmp_path):
    others = [saved(photo(9, look), tmp_path / f"eve-{look}.png") for look in range(3)]
    with pytest.raises(SettingsError, match="only 3 usable pictures of one person, and 5 to 20 are needed") as error:
        system.teach([*uploads[:3], *others])
    assert "another person" in error.value.next_step


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_pictures_are_refused(system, uploads, count):
    with pytest.raises(SettingsError, match="5 to 20 are needed"):
        system.teach(uploads[:count])


def test_more_than_twenty_are_left_out(system, uploads, monkeypatch):
    one, = system.checked(uploads[:1])
    monkeypatch.setattr(system, "_check_one", lambda path: replace(one, path=str(path)))
    monkeypatch.setattr("core.systems.aging.uploads._without_duplicate", lambda each, before: each)
    looked = system.checked([f"{number}.png" for number in range(22)])
    assert [each.good for each in looked] == [True] * 20 + [False] * 2
    assert "20 pictures are enough" in looked[21].problem


# -------------------------------------------------------------------------------------------------------- teaching

@pytest.mark.parametrize(("token", "taken", "wanted"), [
    (None, (), "wzx"), (None, ("wzx", "ams"), "sks"), ("ukj", ("wzx",), "ukj")])
def test_a_token_is_chosen_that_nobody_has(token, taken, wanted):
    assert free_token(token, taken) == wanted


@pytest.mark.parametrize(("token", "taken"), [("bob", ()), ("wzx", ("wzx",)), (None, words.RARE), (7, ())])
def test_a_token_that_can_not_be_had_is_refused(token, taken):
    with pytest.raises(SettingsError):
        free_token(token, taken)


def test_ages_that_look_the_same_are_named():
    assert teaching.alike((5, 20, 35, 45, 60, 80)) == ()
    said, = teaching.alike((5, 5.5, 35, 45, 60, 60))
    assert "same for this person: child and teenager, elderly and old." in said and "Train again" in said


def test_somebody_is_taught_and_drawn(system, uploads):
    news = list(system.teach(uploads, name="  Ann\nLee ", steps=8, seed=1, taken=("wzx",)))
    assert [each.step for each in news] == [0, *range(1, 9), *[8] * 4] and {each.steps for each in news} == {8}
    assert [each.subject is None for each in news] == [True] * 5 + [False] * 8
    assert [each.calibration for each in news] == [*[None] * 9, 1 / 3, 2 / 3, 1.0, 1.0]
    assert {each.notes for each in news[1:-1]} == {(teaching.UNCALIBRATED,)}
    assert news[-1].notes == teaching.alike(news[-1].subject.ages)
    assert all(each.subject.ages is None and each.adapter is None for each in news[5:-1])
    end = news[-1]
    assert len(end.subject.ages) == 6 and list(end.subject.ages) == sorted(end.subject.ages)
    assert all(len(curve) == 8 and np.isfinite(curve).all() for curve in end.losses.values())
    assert {"noise", "prior", "biometric"} == set(end.losses) and len(news[3].losses["noise"]) == 3
    assert Image.open(end.preview).size == (3 * 128 + 2 * 4, 128) and system.restored(end.preview) is None
    back = system.subject_file(end.adapter)
    assert (back.name, back.token, back.base, len(back.faces)) == ("Ann Lee", "sks", "tiny", 5)
    assert back.ages == end.subject.ages
    assert fingerprint(back) == fingerprint(end.subject)
    result = last(system.draw(replace(OLD, subject=back)))
    assert result.settings[0]["drawn"] == "photo of a sks person as old"
    assert -1 <= result.scores["similarity"][0] <= 1
    assert end.seconds > 0 and teaching.QUEUE._jobs == []


def test_stopping_keeps_what_was_learned(system, uploads):
    crops = [each.picture for each in system.checked(uploads)]
    lesson = system.teach(crops, steps=300, seed=1)
    for news in lesson:
        if news.subject is not None:
            break
    lesson.close()
    assert news.step < 20 and news.adapter is None
    assert last(system.draw(replace(OLD, subject=news.subject))).images
    assert system.subject_file(system.adapter(news.subject)).settings["taken"] == news.step
    assert teaching.QUEUE._jobs == []


def test_the_shared_networks_are_not_changed(system, uploads):
    before = {name: value.clone() for name, value in system.latent.unet.state_dict().items()}
    last(system.teach(uploads, steps=2, seed=1))
    assert all(torch.equal(value, before[name]) for name, value in system.latent.unet.state_dict().items())
    assert not any(weight.requires_grad for weight in system.latent.unet.parameters())


def test_one_at_a_time_and_the_wait_is_told(system, uploads, monkeypatch):
    monkeypatch.setattr(teaching, "QUEUE", JobQueue())
    crops = [each.picture for each in system.checked(uploads)]
    first, second = system.teach(crops, steps=6, seed=1), system.teach(crops, steps=2, seed=2)
    for _, news in zip(range(4), first, strict=False):
        assert news.waiting is None
    other = next(second)
    assert news.left == pytest.approx(other.waiting)
    assert other.waiting == pytest.approx((6 - news.step + teaching.CALIBRATION) * teaching.QUEUE.step_seconds)
    assert "your turn comes in about" in other.notes[0] and other.subject is None
    while news.calibration is None:
        news = next(first)
    left = (1 - news.calibration) * teaching.CALIBRATION
    assert next(second).waiting == pytest.approx(left * teaching.QUEUE.step_seconds, abs=teaching.QUEUE.step_seconds)
    first.close()
    assert last(second).adapter


@pytest.mark.parametrize("wrong", [dict(steps=0), dict(steps=True), dict(steps=float("nan")), dict(steps=1e30),
                                   dict(seed=float("nan")), dict(seed="x"), dict(token="bob"), dict(name=7)])
def test_wrong_settings_of_a_teaching_are_refused_before_it(system, uploads, wrong):
    with pytest.raises(SettingsError):
        system.teach(uploads, **wrong)


def test_a_queue_knows_whose_turn_it_is():
    queue, jobs = JobQueue(), [Job(steps) for steps in (100, 50, 10)]
    assert queue.wait(jobs[0]) is None and queue.wait(jobs[1]) and queue.wait(jobs[2])
    queue.stepped(jobs[0], 40, 20.0)                     # half a second a step
    assert [queue.wait(job) for job in jobs] == [None, 30.0, 55.0]
    assert [in_words(seconds) for seconds in (1, 31, 88, 100, 600)] == [
        "5 seconds", "30 seconds", "90 seconds", "2 minutes", "10 minutes"]


def test_a_caller_who_left_without_closing_loses_the_place_and_can_return(monkeypatch):
    monkeypatch.setattr(waiting, "POLL_S", 0.0)
    queue, busy = JobQueue(), []

    def work(name: str):
        def values(job):
            busy.append(name)
            yield from (f"{name}{number}" for number in range(3))
        return values

    first, second = (queue.run(3, work(name), lambda seconds: "waits") for name in "ab")
    assert [next(first), next(second)] == ["a0", "waits"]
    monkeypatch.setattr(waiting, "ABSENT_S", 0.0)       # from now on everybody who does not compute is gone
    assert next(second) == "b0" and busy == ["a", "b"]
    monkeypatch.setattr(waiting, "ABSENT_S", 60.0)
    assert next(first) == "waits"                       # another one computes by now
    assert [*second] == ["b1", "b2"]
    assert [*first] == ["a1", "a2"] and queue._jobs == []
