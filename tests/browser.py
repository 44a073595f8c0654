"""A real browser for the tests of the pages: silent, offline, and closed again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's chromium, or the one that playwright brings; without either the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        path = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no chromium: install it, or run 'playwright install chromium'")
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Any]:
    """The page, open; on leaving, it must have said nothing and asked for nothing."""
    options.setdefault("viewport", DESKTOP)
    noise: list[str] = []

    def dismissed(dialog: Any) -> None:
        noise.append("dialog")
        dialog.dismiss()

    context = browser.new_context(**options)
    try:
        page = context.new_page()
        page.on("console", lambda message: noise.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: noise.append(f"error: {error}"))
        page.on("dialog", dismissed)
        page.on("request", lambda request: noise.append(f"request: {request.url[:100]}"))
        page.goto(path.as_uri())
        yield page
        allowed = (f"request: {path.as_uri()}", "request: data:")
        assert [line for line in noise if not line.startswith(allowed)] == []
    finally:
        context.close()


def overflow(page: Any) -> int:
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )
