"""Several classes of an image: which, from how many forwards, and what becomes of the figures."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camaudit.audit import loop as loop_module
from camaudit.audit.images import audit_images
from camaudit.audit.live import Live
from camaudit.audit.loop import GALLERY_IMAGES, batch_tensor
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import WalledSubject, build_subject
from camaudit.audit.summary import summarise
from camaudit.audit.targets import Classes, asked_targets, highest, named_targets, ranks
from camaudit.audit.two_classes import two_class_figures
from camaudit.capture import Capture, capture
from camaudit.console import print_table
from camaudit.data.stack_mix import StackImage
from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.methods import METHODS, compute
from camaudit.methods.base import MethodInfo
from camaudit.registry import Entry
from camaudit.report import figures
from camaudit.report.html import render
from camaudit.report.panels import panels
from camaudit.schema import results_schema
from camaudit.types import DeadZoneFigures, Record, Results, Status
from tests.references.cams import reference_mu
from tests.report.page import Page

METHODS_RUN = ("gradcam", "hirescam", "scorecam", "eigencam", "uniform")


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=5, batch_size=2, wall="split", layer="0", live_rows=4, methods=METHODS_RUN,
    )  # fmt: skip


def records(outcome: Outcome, method: str = "gradcam") -> list[Record]:
    return [one for one in outcome.results.records if one.method == method]


def by_image(found: Sequence[Record]) -> dict[str, list[Record]]:
    images: dict[str, list[Record]] = {}
    for one in found:
        images.setdefault(one.image, []).append(one)
    return images


def walled(settings: Settings) -> tuple[WalledSubject, list[StackImage]]:
    subject = build_subject(settings)
    return subject, list(audit_images(settings, subject.walled.zone).images)


def valid(results: Results) -> dict[str, Any]:
    plain = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    jsonschema.validate(plain, results_schema())
    return plain  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize("text", ["", ",", "top-0", "3,", "3,3", "tench, tench"])
def test_what_cannot_be_asked_for(text: str) -> None:
    with pytest.raises(UsageError, match=r"--targets: expected .*got"):
        asked_targets(text)


def test_what_can() -> None:
    assert asked_targets("top-1").plain
    assert (asked_targets("top-4").kind, asked_targets("top-4").count) == ("top", 4)
    assert asked_targets(" labels ").kind == "labels"
    assert asked_targets("3, tiger shark").names == ("3", "tiger shark")
    assert asked_targets("top-hat").names == ("top-hat",)


def test_the_highest_logits_and_their_ranks() -> None:
    logits = torch.tensor([[1.0, 5, 5, 0], [4, 3, 2, 1]])
    found = highest(logits, asked_targets("top-3"))
    assert [[one.index for one in row] for row in found] == [[1, 2, 0], [0, 1, 2]]
    assert [row[0].index for row in found] == logits.argmax(dim=1).tolist()
    assert {one.role for row in found for one in row} == {"predicted"}
    assert highest(logits, asked_targets("top-1"))[0][0].role is None
    assert ranks(logits, torch.tensor([2, 3])) == [2, 4]
    with pytest.raises(UsageError, match="top-5: the model has 4 classes only"):
        highest(logits, asked_targets("top-5"))


def test_names_are_the_models_own_or_imagenets() -> None:
    images = [image("0", None)] * 2

    def indices(text: str, classes: Classes) -> list[int]:
        first, second = named_targets(asked_targets(text), images, classes)
        assert first == second
        assert {one.role for one in first} == {"asked"}
        return [one.index for one in first]

    assert indices("3,0", Classes(5)) == [3, 0]
    assert indices("Dog,1", Classes(2, ("dog", "cat"))) == [0, 1]
    assert indices("tench,n02123045,7", Classes(1000)) == [0, 281, 7]
    for text, classes, why in (
        ("5", Classes(5), "classes 0 to 4; got 5"),
        (
            "tench",
            Classes(5),
            "'tench' is no class of the model .the names of its classes are unkno",
        ),
        ("bird", Classes(2, ("dog", "cat")), "'bird' .*it has no class of that name"),
        ("0,tench", Classes(1000), "names a class twice"),
    ):
        with pytest.raises(UsageError, match=why):
            named_targets(asked_targets(text), images, classes)


def image(name: str | None, unseen: str | None, label: int | None = None) -> StackImage:
    return StackImage(
        "id", np.zeros((64, 64, 3), np.uint8), label, name, (), "single",
        unseen_label_name=unseen,
    )  # fmt: skip


def test_labels_of_an_image() -> None:
    asked, classes = asked_targets("labels"), Classes(3, ("cat", "dog", "car"))

    def of(given: StackImage, objects: tuple[str, ...] = ()) -> list[tuple[int, str | None]]:
        (found,) = named_targets(asked, [given], classes, [objects])
        return [(one.index, one.role) for one in found]

    assert of(image("dog", None)) == [(1, "label")]
    assert of(image("dog", "cat")) == [(1, "seen"), (0, "unseen")]
    assert of(image("dog", "Dog")) == [(1, "label")], "what is seen is not unseen"
    assert of(image("dog", None), ("car", "person", "dog")) == [(1, "label"), (2, "label")]
    assert of(image(None, None), ("car",)) == [(2, "label")]
    for lacking in (image("bird", None), image("dog", "bird"), image("bird", "dog")):
        with pytest.raises(UsageError, match=r"1 of 1 images have no class, .* is of .*bird"):
            of(lacking)
    with pytest.raises(UsageError, match="is of no class"):
        of(image(None, None), ("person",))


# --------------------------------------------------------------------------- the maps of an audit


def test_the_figures_of_every_target_are_those_of_its_own_maps(settings: Settings) -> None:
    """Against a capture of each class alone, and μ by the reference."""
    outcome = run_audit(replace(settings, targets="top-3"))
    assert not outcome.failed
    subject, images = walled(settings)
    batch = batch_tensor(subject, images)
    logits = subject.walled.logits(batch).detach()
    for number, own in enumerate(by_image(records(outcome)).values()):
        scores = logits[number].tolist()
        order = sorted(range(5), key=lambda c: -scores[c])
        assert [one.target for one in own] == order[:3]
        assert [one.rank for one in own] == [1, 2, 3]
        for one in own:
            assert one.target is not None
            for method in ("gradcam", "scorecam"):
                (record,) = [
                    r for r in records(outcome, method)
                    if (r.image, r.target) == (one.image, one.target)
                ]  # fmt: skip
                target = torch.tensor([one.target])
                alone = capture(subject.walled, batch[number : number + 1], targets=target)
                saliency = upsample(compute(method, alone), (64, 64))[0]
                expected = reference_mu(saliency, subject.walled.zone.scored, 1)
                assert record.mu_l1 == (
                    None if expected is None else pytest.approx(expected, abs=1e-5)
                ), method
    plain = valid(outcome.results)
    assert plain["settings"]["targets"] == "top-3"
    told = " ".join(plain["warnings"])
    assert "several classes of an image are explained (--targets top-3)" in told


def test_the_default_is_top_1_and_says_nothing_of_roles(settings: Settings) -> None:
    outcome = run_audit(settings)
    plain = valid(outcome.results)
    assert not any({"role", "rank"} & set(one) for one in plain["records"])
    assert not any("targets" in one for one in plain["summary"])
    assert "targets" not in plain
    several = run_audit(replace(settings, targets="top-2"))
    first = {(one.method, one.image): one.mu_l1 for one in several.results.records if one.rank == 1}
    for one in outcome.results.records:
        assert first[one.method, one.image] == pytest.approx(one.mu_l1, abs=1e-6)


class CountedTrunk(nn.Module):
    """Counts the images that go into the model's trunk."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        found: Tensor = self.inner(x)
        return found


