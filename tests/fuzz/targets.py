"""What is fuzzed: each reader of files from strangers, with small files of every kind it reads."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from camaudit.adapters.reading import read_map
from camaudit.data.collecting import collect
from camaudit.data.fetch_list import read_fetch_list
from camaudit.data.images import decode
from camaudit.data.manifest import load_images, verify
from camaudit.data.masks import read_mask
from camaudit.data.regions import read_regions
from camaudit.data.stack_mix import plain_images
from camaudit.data.unpacking import Limits, unpack
from camaudit.gates.badge import badge
from camaudit.gates.card import card, card_markdown
from camaudit.gates.diff import compare
from camaudit.gates.gate import judge
from camaudit.gates.junit import junit
from camaudit.gates.markdown import markdown
from camaudit.gates.reading import read_policy
from camaudit.gates.records import read_results
from camaudit.models.weights import load_weights
from camaudit.report.gate import gate_view
from camaudit.training.networks import build as build_network
from camaudit.training.networks import spec_for
from camaudit.training.trained import load_trained
from tests.data.bombs import many_scans, skipping_rows
from tests.data.sets import build, photographs
from tests.fuzz.mutation import of_bytes, of_json, of_text
from tests.fuzz.run import Target

__all__ = ["TARGETS", "made"]

_EXAMPLE = Path(__file__).parent.parent / "example_repo"
_TODAY = datetime.date(2026, 1, 1)
_POLICY = b"""
version = 1
[subject]
model = "net.py:build"
weights = "w.safetensors"
weights_sha256 = "%s"
[images]
data = ["stack-mix", 'photos']
number = 24
[run]
checks = ["dead-zone", "mprt"]
explainers = ["standard", "scorecam(score=probability)", "captum:Saliency(reduce=sum)"]
memory = "2G"
escalate = 96
[[condition]]
name = "a"
require = "dead_zone.mu_l1 <= 1.1 * uniform - 0.01"
severity = "warn"
[[condition]]
name = "b"
require = "mprt.similarity < random"
[[waiver]]
condition = "a"
explainer = "gradcam"
reason = "known"
expires = 2031-05-01
""" % (b"ab" * 32)
_LIST = b"""
format = "camaudit-fetch-1"
title = "pictures"
licence = "CC0"
[[files]]
page = "https://example.org/data"
name = "a.zip"
url = "https://example.org/a.zip"
sha256 = "%s"
size = 10
unpack = true
""" % (b"cd" * 32)
_COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 10, 9.5],
         "segmentation": [[1, 2, 11, 2, 11, 11]]},
        {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 40, 30]},
    ],
    "categories": [{"id": 2, "name": "cat"}],
}  # fmt: skip
_VOC = b"""<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height>
<depth>3</depth></size><object><name>cat</name>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def _pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)


