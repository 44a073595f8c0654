"""Pictures of a slow back end outlive the run that made them, and damage is no answer."""

import pytest

from camaudit.data.generation.originals import Originals
from tests.data.generation.doubles import Painter, make
from tests.data.sets import contents


def test_an_interrupted_run_goes_on(tmp_path):
    backend = Painter()
    paint = backend.generate

    def stopping(request):
        if len(backend.asked) == 2:
            raise KeyboardInterrupt
        return paint(request)

    backend.generate = stopping
    with pytest.raises(KeyboardInterrupt):
        make(Originals(backend, tmp_path / "kept"), tmp_path / "set")
    backend = Painter()
    make(Originals(backend, tmp_path / "kept"), tmp_path / "set")
    assert len(backend.asked) == 1
    make(Painter(), tmp_path / "whole")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["torn", "no JSON", "other", "missing", "no object"])
def test_damaged_ones_are_made_again(tmp_path, damage):
    make(Originals(Painter(), tmp_path / "kept"), tmp_path / "set", classes="a")
    (record,) = (tmp_path / "kept" / "originals").glob("*.json")
    picture = record.with_suffix(".bin")
    if damage == "torn":
        picture.write_bytes(picture.read_bytes()[:100])
    elif damage == "missing":
        picture.unlink()
    elif damage == "other":
        record.write_text(record.read_text().replace("A photo", "A drawing"))
    else:
        record.write_text({"no JSON": "{", "no object": "[1]"}[damage])
    backend = Painter()
    make(Originals(backend, tmp_path / "kept"), tmp_path / "set", classes="a", force=True)
    assert len(backend.asked) == 1
