"""The pictures of docs/gallery.md: parts of reports, as a browser shows them.

`python -m tests.report.pictures` writes them from the reports in `reports/first` and
`reports/theory`, which the commands in that page make.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tests.browser import chromium, opened

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 100_000  #: bytes of a picture

MARGIN = 16  #: pixels of the page around the part

#: Picture → the report that it is of, where in it, and the width of the window.
SHOWN = {
    "ranking": ("first", "section:has(#figures)", 1000),
    "photograph": ("first", ":nth-match(article.panel, 2)", 1080),
    "digit": ("theory", ":nth-match(figure.digit, 1)", 1000),
    "sweep": ("theory", ":nth-match(section:has(#sweeps) figure, 1)", 1200),
}


def main() -> None:
    """Write every picture; raises RuntimeError for one that is too large."""
    PICTURES.mkdir(exist_ok=True)
    with chromium() as browser:
        for name, (report, selector, width) in SHOWN.items():
            path = ROOT / "reports" / report / "report.html"
            window = {"width": width, "height": 900}
            with opened(browser, path, viewport=window, color_scheme="light") as page:
                box = page.locator(selector).bounding_box()
                clip = {
                    "x": box["x"] - MARGIN, "width": box["width"] + 2 * MARGIN,
                    "y": box["y"] - MARGIN, "height": box["height"] + 2 * MARGIN,
                }  # fmt: skip
                shot = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
            target = PICTURES / f"{name}.png"
            shot.convert("RGB").quantize(128).save(target, optimize=True)
            if target.stat().st_size > LARGEST:
                raise RuntimeError(f"{target} is larger than the {LARGEST} bytes of a picture")


if __name__ == "__main__":
    main()