class CountedForwards:
    """Counts the masked images that methods run."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.images = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.images += len(images)
        found: Tensor = self.inner(images)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "scorecam++"])
def test_more_targets_run_no_more_images(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    genuine = loop_module.prepare

    def passes(targets: str) -> tuple[int, list[int]]:
        """Images through the trunk, and masked images with the wall and without."""
        made: list[CountedForwards] = []

        def counted(*given: Any) -> CountedForwards:
            made.append(CountedForwards(genuine(*given)))
            return made[-1]

        monkeypatch.setattr(loop_module, "prepare", counted)
        torch.manual_seed(11)
        trunk = CountedTrunk(nn.Sequential(nn.Conv2d(3, 8, 3, stride=8, padding=1), nn.ReLU()))
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        asked = replace(settings, targets=targets, methods=(method,), num_images=2)
        outcome = run_audit(asked, live=Live(model=nn.Sequential(trunk, head).eval()))
        assert len(outcome.results.records) == 2 * (1 if targets == "top-1" else 4)
        return trunk.images, [one.images for one in made]

    once = passes("top-1")
    assert passes("top-4") == once
    assert all((count > 2 * 4) is (method != "gradcam") for count in once[1]), "masks are counted"


def test_an_images_figure_is_the_mean_over_its_targets(settings: Settings) -> None:
    outcome = run_audit(replace(settings, targets="top-3"))
    for line in outcome.results.summary:
        own = by_image(records(outcome, line.method))
        defined = [[r.mu_l1 for r in found if r.mu_l1 is not None] for found in own.values()]
        means = [math.fsum(values) / len(values) for values in defined]
        assert line.n == line.mu_l1.n == len(own)
        assert line.mu_l1.mean == pytest.approx(math.fsum(means) / len(means))
        assert line.targets is not None
        assert line.targets.n == sum(map(len, defined))
        assert line.targets.n + line.targets.degenerate == 3 * line.n
    eigencam = by_image(records(outcome, "eigencam"))
    assert all(len({one.mu_l1 for one in found}) == 1 for found in eigencam.values())


def test_undefined_targets_are_counted_and_are_no_zero() -> None:
    def one(name: str, target: int, mu: float | None, status: Status = Status.OK) -> Record:
        twin = DeadZoneFigures(0.5, 0.5, 0.5, Status.OK)
        return Record("dead-zone", "m", name, target, None, mu, mu, mu, status, unmasked=twin)

    bad = Status.DEGENERATE
    found = [
        one("a", 0, 0.2), one("a", 1, None, bad), one("b", 0, 0.6), one("b", 1, 0.8),
        one("c", 0, None, bad), one("c", 1, None, Status.NOT_APPLICABLE),
        one("d", 0, None, Status.ERROR), one("d", 1, None, bad),
        one("e", 0, 0.1), one("e", 1, None, Status.ERROR),
    ]  # fmt: skip
    (line,) = summarise(found, families={"m": "gradient"}, scored_fraction=0.3, seed=0)
    assert (line.n, line.degenerate, line.not_applicable, line.errors) == (3, 1, 0, 1)
    assert line.mu_l1.n == 3
    assert line.mu_l1.mean == pytest.approx((0.2 + 0.7 + 0.1) / 3)
    assert line.difference is not None
    assert line.difference.mean == pytest.approx((0.2 + 0.7 + 0.1) / 3 - 0.5)
    assert line.targets is not None
    assert vars(line.targets) == {"n": 4, "degenerate": 3, "not_applicable": 1, "errors": 2}


def test_labels_may_differ_in_number(settings: Settings, tmp_path: Path) -> None:
    """Objects of a COCO file beside the folders' own classes."""
    names = [f"{kind}/{number}.png" for kind in range(3) for number in range(2)]
    objects = {0: ["0", "4"], 1: ["3", "nothing"], 2: ["1"], 3: [], 4: ["4", "3", "0"], 5: ["2"]}
    kinds = ["0", "1", "2", "3", "4", "nothing"]
    coco = {
        "images": [{"id": n, "file_name": name, "width": 96, "height": 80}
                   for n, name in enumerate(names)],
        "annotations": [
            {"id": 10 * n + k, "image_id": n, "bbox": [1, 1, 20, 20],
             "category_id": kinds.index(kind)}
            for n, found in objects.items() for k, kind in enumerate(found)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(kinds)],
    }  # fmt: skip
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(coco))
    flat = tmp_path / "flat"
    flat.mkdir()
    asked = replace(
        settings, targets="labels", regions=path, num_images=9, methods=("gradcam", "scorecam"),
        perturbation_images=9,
    )  # fmt: skip
    # stacked photographs have no objects of their own: the folder's class alone
    assert {len(found) for found in by_image(records(run_audit(asked))).values()} == {1}
    for number, name in enumerate(names):
        shutil.copy(settings.images / name, flat / f"{number}.png")  # type: ignore[operator]
    coco["images"] = [{**one, "file_name": f"{one['id']}.png"} for one in coco["images"]]
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] != 3]
    path.write_text(json.dumps(coco))
    with pytest.raises(UsageError, match="1 of 6 images have no class"):
        run_audit(replace(asked, images=flat))
    (flat / "3.png").unlink()
    outcome = run_audit(replace(asked, images=flat))
    for method in ("gradcam", "scorecam"):
        found = list(by_image(records(outcome, method)).values())
        assert [[one.target for one in own] for own in found] == [
            [0, 4], [3], [1], [4, 3, 0], [2],
        ]  # fmt: skip
        assert {one.role for own in found for one in own} == {"label"}
    assert outcome.results.summary[0].n == 5


