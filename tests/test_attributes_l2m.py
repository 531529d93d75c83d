"""L2M-GAN in the system `attributes`, with toy networks: edits of the picture itself, strengths and references."""

from pathlib import Path

import numpy as np
import pytest
from attribute_toys import FFHQ, SIZE, photo, pixels, replace_choice, shown, toy_checkout
from PIL import Image

from core import images, systems
from core.engine.result import last
from core.errors import CheckpointError, PictureError, SettingsError
from core.faces import NAMES
from core.systems.attributes.request import OF_LATENTS, SWITCHED, Compare, Edit, Strengths

GLASSES = NAMES.index("glasses")


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    with toy_checkout(tmp_path_factory.mktemp("attributes") / "checkpoints"):
        yield systems.load("attributes")


def test_l2m_gan_edits_the_picture_itself(system, tmp_path, monkeypatch):
    """Neither the encoder nor a latent takes part."""
    monkeypatch.setattr(type(system.networks), "invert", lambda *_: pytest.fail("inverted"))
    path = photo(tmp_path)
    for asked in ({"source": "photo", "file": path}, {"source": "example", "person": 3}):
        result = last(system.run(Edit(**asked, method="l2m", smile=1.0)))
        before, = shown(result, "source")
        assert np.array_equal(before, system.sources.picture_of(Edit(**asked))[0])
        assert np.any(shown(result, "edit")[0] != before) and "latent" not in str(result.settings[0].keys())
        ideal = ["ideal"] * ("person" in asked)
        assert [kept["shown"] for kept in result.settings] == ["edit", "source", *ideal]


def test_an_l2m_edit_of_a_photo_comes_back_without_the_photo(system, tmp_path):
    path = photo(tmp_path)
    for asked in (Edit(method="l2m", glasses=1.0, source="photo", file=path),
                  Compare(glasses=1.0, source="photo", file=path)):
        result = last(system.run(asked))
        at = next(at for at, kept in enumerate(result.settings) if kept.get("method") == "l2m")
        again = last(system.run(system.restored(result.images[at]).request))
        assert np.array_equal(pixels(again.images[at]), pixels(result.images[at])) and again.total == result.total


def test_a_picture_of_another_size_is_refused(system):
    for wrong in (np.zeros((32, 32, 3), np.uint8), np.zeros((SIZE, SIZE, 3), np.float32)):
        with pytest.raises(SettingsError, match="shape"):
            last(system.run(Edit(source="photo", method="l2m", pixels=wrong)))


def test_strength_zero_reconstructs_and_one_edits(system):
    result = last(system.run(Strengths(seed=7, smile=1.0, glasses=1.0, method="l2m", first=0, last=1.5, count=4)))
    assert [kept["strength"] for kept in result.settings[:4]] == [0, 0.5, 1, 1.5]
    source, editor = system.source(Edit(seed=7)), system.networks.l2m
    domain = editor._domain({name: editor.has(source.seen.units, name) for name in editor.attributes})
    own = editor.network(system.networks.tensor(source.picture), domain, domain, 0.0)
    assert abs(pixels(result.images[0]) - images.to_uint8(own)[0]).max() <= 1
    single = last(system.run(Edit(seed=7, smile=1.0, glasses=1.0, method="l2m")))
    assert np.array_equal(pixels(single.images[0]), pixels(result.images[2]))
    assert all(0 <= kept["angle"] <= 180 for kept in result.settings[:4])
    assert Image.open(system.files(result)["strip"]).size == (4 * (SIZE + 4) - 4, SIZE)


def test_an_attribute_that_is_there_already_is_explained(system):
    now = {name: float(system.networks.l2m.has(system.source(Edit(seed=7)).seen.units, name)) for name in SWITCHED}
    result = last(system.run(Edit(seed=7, method="l2m", **now)))
    assert result.notes == ("L2M-GAN knows an attribute as there or not, and smile, glasses are already as asked.",)
    assert result.settings[0]["asked"] == now


