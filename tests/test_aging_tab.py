"""What the tab `aging` says and draws without a browser: plots, the line of those who wait, whose a person is."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from core import systems
from core.engine.result import Dropped, Restored, Result
from core.errors import CheckpointError, SettingsError
from core.systems.aging import prompts
from core.systems.aging.request import Wish
from core.systems.aging.results import Checked, Taught
from core.systems.aging.teaching import UNSEEN
from spaces import aging, aging_people, aging_restore, aging_teach, charts, line
from spaces.aging_people import Own
from spaces.aging_wish import ALL, NAMES, Asking
from spaces.line import Line


def subject(name: str = "Anna", base: str = "tiny") -> SimpleNamespace:
    return SimpleNamespace(name=name, token="wzx", base=base, settings={}, portrait=np.zeros((8, 8, 3), np.uint8))


@pytest.fixture
def shipped(monkeypatch):
    """A pipeline with two people who ship, and nothing else."""
    system = SimpleNamespace(subjects=(subject("One"), subject("Two")), forgotten=[],
                             adapter=lambda somebody: f"{somebody.name}.safetensors")
    system.forget = system.forgotten.append
    monkeypatch.setattr(systems, "load", lambda name, checkpoint=None: system)
    return system


# ------------------------------------------------------------------------------------------------------------ plots

def test_a_strip_is_plotted_with_what_is_known():
    drawn = charts.ages(["Child", "<b>Old</b>"], [9.4, None], [0.7, 1.2], [(0, 15), (65, 200)])
    assert drawn.count("<i style=\"bottom:100.0%\"></i>") == 1      # beyond the upper edge: at it
    assert "Child: 9 years" in drawn and "unknown, similarity 1.20" in drawn
    assert "<b>Old</b>" not in drawn
    assert drawn.count("height:") == 2


def test_losses_become_a_line_each():
    drawn = charts.curves({"noise": list(np.linspace(1, 0.1, 5000)), "prior": [1.0], "other": [2.0, 1.0]}, 6000)
    assert drawn.count("<polyline") == 2        # one point is no line
    assert len(drawn) < 8000


def test_a_running_mean_is_not_pulled_to_zero():
    assert charts.smooth([2.0] * 5) == pytest.approx([2.0] * 5)


# ---------------------------------------------------------------------------------------------------- who waits

def test_who_waits_is_told_for_what_and_how_long():
    waiting = Line()
    assert waiting.wait("me", 90) == ""
    work = waiting.turn("you", "Somebody is being taught", 60.0, iter_of(3), left=lambda value: 100.0)
    next(work)
    assert waiting.wait("me", 90) == "Somebody is being taught. Your turn comes in about 2 minutes."
    assert "and 1 more waits before you. Your turn comes in about 3 minutes" in waiting.wait("third", 5)
    assert waiting.wait("you", 5) == ""         # their own
    assert waiting.wait("stranger") == ""       # never asked for a turn
    work.close()
    assert waiting.wait("me") == ""


def test_a_turn_that_ends_in_an_error_is_over():
    waiting = Line()

    def broken():
        yield 1
        raise SettingsError("It broke.")

    with pytest.raises(SettingsError, match="It broke"):
        list(waiting.turn("you", "Work", 60.0, broken()))
    assert waiting.wait("me", 5) == ""


def test_lengths_of_time_are_about_right():
    said = [line.lasting(seconds) for seconds in (3, 42, 100)]
    assert said == ["a few seconds", "about 40 seconds", "about 2 minutes"]


def iter_of(count: int):
    yield from range(count)


# ----------------------------------------------------------------------------------------------------- the tab

def test_the_ages_have_names_for_people():
    assert tuple(NAMES) == prompts.AGES


def test_a_prompt_that_names_an_age_is_not_drawn_at_all_six():
    with gr.Blocks():
        asking = Asking()
    assert asking.reread(ALL, "photo of a wzx person") == ALL
    assert asking.reread(ALL, "photo of a wzx person as old") == "old"
    assert asking.reread("child", "photo of a wzx person, smiling") is None
    older = asking.at_age("old", "photo of a wzx person as child, sad")
    assert older[asking.prompt] == "photo of a wzx person as old, sad"
    assert asking.at_age(ALL, "photo of a wzx person as child")[asking.prompt] == "photo of a wzx person"


def test_only_people_of_the_checkpoint_can_be_picked(shipped):
    mine = (Own(subject("Anna"), "a"), Own(subject("Ben", "sd14"), "b"))
    assert [each.name for each in aging_people.everybody("tiny", mine)] == ["One", "Two", "Anna"]
    with pytest.raises(SettingsError, match="no longer here"):
        aging_people.picked("tiny", (), 2)
    shipped.subjects = ()
    assert aging_people.picked("sd14", (), 0) is None


def test_a_visitors_files_are_deleted_with_the_session(shipped, tmp_path):
    adapter, upload, crop = (tmp_path / name for name in ("a", "b", "c"))
    for path in (adapter, upload, crop):
        path.write_text("x")
    aging_people.forget((Own(anna := subject(), str(adapter)),))
    assert shipped.forgotten == [anna]      # nor is the denoiser that knows her kept
    aging_teach.discard((Checked(str(upload), str(crop)), Checked(str(upload))))
    assert list(tmp_path.iterdir()) == []


def test_a_file_can_not_bring_markup_to_the_page():
    anna = subject("<i>Anna</i>")
    anna.settings = {"pictures": "<img src=x onerror=alert(1)>"}
    assert "<img" not in aging_people.described(anna, True) and "<i>" not in aging_people.described(anna, True)
    anna.settings = {"pictures": 7}
    assert "taught with 7 pictures" in aging_people.described(anna, True)


def test_who_was_taught_joins_those_who_are_there_by_then(shipped):
    """Not those who were there when teaching began: some were forgotten meanwhile, others came."""
    with gr.Blocks():
        tab = aging.Tab()
    anna, ben = Own(subject("Anna"), "a"), Own(subject("Ben"), "b")
    people, teaching = tab.people, tab.teaching
    people.prompt, people.turn = tab.asking.prompt, tab.asking.turn
    assert teaching.join(None, (ben,), "tiny", "") == {teaching.learnt: gr.skip()}
    changed = teaching.join(anna, (ben,), "tiny", "photo of a sks person")
    assert changed[people.mine] == (ben, anna) and changed[people.at] == 3 and changed[teaching.learnt] is None
    assert changed[people.prompt] == "photo of a wzx person"
    assert teaching.join(anna, (ben,), "sd14", "") == {teaching.learnt: None, people.mine: (ben, anna)}


def test_it_is_said_when_it_is_looked_where_the_ages_lie_and_when_it_was_not(shipped):
    with gr.Blocks():
        teaching = aging.Tab().teaching
    taught = Taught(8, 8, {"noise": [1.0] * 8}, "old.png", subject("Anna"), "a", looked=0.4)
    shown = teaching.learning(taught)
    assert "where the six ages lie" in shown[teaching.status] and "--share:40.0%" in shown[teaching.status]
    assert teaching.curve not in shown and teaching.preview not in shown
    assert teaching.learned(taught, "tiny")[teaching.notice] == ""
    stopped = teaching.learned(replace(taught, notes=(UNSEEN,), preview="new.png"), "tiny")
    assert UNSEEN in stopped[teaching.notice] and stopped[teaching.preview]["value"] == "new.png"


def test_an_adapter_file_that_grew_old_is_written_anew(shipped, tmp_path):
    with gr.Blocks():
        people = aging.Tab().people
    (tmp_path / "there").write_text("x")
    for file, wanted in ((str(tmp_path / "there"), str(tmp_path / "there")), ("gone", "Anna.safetensors")):
        shown = people.shown("tiny", (Own(subject("Anna"), file),), 2)
        assert shown[people.adapter]["value"] == wanted and people.mine not in shown


def test_finished_pictures_stay_while_others_come(shipped):
    """Batches are of eight: of more pictures the first are there while the rest come out of the noise."""
    shipped.zip = lambda result: f"{len(result.images)}.zip"
    scores = {"similarity": (0.5,), "years": (40.0,), "quality": (0.9,)}
    there = Result(("a.png",), ("next.png",), (5,), ({"seed": 5},), scores)
    with gr.Blocks():
        tab = aging.Tab()
    shown = aging.Shown(there, None, strip=False)
    assert [path for path, _ in aging.tiles(shown)["value"]] == ["a.png", "next.png"]
    halted = tab.halted("Stopped", shown, "tiny")
    assert (halted[tab.zip]["value"], halted[tab.zip]["interactive"]) == ("1.zip", True)
    shown = replace(shown, result=Result(previews=("next.png",)))
    assert tab.halted("Stopped", shown, "tiny")[tab.zip]["value"] is None


def test_a_picture_of_nobody_does_not_come_back_as_somebody():
    kept = Restored(Wish("photo of a person"), "tiny")
    assert "nobody in particular" in aging_restore.said(kept, None, "tiny", able=True, somebody=True)
    assert "nobody" not in aging_restore.said(kept, None, "sd14", able=True, somebody=False)
    assert "nobody" not in aging_restore.said(replace(kept, adapter="ab"), 0, "tiny", able=True, somebody=True)


def test_stop_ends_what_is_under_way_though_something_newer_waits():
    waiting = Line()
    work = waiting.turn("you", "Work", 60.0, iter_of(3), job="first")
    next(work)
    assert waiting.halt("you", "second") and waiting.stopped("first") and waiting.stopped("second")
    work.close()
    assert not waiting.halt("you", "third")


def test_states_of_visitors_are_private_and_end():
    with gr.Blocks():
        tab = aging.Tab()
    for state in (tab.people.mine, tab.teaching.pictures):
        assert state.time_to_live < 24 * 3600
        assert state.delete_callback is not None


def test_what_is_wrong_with_pictures_is_said_without_markup():
    said = aging_teach.problems([Checked("/x/<b>.png", problem="No face <i>."), Checked("ok.png", "crop.png")])
    assert "1 of 2 can be used, 4 more are needed" in said
    assert "<i>" not in said and "&lt;b&gt;.png" in said
    assert aging_teach.problems(()) == ""


def test_dropped_pictures_are_named():
    with gr.Blocks():
        tab = aging.Tab()
    changed = tab.left_out(Result(dropped=(Dropped(None, 7, "old", "withheld by the safety checker"),)))
    assert "seed 7" in changed[tab.why] and "withheld" in changed[tab.why]
    assert changed[tab.dropped]["visible"] is True
    assert changed[tab.outcasts]["visible"] is False


def test_networks_that_are_missing_are_said_on_the_page(monkeypatch):
    def missing(system: str, checkpoint: str | None = None):
        raise CheckpointError("aging-unet-tiny is missing.", "Bring it back.")

    with gr.Blocks():
        tab = aging.Tab()
    monkeypatch.setattr(systems, "load", missing)
    assert "aging-unet-tiny is missing." in tab.open(None, (), 0, "tiny")[tab.notice]
    asked = ("old", "photo of a wzx person as old", "", 20, "dpm", 5.0, 0.0, 1, 1, 0.0)
    drawn = list(tab.draw((), 0, "tiny", *asked, "turn", request=None))
    assert "aging-unet-tiny is missing." in drawn[-1][tab.notice]
    assert drawn[-1][tab.asking.stop]["visible"] is False


def test_teaching_offers_as_many_steps_as_the_preset_takes():
    from core.training.dreambooth import PRESETS

    assert PRESETS["tiny"].steps == aging_teach.USUAL