# --------------------------------------------------------------------------- two classes


@pytest.fixture
def stacked(settings: Settings) -> Outcome:
    return run_audit(replace(settings, targets="labels", pairs="different", num_images=6, seed=2))


def test_seen_and_unseen_have_a_record_each(stacked: Outcome) -> None:
    plain = valid(stacked.results)
    images = {one["id"]: one for one in plain["images"]}
    for name, own in by_image(records(stacked)).items():
        entry = images[name]
        assert entry["pairing"] == "two-classes"
        assert [one.role for one in own] == ["seen", "unseen"]
        assert [str(one.target) for one in own] == [
            entry["label_name"], entry["unseen_label_name"],
        ]  # fmt: skip
        assert entry["label"] != entry["unseen_label"]
        assert len({one.rank for one in own}) == 2
    # the accuracy is of what the model sees
    accuracy = plain["subject"]["accuracy"]
    seen = {one.image: one.target for one in records(stacked) if one.role == "seen"}
    hits = [one["walled_top1"] == seen[name] for name, one in images.items()]
    assert accuracy["walled"] == sum(hits) / 6


def test_the_table_of_two_classes_is_made_of_the_records(stacked: Outcome) -> None:
    found = stacked.results.targets
    assert found["images"] == 6
    for entry in found["methods"]:
        mu = {
            role: {r.image: r for r in records(stacked, entry["method"]) if r.role == role}
            for role in ("seen", "unseen")
        }
        for role, own in mu.items():
            values = [one.mu_l1 for one in own.values() if one.mu_l1 is not None]
            assert entry[role]["n"] == len(values)
            assert entry[role]["mean"] == pytest.approx(math.fsum(values) / len(values))
            assert entry["undefined"][role] == len(own) - len(values)
        gaps = [
            mu["unseen"][name].mu_l1 - one.mu_l1  # type: ignore[operator]
            for name, one in mu["seen"].items()
            if None not in (one.mu_l1, mu["unseen"][name].mu_l1)
        ]
        assert entry["difference"]["n"] == len(gaps)
        assert entry["difference"]["mean"] == pytest.approx(math.fsum(gaps) / len(gaps))
    by_method = {entry["method"]: entry for entry in found["methods"]}
    assert by_method["hirescam"]["unseen"]["mean"] == 0
    assert by_method["uniform"]["difference"]["mean"] == 0
    for role in ("seen", "unseen"):
        targets = {r.image: r.target for r in records(stacked) if r.role == role}
        top = {one["id"]: one["walled_top1"] for one in stacked.results.provenance.images}
        assert found["top1"][role] == sum(top[i] == t for i, t in targets.items()) / 6