def _saved(mode: str, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_pixels()).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def _images(_work: Path) -> Target:
    Image.init()
    more = [Image.fromarray(_pixels()[::-1]).convert("RGB")]
    frames = {"save_all": True, "append_images": more}
    seeds = {
        ".jpg": [_saved("RGB", "JPEG"), _saved("CMYK", "JPEG"), many_scans(64, 5),
                 _saved("L", "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")],
        ".png": [_saved("RGBA", "PNG"), _saved("P", "PNG"), _saved("1", "PNG"),
                 _saved("RGB", "PNG", **frames)],
        ".gif": [_saved("P", "GIF"), _saved("RGB", "GIF", **frames)],
        ".bmp": [_saved("RGB", "BMP"), _saved("P", "BMP"), skipping_rows(50)],
        ".tif": [_saved("RGB", "TIFF", compression=kind)
                 for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")]
                + [_saved("F", "TIFF"), _saved("1", "TIFF", compression="group4")],
        ".webp": [_saved("RGBA", "WEBP"), _saved("RGB", "WEBP", lossless=True, **frames)],
        ".ppm": [_saved("RGB", "PPM"), _saved("L", "PPM"), b"P3 40 40 255 " + b"7 " * 4800],
    }  # fmt: skip
    for file_format, ending in (("AVIF", ".avif"), ("JPEG2000", ".jp2")):
        if file_format in Image.SAVE:
            seeds[ending] = [_saved("RGB", file_format), _saved("RGBA", file_format)]
    return Target(seeds, of_bytes, lambda path: decode(path, min_side=1))


def _masks(_work: Path) -> Target:
    seeds = {".png": [_saved("L", "PNG"), _saved("P", "PNG"), _saved("1", "PNG")]}
    return Target(seeds, of_bytes, read_mask)


def _maps(_work: Path) -> Target:
    arrays = []
    for values in (np.zeros((4, 5), np.float32), np.ones((2, 3, 4)), np.arange(6, dtype=np.int16)):
        buffer = io.BytesIO()
        np.save(buffer, values)
        arrays.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    seeds = {
        ".npy": [*arrays, buffer.getvalue()],
        ".png": [_saved("L", "PNG"), _saved("1", "PNG")],
        ".safetensors": [save({"map": torch.ones(3, 4)}),
                         save({"a": torch.ones(3).half(), "map": torch.ones(2, 2)})],
    }  # fmt: skip
    return Target(seeds, of_bytes, read_map)


def _weights(_work: Path) -> Target:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    state = model.state_dict()
    files = []
    for content, options in (
        (state, {}),
        ({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, {}),
        (state, {"_use_new_zipfile_serialization": False}),
        (model, {}),
        (model, {"_use_new_zipfile_serialization": False}),
    ):
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        files.append(buffer.getvalue())
    seeds = {".pt": files, ".safetensors": [save(state)]}
    return Target(seeds, of_bytes, lambda path: load_weights(model, path))


def _policies(work: Path) -> Target:
    seeds = {".toml": [(_EXAMPLE / "camaudit.toml").read_bytes(), _POLICY]}
    shared = re.sub(rb"(?m)^(\[+)(\w+)", rb"\1tool.camaudit.\2", _POLICY)
    seeds[".toml"].append(shared.replace(b"version", b"[tool.camaudit]\nversion"))
    folder = work / "policies"
    folder.mkdir()

    def read(path: Path) -> None:
        if b"tool.camaudit" in path.read_bytes():
            path = Path(shutil.copy(path, folder / "pyproject.toml"))
        read_policy(path, today=_TODAY)

    return Target(seeds, of_text, read)


def _results(_work: Path) -> Target:
    """A results.json as the run and as the baseline of a gate, as both sides of a diff."""
    policy = read_policy(_EXAMPLE / "camaudit.toml", today=_TODAY)
    known = read_results(_EXAMPLE / "baseline" / "results.json")
    few = json.loads(json.dumps(known))
    few["records"] = few["records"][:60]
    seeds = {".json": [json.dumps(one).encode() for one in (known, few)]}

    def read(path: Path) -> None:
        results = read_results(path)
        for one, other in ((results, known), (known, results))[: 1 + len(results["records"]) % 2]:
            verdict = judge(policy, one, other, today=_TODAY)
            view = {**one, "gate": verdict.to_dict()}
            json.dumps(view["gate"], allow_nan=False)
            gate_view(view["gate"])
            junit(verdict)
            markdown(verdict, one, report="")
            badge(verdict)
            card(verdict, one, date=_TODAY)
            card_markdown(verdict, one, date=_TODAY)
            json.dumps(compare(one, other).to_dict(), allow_nan=False)

    return Target(seeds, of_json, read)


def _manifests(work: Path) -> Target:
    photos = photographs(work / "photos", {"a": 2, "b": 2})
    folder = work / "set"
    build(photos, folder)
    seeds = {".json": [(folder / "manifest.json").read_bytes()]}

    def read(path: Path) -> None:
        shutil.copy(path, folder / "manifest.json")
        verify(folder)
        load_images(folder)

    return Target(seeds, of_json, read)


def _coco(_work: Path) -> Target:
    return Target({".json": [json.dumps(_COCO).encode()]}, of_json, read_regions)


def _voc(work: Path) -> Target:
    folder = work / "voc"
    folder.mkdir()

    def read(path: Path) -> None:
        shutil.copy(path, folder / "a.xml")
        read_regions(folder)

    return Target({".xml": [_VOC]}, of_text, read)


def _archives(work: Path) -> Target:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", b"text" * 50)
        archive.writestr("c.txt", b"")
    seeds = {".zip": [packed.getvalue()], ".tar": []}
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as archive:
            member = tarfile.TarInfo("a/b.txt")
            member.size = 200
            archive.addfile(member, io.BytesIO(b"text" * 50))
        seeds[".tar"].append(packed.getvalue())
    limits = Limits(size=1 << 20, members=50)

    def read(path: Path) -> None:
        folder = work / "unpacked"
        try:
            unpack(path, folder, limits=limits)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        left = [one.name for one in work.iterdir() if "unpacked" in one.name]
        if left:
            raise RuntimeError(f"unpacking left {left}")

    return Target(seeds, of_bytes, read)


def _lists(_work: Path) -> Target:
    return Target({".toml": [_LIST]}, of_text, read_fetch_list)


def _trained(work: Path) -> Target:
    """The description of a trained network, beside its weights."""
    folder = work / "trained"
    folder.mkdir()
    spec = spec_for("small", size=28, classes=3, widths=((4,), (4,)), hidden=8)
    weights = save(build_network(spec).state_dict())
    digest = hashlib.sha256(weights).hexdigest()
    (folder / "model.safetensors").write_bytes(weights)
    known = {
        "format": "camaudit-trained-1", "name": "small VGG", "network": spec.to_dict(),
        "classes": ["a", "b", "c"], "preprocess": "0.5/0.5", "weights_sha256": digest,
    }  # fmt: skip

    def read(path: Path) -> None:
        shutil.copy(path, folder / "model.json")
        load_trained(folder)

    return Target({".json": [json.dumps(known).encode()]}, of_json, read)


def _shards(_work: Path) -> Target:
    seeds = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        packed, long = io.BytesIO(), 90 if form == tarfile.USTAR_FORMAT else 300
        with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
            for name, data in (
                ("a/1.png", _saved("L", "PNG")), ("a/1.cls", b"7"), ("2.jpg", _saved("L", "JPEG")),
                ("2.cls", b"dog"), (f"{'n' * long}.json", b"{}"),
            ):  # fmt: skip
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        seeds.append(packed.getvalue())

    def read(path: Path) -> None:
        plain_images(collect(path), size=32)

    return Target({".tar": seeds}, of_bytes, read)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "archives": _archives,
    "coco": _coco,
    "images": _images,
    "lists": _lists,
    "manifests": _manifests,
    "maps": _maps,
    "masks": _masks,
    "policies": _policies,
    "results": _results,
    "shards": _shards,
    "trained": _trained,
    "voc": _voc,
    "weights": _weights,
}


def made(name: str, work: Path) -> Target:
    """A target; what it needs on disk lies in a folder of its own in `work`."""
    folder = work / name
    folder.mkdir()
    return TARGETS[name](folder)
