"""Google Drive: from a share link to the file, through the page that asks about large files.

Drive does not scan large files for viruses and asks before it hands them out: instead of the file
comes a page with a form, whose hidden fields make up the URL of the file.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from camaudit.errors import UsageError

__all__ = ["confirmed", "direct", "refusal"]

HOSTS = {"drive.google.com", "docs.google.com", "drive.usercontent.google.com"}
_ID = re.compile(r"[A-Za-z0-9_-]{10,}")


def direct(url: str, base: str) -> str | None:
    """The URL that a share link's file is downloaded from; None if it is no link to Drive.

    Known are `/file/d/ID/…`, `/open?id=ID`, `/uc?id=ID` and `/download?id=ID`.

    Raises:
        UsageError: if the link is one to a folder, or to Drive without a file's id.

    >>> direct("https://drive.google.com/file/d/abcdefghij/view?usp=sharing", "https://x.org/get")
    'https://x.org/get?id=abcdefghij&export=download'
    """
    parts = urlsplit(url)
    if parts.hostname not in HOSTS:
        return None
    if "/folders/" in parts.path:
        raise UsageError(
            "expected a link to one file on Google Drive; got one to a folder, which cannot be "
            "listed without an account: open it in a browser and copy the link of the file"
        )
    query = parse_qs(parts.query)
    in_path = re.match(r"/file/(?:u/\d+/)?d/([^/]+)", parts.path)
    is_download = parts.path in {"/open", "/uc", "/download"}
    name = in_path[1] if in_path else query.get("id", [""])[0] if is_download else ""
    if not _ID.fullmatch(name):
        raise UsageError(
            "expected a link to one file on Google Drive, such as "
            "https://drive.google.com/file/d/ID/view; got one without a file's id"
        )
    fields = {"id": name, "export": "download"}
    if "resourcekey" in query:
        fields["resourcekey"] = query["resourcekey"][0]
    return f"{base}?{urlencode(fields)}"


def confirmed(page: str, url: str) -> str | None:
    """The file's URL behind the page `url` that asks about a large file; None if it asks nothing.

    A form that leads to another host than the page's or Google's is not followed.
    """
    form = _Form()
    form.feed(page)
    if form.link:
        target = urljoin(url, form.link)
    elif form.action and form.fields:
        target = f"{urljoin(url, form.action).partition('?')[0]}?{urlencode(form.fields)}"
    else:
        return None
    there, here = urlsplit(target), urlsplit(url)
    safe = there.scheme in {"https", here.scheme} and there.hostname in HOSTS | {here.hostname}
    return target if safe else None


def refusal(page: str) -> str | None:
    """Why Drive sent this page instead of the file, where it can be told."""
    text = page.lower()
    if "quota" in text or "too many users" in text:
        return (
            "Google Drive hands the file out no more today, because too many people have fetched "
            "it: run the same command again tomorrow, or take it from elsewhere with --mirror"
        )
    if "accounts.google.com" in text or "request access" in text or "sign in" in text:
        return "Google Drive asks for a login: the file is not shared with everybody"
    return None


class _Form(HTMLParser):
    """The form with id `download-form`, or the older link with id `uc-download-link`."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.link = ""
        self.fields: dict[str, str] = {}
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the form, its hidden fields, and the link."""
        given = {key: value or "" for key, value in attrs}
        if tag == "form":
            self._inside = given.get("id") == "download-form"
            if self._inside:
                self.action = given.get("action", "")
        elif tag == "input" and self._inside and given.get("type") == "hidden":
            self.fields[given.get("name", "")] = given.get("value", "")
        elif tag == "a" and given.get("id") == "uc-download-link":
            self.link = given.get("href", "")

    def handle_endtag(self, tag: str) -> None:
        """Leave the form."""
        if tag == "form":
            self._inside = False