def test_a_map_that_is_undefined_for_one_class_leaves_the_pair_out() -> None:
    def one(name: str, role: str, mu: float | None) -> Record:
        status = Status.DEGENERATE if mu is None else Status.OK
        target = 0 if role == "seen" else 1
        return Record("dead-zone", "m", name, target, None, mu, mu, mu, status, role=role, rank=1)

    found = two_class_figures(
        [one("a", "seen", 0.1), one("a", "unseen", 0.7), one("b", "seen", 0.3),
         one("b", "unseen", None)],
        {"a": 0, "b": 1}, families={"m": "gradient"}, seed=0,
    )  # fmt: skip
    (entry,) = found["methods"]
    assert (entry["seen"]["n"], entry["unseen"]["n"], entry["difference"]["n"]) == (2, 1, 1)
    assert entry["difference"]["mean"] == pytest.approx(0.6)
    assert entry["undefined"] == {"seen": 0, "unseen": 1}
    assert found["top1"] == {"seen": 0.5, "unseen": 0.5}
    assert entry["unmasked"] is None
    assert two_class_figures([], {}, families={}, seed=0) == {}


def test_every_target_has_its_maps_in_the_gallery(stacked: Outcome, settings: Settings) -> None:
    gallery = stacked.gallery
    assert [one.id for one in gallery] == [
        name for name in by_image(records(stacked)) for _ in "ab"
    ]
    assert [one.target for one in gallery] == [one.target for one in records(stacked)]
    assert " above " in gallery[0].title
    first, second = (one.maps["gradcam"] for one in gallery[:2])
    assert first is not None
    assert second is not None
    assert not np.array_equal(first, second)
    shown = panels(gallery, stacked.results.summary, stacked.results.records)
    for panel, record in zip(shown, records(stacked), strict=True):
        (tile,) = [one for one in panel.methods if one.method == "GradCAM"]
        assert tile.mu_l1 == figures.percent(record.mu_l1)
        assert panel.target.startswith(f"{record.target}: the class ")
        assert panel.target.endswith(f"number {record.rank} of the model's logits")
    many = run_audit(replace(settings, targets="top-4", methods=("gradcam",)))
    assert len(many.gallery) == GALLERY_IMAGES
    assert Counter(one.id for one in many.gallery).most_common()[0][1] == 4


