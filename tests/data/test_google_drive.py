"""Links to Google Drive, and the page that asks about large files."""

from __future__ import annotations

import pytest

from camaudit.data.google_drive import confirmed, direct
from camaudit.errors import UsageError

BASE = "https://drive.usercontent.google.com/download"
ID = "1AbcDEF_ghi-jkl"


@pytest.mark.parametrize(
    "link",
    [
        f"https://drive.google.com/file/d/{ID}/view?usp=sharing",
        f"https://drive.google.com/file/u/0/d/{ID}/edit",
        f"https://drive.google.com/file/d/{ID}",
        f"https://drive.google.com/open?id={ID}",
        f"https://drive.google.com/uc?export=download&id={ID}",
        f"https://docs.google.com/uc?id={ID}",
        f"https://drive.usercontent.google.com/download?id={ID}&confirm=t",
    ],
)
def test_every_form_of_link_is_understood(link: str) -> None:
    assert direct(link, BASE) == f"{BASE}?id={ID}&export=download"


def test_a_resource_key_is_kept() -> None:
    link = f"https://drive.google.com/file/d/{ID}/view?usp=sharing&resourcekey=0-abc"
    assert direct(link, BASE) == f"{BASE}?id={ID}&export=download&resourcekey=0-abc"


def test_other_links_are_none_of_its_business() -> None:
    assert direct("https://example.org/file/d/abcdefghijk/view", BASE) is None
    assert direct("https://drive.google.com.example.org/open?id=abcdefghijk", BASE) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("drive/folders/1AbcDEF_ghi", "got one to a folder"),
        ("drive/my-drive", "without a file's id"),
        ("open?id=../../x", "without a file's id"),
    ],
)
def test_links_to_no_file_are_refused(path: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        direct(f"https://drive.google.com/{path}", BASE)


def test_the_older_page_has_a_link() -> None:
    page = '<a id="uc-download-link" href="/uc?export=download&amp;confirm=Ab1&amp;id=x">go</a>'
    here = "https://drive.google.com/uc?id=x"
    assert confirmed(page, here) == "https://drive.google.com/uc?export=download&confirm=Ab1&id=x"


@pytest.mark.parametrize(
    "href", ["https://evil.example/uc?id=x", "http://drive.google.com/uc?id=x", "//evil.example/"]
)
def test_a_link_that_leads_elsewhere_is_none(href: str) -> None:
    page = f'<a id="uc-download-link" href="{href}">go</a>'
    assert confirmed(page, "https://drive.google.com/uc?id=x") is None


def test_a_page_that_asks_nothing_is_none() -> None:
    assert confirmed("<html><form><input name='a'></form>", BASE) is None
    assert confirmed("", BASE) is None
