"""Data sets of Hugging Face as `save_to_disk` writes them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camaudit.data.collecting import collect
from camaudit.data.rows import RowPhoto
from camaudit.errors import ImageError, MissingExtraError, UsageError

LABELS = [1, 0, -1, 1]


def png(seed: int) -> bytes:
    drawn = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    return buffer.getvalue()


def table(**more: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    columns: dict[str, Any] = {
        "image": [{"bytes": png(seed), "path": None} for seed in range(len(LABELS))],
        "label": LABELS,
    }
    for name, (kind, values) in more.items():
        features[name] = kind
        columns[name] = values
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table().save_to_disk(tmp_path / "rows")
    return tmp_path / "rows"


def test_rows_are_photographs_with_the_classes_names(folder: Path) -> None:
    found = collect(f"hf:{folder}")
    assert [(p.id, p.label_name) for p in found.photos] == [
        ("row-0", "dog"), ("row-1", "cat"), ("row-3", "dog"),
    ]  # fmt: skip
    assert [photo.read() for photo in found.photos] == [png(0), png(1), png(3)]
    assert found.skipped == (("*", "1 × no class, where other rows have one"),)


def test_images_may_lie_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(5))
    named = [{"bytes": None, "path": str(tmp_path / name)} for name in ("a.png", "gone.png")]
    rows = [RowPhoto(f"row-{n}", tmp_path, column=[*named, None], row=n) for n in range(4)]
    assert rows[0].read() == png(5)
    for row, message in ((1, "no such file"), (2, "no image"), (3, "cannot be read: list index")):
        with pytest.raises(ImageError, match=message):
            rows[row].read()


def test_splits_are_named(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    both = datasets.DatasetDict({"train": table(), "test": table().select([1])})
    both.save_to_disk(tmp_path / "rows")
    assert len(collect(f"hf:{tmp_path / 'rows'}(split=test)").photos) == 1
    with pytest.raises(UsageError, match=r"has the splits train, test: name one"):
        collect(f"hf:{tmp_path / 'rows'}")
    with pytest.raises(UsageError, match="has the splits"):
        collect(f"hf:{tmp_path / 'rows'}(split=val)")
    datasets.DatasetDict({"only": table()}).save_to_disk(tmp_path / "one")
    assert len(collect(f"hf:{tmp_path / 'one'}").photos) == 3


def test_columns_are_named_where_there_are_several(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    seen = [{"bytes": png(9), "path": None}] * len(LABELS)
    kinds = ["a", "b", None, "a"]
    made = table(other=(datasets.Image(), seen), kind=(datasets.Value("string"), kinds))
    made.save_to_disk(tmp_path / "rows")
    with pytest.raises(UsageError, match=r"several columns could be the image: image, other"):
        collect(f"hf:{tmp_path / 'rows'}")
    found = collect(f"hf:{tmp_path / 'rows'}( image=other, label = kind )")
    assert [photo.label_name for photo in found.photos] == ["a", "b", "a"]
    assert found.photos[0].read() == png(9)
    with pytest.raises(UsageError, match=r"'label' holds no images.*ClassLabel"):
        collect(f"hf:{tmp_path / 'rows'}(image=label)")
    with pytest.raises(UsageError, match=r"no column 'colour' for label: .* image, label"):
        collect(f"hf:{tmp_path / 'rows'}(image=other,label=colour)")


@pytest.mark.parametrize(
    ("options", "message"),
    [("split", "got 'split'"), ("size=3", "got 'size=3'"), ("split=a,split=b", "got 'split=b'")],
)
def test_options_that_are_none(folder: Path, options: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        collect(f"hf:{folder}({options})")


def test_what_is_no_such_data_set(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no folder"):
        collect("hf:")
    with pytest.raises(ImageError, match=r"does not exist: camaudit downloads nothing"):
        collect("hf:imagenet-1k")
    with pytest.raises(ImageError, match=r"is no data set that Dataset.save_to_disk wrote"):
        collect(f"hf:{tmp_path}")
    with pytest.raises(UsageError, match="has no splits"):
        collect(f"hf:{folder}(split=train)")
    table().remove_columns("image").save_to_disk(tmp_path / "bare")
    with pytest.raises(UsageError, match="has no column of images: it has label"):
        collect(f"hf:{tmp_path / 'bare'}")


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'camaudit\[datasets\]'"):
        collect(f"hf:{folder}")
    # a folder of that name in the working folder is a module to Python, too
    monkeypatch.setitem(sys.modules, "datasets", ModuleType("datasets"))
    with pytest.raises(MissingExtraError, match="pip install"):
        collect(f"hf:{folder}")