def test_page_and_table_tell_the_classes_apart(
    stacked: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page(render(stacked.results, stacked.gallery))
    assert "The class behind the wall" in page.text
    assert "an object that the model cannot have used" in page.text
    assert "the class behind the wall, which the model does not see, number" in page.text
    entry = next(one for one in stacked.results.targets["methods"] if one["method"] == "hirescam")
    assert ["HiResCAM", "0 (exact) [0–0 %]", "0 (exact) [0–0 %]"] in [row[:3] for row in page.rows]
    assert entry["unseen"]["n"] == 6
    print_table(stacked.results)
    told = capsys.readouterr().out
    assert "of the class that the model sees, and of the one behind the" in told
    (line,) = [one for one in told.splitlines() if "hirescam" in one and "+" not in one][-1:]
    assert line.split()[:7] == ["hirescam", *(["0", "(exact)"] * 3)]


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"targets": "top-2", "checks": ("dead-zone", "confidence")},
            "confidence explains the top",
        ),
        ({"targets": "labels", "checks": ("mprt",)}, "mprt explains the top-1 class alone"),
        ({"targets": "3,4", "checks": ("dead-zone", "invariance")}, "invariance explains the top"),
        ({"pairs": "different", "data": (Path("x"),), "images": None}, "a data set is used as it"),
        ({"pairs": "different", "checks": ("mprt",)}, "without dead-zone none is stacked"),
        ({"pairs": "two"}, "pairs must be same or different"),
        ({"regions": Path("x")}, "--targets labels reads their class names"),
        ({"regions": Path("x"), "targets": "labels", "region_labels": True}, "--region-labels"),
    ],
)
def test_what_does_not_go_together(
    settings: Settings, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        replace(settings, **{"live_rows": None, "wall": "auto", **changes})


def test_classes_that_the_model_does_not_have(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the model has 5 classes only"):
        run_audit(replace(settings, targets="top-6"))
    with pytest.raises(UsageError, match="classes 0 to 4; got 5"):
        run_audit(replace(settings, targets="5"))
    assert settings.images is not None
    (settings.images / "2").rename(settings.images / "goldfish")
    asked = replace(settings, targets="labels", pairs="different", num_images=3)
    with pytest.raises(UsageError, match="2 of 3 images have no class, or one that the model does"):
        run_audit(asked)
    flat = tmp_path / "flat"
    shutil.copytree(settings.images / "0", flat)
    with pytest.raises(UsageError, match="needs a folder with one sub-folder a class"):
        run_audit(replace(asked, images=flat))


def test_a_folder_of_maps_explains_one_class(settings: Settings, tmp_path: Path) -> None:
    _, images = walled(settings)
    folder = tmp_path / "maps"
    folder.mkdir()
    for one in images:
        np.save(folder / f"{one.id}.npy", np.random.default_rng(0).random((64, 64)))
    with_maps = replace(settings, explainers=(f"maps:{folder}",), methods=("gradcam",))
    with pytest.raises(UsageError, match="holds one map an image, which explains one class"):
        run_audit(replace(with_maps, targets="top-2"))
    # one class of each image is one class
    outcome = run_audit(replace(with_maps, targets="labels"))
    assert {line.n for line in outcome.results.summary} == {5}


@pytest.fixture
def planted() -> Iterator[None]:
    """A method that fails on class 3 alone."""

    def fussy(given: Capture) -> Tensor:
        if 3 in given.targets.tolist():
            raise ValueError("not class 3")
        return torch.ones_like(given.activations[:, 0])

    before = dict(METHODS._entries)
    info = MethodInfo("test", "-", "-", "gradient", "none")
    METHODS._entries["fussy"] = Entry("fussy", fussy, info)
    yield
    METHODS._entries.clear()
    METHODS._entries.update(before)


@pytest.mark.usefixtures("planted")
def test_a_method_that_fails_on_one_class_keeps_the_others(settings: Settings) -> None:
    outcome = run_audit(replace(settings, targets="1,3", methods=("fussy",)))
    assert outcome.failed
    (line,) = outcome.results.summary
    assert (line.n, line.errors) == (5, 0)
    assert line.targets is not None
    assert (line.targets.n, line.targets.errors) == (5, 5)
    assert [one.status for one in records(outcome, "fussy")[:2]] == [Status.OK, Status.ERROR]
    valid(outcome.results)


def test_a_foreign_explainer_is_given_every_target(settings: Settings) -> None:
    asked: list[list[int]] = []

    def explain(_: nn.Module, __: str, images: Tensor, targets: Tensor) -> Tensor:
        asked.append(targets.tolist())
        return torch.rand(len(images), 8, 8)

    model = build_subject(settings).model
    outcome = run_audit(
        replace(settings, targets="1,3", methods=("uniform",), num_images=2),
        live=Live(model=model, explainers={"mine": explain}),
    )
    assert asked == [[1, 1], [1, 1], [3, 3], [3, 3]]  # with the wall and without
    assert [one.target for one in records(outcome, "mine")] == [1, 3, 1, 3]


def test_an_image_without_logits_has_one_record(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = loop_module.batch_tensor

    def spoiling(subject: Any, images: Any) -> Tensor:
        batch = genuine(subject, images)
        for row, one in enumerate(images):
            if one.id == spoilt:
                batch[row, :, :8] = torch.inf
        return batch

    spoilt = walled(settings)[1][-1].id
    monkeypatch.setattr(loop_module, "batch_tensor", spoiling)
    outcome = run_audit(replace(settings, targets="top-2", methods=("gradcam", "scorecam")))
    for method in ("gradcam", "scorecam"):
        own = by_image(records(outcome, method))
        (alone,) = own.pop(spoilt)
        assert (alone.target, alone.role, alone.status) == (None, None, Status.ERROR)
        assert {len(found) for found in own.values()} == {2}
    assert outcome.results.summary[0].errors == 1
    valid(outcome.results)
