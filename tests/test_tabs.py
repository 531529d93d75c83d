"""The tabs without a browser: opening, running, the queues, plots, whose a person is."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from core import systems
from core.engine.result import Dropped, Restored, Result
from core.errors import CheckpointError, SettingsError
from core.systems.aging import prompts
from core.systems.aging.request import Draw
from core.systems.aging.results import Checked, Taught
from core.systems.aging.teaching import UNCALIBRATED
from core.systems.vectors import request as vectors_request
from core.systems.vectors.request import Source
from spaces import aging, aging_people, aging_restore, aging_teach, charts, queue, vectors, widgets
from spaces.aging_people import Own
from spaces.aging_wish import ALL, NAMES, Asking
from spaces.queue import FORGET_S, Queue
from spaces.tab import Shown


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

def test_a_waiting_page_reads_its_position_and_an_estimate():
    waiting = Queue()
    assert waiting.message("me", 90) == ""
    work = waiting.run("you", "Work", 60.0, iter_of(3), remaining=lambda value: 100.0)
    next(work)
    assert waiting.message("me", 90) == "Work. You are number 1 in the queue: about 2 minutes."
    assert "number 2 in the queue: about 3 minutes" in waiting.message("third", 5)
    assert waiting.message("you", 5) == ""         # its own
    assert waiting.message("stranger") == ""       # holds no ticket
    work.close()
    assert waiting.message("me") == ""


def test_the_queue_forgets_pages_that_do_not_come_back(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(queue, "monotonic", lambda: now[0])
    waiting = Queue()
    next(work := waiting.run("you", "Work", 1e5, iter_of(3)))
    for number in range(50):
        waiting.message(f"page {number}", 10)
    now[0] = FORGET_S + 1
    assert "number 1 " in waiting.message("me", 5)
    assert list(waiting._tickets) == ["me"]
    work.close()


def test_a_job_that_ends_in_an_error_is_over():
    waiting = Queue()

    def broken():
        yield 1
        raise SettingsError("It broke.")

    with pytest.raises(SettingsError, match="It broke"):
        list(waiting.run("you", "Work", 60.0, broken()))
    assert waiting.message("me", 5) == ""


def test_lengths_of_time_are_about_right():
    said = [queue.duration(seconds) for seconds in (3, 42, 100, 9999)]
    assert said == ["a few seconds", "about 40 seconds", "about 2 minutes", "more than 20 minutes"]


def iter_of(count: int):
    yield from range(count)


# ----------------------------------------------------------------------------------------------------- the tab

def test_the_ages_have_names_for_people():
    assert tuple(NAMES) == prompts.AGES


def test_a_prompt_that_names_an_age_is_not_drawn_at_all_six():
    with gr.Blocks():
        asking = Asking(gr.State(""))
    assert asking.reread(ALL, "photo of a wzx person") == ALL
    assert asking.reread(ALL, "photo of a wzx person as old") == "old"
    assert asking.reread("child", "photo of a wzx person, smiling") is None
    older = asking.at_age("old", "photo of a wzx person as child, sad")
    assert older[asking.prompt] == "photo of a wzx person as old, sad"
    assert asking.at_age(ALL, "photo of a wzx person as child")[asking.prompt] == "photo of a wzx person"


def test_only_people_of_the_checkpoint_can_be_picked(shipped):
    mine = (Own(subject("Anna"), "a"), Own(subject("Ben", "sd14"), "b"))
    assert [each.name for each in aging_people.all_people("tiny", mine)] == ["One", "Two", "Anna"]
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
    assert "trained with 7 pictures" in aging_people.described(anna, True)


def test_who_was_taught_joins_those_who_are_there_by_then(shipped):
    """Not those who were there when teaching began: some were forgotten meanwhile, others came."""
    with gr.Blocks():
        tab = aging.Tab()
    anna, ben = Own(subject("Anna"), "a"), Own(subject("Ben"), "b")
    people, teaching = tab.people, tab.training
    people.prompt = tab.asking.prompt
    assert teaching.join(None, (ben,), "tiny", "") == {teaching.learnt: gr.skip()}
    changed = teaching.join(anna, (ben,), "tiny", "photo of a sks person")
    assert changed[people.mine] == (ben, anna) and changed[people.at] == 3 and changed[teaching.learnt] is None
    assert changed[people.prompt] == "photo of a wzx person"
    assert teaching.join(anna, (ben,), "sd14", "") == {teaching.learnt: None, people.mine: (ben, anna)}


def test_it_is_said_when_it_is_looked_where_the_ages_lie_and_when_it_was_not(shipped):
    with gr.Blocks():
        teaching = aging.Tab().training
    taught = Taught(8, 8, {"noise": [1.0] * 8}, "old.png", subject("Anna"), "a", calibration=0.4)
    shown = teaching.learning(taught)
    assert "Calibrating ages" in shown[teaching.status] and "--share:40.0%" in shown[teaching.status]
    assert teaching.curve not in shown and teaching.preview not in shown
    assert teaching.learned(taught, "tiny")[teaching.notice] == ""
    stopped = teaching.learned(replace(taught, notes=(UNCALIBRATED,), preview="new.png"), "tiny")
    assert UNCALIBRATED in stopped[teaching.notice] and stopped[teaching.preview]["value"] == "new.png"


def test_an_adapter_file_that_grew_old_is_written_anew(shipped, tmp_path):
    with gr.Blocks():
        people = aging.Tab().people
    (tmp_path / "there").write_text("x")
    for file, wanted in ((str(tmp_path / "there"), str(tmp_path / "there")), ("gone", "Anna.safetensors")):
        shown = people.shown("tiny", (Own(subject("Anna"), file),), 2)
        assert shown[people.adapter]["value"] == wanted and people.mine not in shown


def test_finished_pictures_stay_while_others_come(shipped):
    """Batches are of eight: of more pictures the first are there while the rest come out of the noise."""
    shipped.files = lambda result: {"zip": f"{len(result.images)}.zip"}
    scores = {"similarity": (0.5,), "years": (40.0,), "quality": (0.9,)}
    there = Result(("a.png",), ("next.png",), (5,), ({"seed": 5},), scores)
    with gr.Blocks():
        tab = aging.Tab()
    shown = Shown(there, Draw("photo of a person"), "tiny")
    assert [path for path, _ in aging.tiles(shown)["value"]] == ["a.png", "next.png"]
    halted = tab.ended(shown, "Stopped", stopped=True)
    assert (halted[tab.files["zip"]]["value"], halted[tab.files["zip"]]["interactive"]) == ("1.zip", True)
    shown = replace(shown, result=Result(previews=("next.png",)))
    assert tab.ended(shown, "Stopped", stopped=True)[tab.files["zip"]]["value"] is None


def test_a_picture_of_nobody_does_not_come_back_as_somebody():
    kept = Restored(Draw("photo of a person"), "tiny")
    assert "no particular person" in aging_restore.limits(kept, None, able=True, has_people=True)
    assert aging_restore.limits(kept, None, able=True, has_people=False) == ""
    assert aging_restore.limits(replace(kept, adapter="ab"), 0, able=True, has_people=True) == ""


def test_stop_ends_what_is_under_way_though_something_newer_waits():
    waiting = Queue()
    work = waiting.run("you", "Work", 60.0, iter_of(3), job="first")
    next(work)
    assert waiting.stop_page("you", "second") and waiting.is_stopped("first") and waiting.is_stopped("second")
    work.close()
    assert not waiting.stop_page("you", "third")


def test_states_of_visitors_are_private_and_end():
    with gr.Blocks():
        tab = aging.Tab()
    for state in (tab.people.mine, tab.training.pictures):
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


@pytest.mark.parametrize("module", [vectors, aging])
def test_networks_that_are_missing_are_said_on_the_page(module, monkeypatch):
    def missing(system: str, checkpoint: str | None = None):
        raise CheckpointError("The network is missing.", "Bring it back.")

    with gr.Blocks():
        tab = module.Tab()
    monkeypatch.setattr(systems, "load", missing)
    values = {name: widget.value for name, widget in tab.inputs.items()} | {"checkpoint": "tiny"}
    for changed in (tab.open(None, **values), [*tab.draw("run", request=None, **values)][-1]):
        assert "The network is missing." in changed[tab.notice] and changed[tab.stop]["visible"] is False
    assert "The network is missing." in tab.describe("tiny")[tab.footer]


def test_teaching_offers_as_many_steps_as_the_preset_takes():
    from core.training.dreambooth import PRESETS

    assert PRESETS["tiny"].steps == aging_teach.USUAL


# ------------------------------------------------------------------------------------------------- opening, errors

@pytest.mark.parametrize("module", [vectors, aging])
def test_ready_pictures_are_shown_without_a_turn(module, monkeypatch):
    """They need no place in the queue; only where they are not ready a run is started."""
    ready = [opening(module)]
    system = SimpleNamespace(opening=opening_request(module), opening_result=ready[0], subjects=(subject(),),
                             about=dict.fromkeys(("checkpoint", "sha256", "kernel", "device", "version", "torch",
                                                  "judge", "embedder"), "x"),
                             files=lambda result: {"zip": "a.zip"}, npy=lambda vectors: "a.npy",
                             strip=lambda vector: "s.png", solvers=("dpm",))
    monkeypatch.setattr(systems, "load", lambda name, checkpoint=None: system)
    with gr.Blocks():
        tab = module.Tab()
    values = {name: widget.value for name, widget in tab.inputs.items()} | {"checkpoint": "tiny"}
    changed = tab.open(None, **values)
    assert tab.run not in changed and changed[tab.shown].result is ready[0]
    assert changed[tab.gallery]["value"][0][0] == "a.png"
    assert tab.open(changed[tab.shown], **values) == {tab.footer: gr.skip()}
    system.opening_result = None
    assert tab.gallery not in (later := tab.open(None, **values)) and later[tab.run]


def opening(module) -> Result:
    kept = {"similarity": 0.5, "seed": 1, "sigma": 0.0, "source": "photo", "label": "", "steps": 20, "guidance": 7.5,
            "solver": "dpm"}
    return Result(("a.png",), seeds=(1,), settings=(kept,), total=1, vectors=np.zeros((1, 512)),
                  scores={"similarity": (0.5,), "years": (40.0,), "quality": (0.9,)})


def opening_request(module):
    from core.systems.vectors import request

    return lambda: Draw("photo of a person") if module is aging else request.Draw()


def test_lessons_have_a_queue_of_their_own():
    """The opening and the pictures of a page never wait for the training of a person."""
    import app

    page = app.page()
    groups = {function.name: function.concurrency_id for function in page.fns.values()}
    assert groups["draw"] == "gpu" and groups["aging_teach"] == groups["teach"] == "lesson"
    assert groups["open"] not in ("gpu", "lesson")


def test_a_photo_without_a_face_leaves_no_other_persons_pictures():
    with gr.Blocks():
        tab = vectors.Tab()
    changed = tab.sources.without_face(SettingsError("No face was found."), tab.sources.chosen.value)
    assert changed[tab.gallery]["value"] is None and changed[tab.shown] is None
    assert changed[tab.detail]["visible"] is False and changed[tab.files["zip"]]["interactive"] is False
    assert "No face was found." in changed[tab.notice]


def test_a_face_is_shown_beside_the_photo_that_it_came_from(tmp_path):
    Image.new("RGB", (112, 112)).save(tmp_path / "photo.png")
    photo = Source("photo", np.zeros(512, np.float32), str(tmp_path / "photo.png"))
    pair = vectors.pair_of(vectors_request.Draw(faces=(photo,)), "made.png")
    assert pair["value"] == [(photo.picture, "Photo"), ("made.png", "From its vector")] and pair["visible"]
    for faces in ((), (Source("vector", photo.vector),), (replace(photo, picture=str(tmp_path / "deleted.png")),)):
        assert vectors.pair_of(vectors_request.Draw(faces=faces), "made.png")["visible"] is False


@pytest.mark.parametrize("module", [vectors, aging])
def test_a_run_removes_the_error_before_it(module, monkeypatch):
    with gr.Blocks():
        tab = module.Tab()
    values = {name: widget.value for name, widget in tab.inputs.items()} | {"checkpoint": "tiny"}
    assert next(tab.draw("run", request=None, **values))[tab.notice] == ""
    assert tab.notice not in next(tab.draw(widgets.new_run_id_with_notice(), request=None, **values))
    monkeypatch.setattr(tab, "wanted", lambda **values: (_ for _ in ()).throw(SettingsError("Wrong.")))
    only, = tab.draw("run", request=None, **values)
    assert "Wrong." in only[tab.notice] and only[tab.generate]["visible"] is True