def test_the_other_methods_are_shown_where_l2m_gan_can_not_take_part(system):
    result = last(system.run(Compare(seed=7, smile=1.0, age=70.0)))
    assert [kept.get("method") for kept in result.settings] == [*OF_LATENTS, None]
    assert "L2M-GAN is left out. age can't be asked" in result.notes[0]


def test_a_comparison_shows_the_picture_and_its_inversion(system):
    result = last(system.run(Compare(source="example", person=3, smile=1.0)))
    assert [kept["shown"] for kept in result.settings] == ["edit"] * 4 + ["source", "original", "ideal"]
    assert result.total == 7
    part = last(system.run(Compare(source="example", person=3, smile=0.7)))     # the others take values between
    assert [kept["asked"]["smile"] for kept in part.settings if kept["asked"]] == [0.7, 0.7, 0.7, 1.0, 0.7]
    alone = last(system.run(Edit(source="example", person=3, smile=1.0, method="l2m")))
    assert np.array_equal(shown(alone, "edit")[0], shown(result, "edit")[3])


def test_a_painted_region_stays_in_an_l2m_edit(system):
    frozen = np.zeros((SIZE, SIZE), bool)
    frozen[20:50, 10:30] = True
    result = last(system.run(Edit(seed=5, smile=1.0, method="l2m", frozen=frozen)))
    change = abs(shown(result, "edit")[0] - shown(result, "source")[0])
    assert change[frozen].max() == 0 < change[:, 45:].max()


@pytest.fixture
def references(system, tmp_path, monkeypatch) -> dict[bool, str]:
    """A picture with glasses and one without, as the toy judge sees them; the face of seed 7 has none."""
    sources = sorted((system.source(Edit(seed=seed)) for seed in (7, *range(20))),
                     key=lambda source: float(source.seen.units[0, GLASSES]))
    border = float(max(sources[-2].seen.units[0, GLASSES], system.source(Edit(seed=7)).seen.units[0, GLASSES]))
    monkeypatch.setattr("core.systems.attributes.methods.l2m_gan.THERE", border)
    monkeypatch.setattr("core.photos.is_aligned", lambda picture: True)
    for there, source in enumerate((sources[0], sources[-1])):
        Image.fromarray(source.picture).save(tmp_path / f"{there}.png")
    return {there: str(tmp_path / f"{there:d}.png") for there in (False, True)}


def test_a_reference_passes_its_attribute_on(system, references):
    now = False
    asked = Edit(seed=7, method="l2m", glasses_reference=references[not now], smile=1.0)
    result = last(system.run(asked))
    assert result.settings[0]["asked"]["glasses"] == float(not now)
    assert [*result.settings[0]["references"]] == ["glasses"]
    plain = last(system.run(Edit(seed=7, method="l2m", glasses=float(not now), smile=1.0)))
    assert np.any(pixels(result.images[0]) != pixels(plain.images[0]))
    Path(references[True]).unlink()
    again = last(system.run(system.restored(result.images[0]).request))         # the reference is in the picture
    assert np.array_equal(pixels(again.images[0]), pixels(result.images[0]))
    assert str(references[not now]) not in str(result.settings)


def test_a_reference_of_the_wrong_domain_is_explained(system, references):
    now = False
    with pytest.raises(SettingsError, match=f"reference for glasses has glasses {now:d}, and so has the face") as error:
        system.run(Edit(seed=7, method="l2m", glasses_reference=references[now]))
    assert error.value.next_step == f"Choose a reference with glasses {not now:d}."
    with pytest.raises(SettingsError, match=f"has glasses {not now:d}, and {now:d} is asked"):
        system.run(Edit(seed=7, method="l2m", glasses=float(now), glasses_reference=references[not now]))
    with pytest.raises(PictureError):
        system.run(Edit(seed=7, method="l2m", glasses_reference="nothing.png"))


def test_the_published_l2m_gan_is_imported_by_its_holders(system, monkeypatch):
    networks = replace_choice(system, l2m=FFHQ.l2m, domains=FFHQ.domains)
    with pytest.raises(CheckpointError, match="can't edit before l2m-gan") as error:
        assert networks.l2m
    assert "import l2m-gan FILE" in error.value.next_step
