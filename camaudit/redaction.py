"""What leaves the machine with a result: no secrets, and no more of a path than is needed.

results.json and the report are published: beside a paper, in a pull request, as a CI's artefact.
What a user typed stands in them, and what exceptions said, so that both are cleaned once, where the
results of a run are put together:

* values of environment variables whose names say that they are secret become `[hidden]`;
* URLs lose their user and password, and the values of query fields that are named like secrets;
  those of git repositories their whole query;
* the working folder's path becomes relative, the home folder's becomes `~`.

A secret that the user's own code prints under another form cannot be known here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

__all__ = ["cleaner"]

_HIDDEN = "[hidden]"
_SECRET = re.compile(
    r"(?i:TOKEN|SECRET|PASSW(OR)?D|PASSPHRASE|API_?KEY|ACCESS_?KEY|CREDENTIAL|SIGNATURE)"
    r"|[_-](KEY|PWD|SIG|AUTH)$|^(key|pwd|sig|auth)$",  # in lower case alone: PWD is the folder
)
_SHORTEST = 8  # a shorter value is found in other words by chance
_URL = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#\"'<>@]*@)?([^\s?#\"'<>]*)(\?[^\s#\"'<>]*)?"
)
_FIELD = re.compile(r"([^?&;=]+)=([^&;]*)")


def cleaner(
    environment: Mapping[str, str] | None = None,
    *,
    home: Path | None = None,
    folder: Path | None = None,
    names: Collection[str] = (),
) -> Callable[[Any], Any]:
    """A function that cleans every text in JSON values; keys of mappings stay.

    The environment, the home folder and the working folder are this process's by default. A value
    of the environment that stands in one of `names`, of methods and images, is no secret: they tie
    the parts of a result together.

    >>> clean = cleaner({"HUB_TOKEN": "hf_abcdefgh"}, home=Path("/home/ann"), folder=Path("/data"))
    >>> clean({"weights": "/home/ann/w.pt", "images": ["/data/photos"], "seed": 0})
    {'weights': '~/w.pt', 'images': ['photos'], 'seed': 0}
    >>> clean("https://ann:pw@host/a.git?x=1 https://host/f?sig=ab&page=2 with hf_abcdefgh")
    'https://host/a.git https://host/f?sig=[hidden]&page=2 with [hidden]'
    """
    found = os.environ if environment is None else environment
    secrets = sorted(
        {
            value.strip()
            for name, value in found.items()
            if _SECRET.search(name)
            and len(value.strip()) >= _SHORTEST
            and not any(value.strip() in known for known in names)
        },
        key=len,
        reverse=True,
    )
    places = _places(folder or Path.cwd(), "") + _places(home or Path.home(), "~/")

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return _text(value, secrets, places)
        if isinstance(value, Mapping):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        return value

    return clean


def _places(folder: Path, instead: str) -> list[tuple[re.Pattern[str], str]]:
    """What is written for a folder, and for what lies in it; nothing for the root."""
    made = []
    for path in dict.fromkeys((folder.absolute(), folder.resolve())):
        if len(path.parts) > 1:
            text = re.escape(str(path))
            made.append((re.compile(rf"(?<![\w.~/\\-]){text}[/\\](?=[^\s/\\])"), instead))
            alone = instead.rstrip("/") or "."
            made.append((re.compile(rf"(?<![\w.~/\\-]){text}(?![\w./\\-])"), alone))
    return made


def _text(text: str, secrets: list[str], places: list[tuple[re.Pattern[str], str]]) -> str:
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    if "://" in text:
        text = _URL.sub(_url, text)
    for pattern, instead in places:
        text = pattern.sub(instead.replace("\\", r"\\"), text)
    return text


def _url(found: re.Match[str]) -> str:
    scheme, _, rest, query = found.groups(default="")
    if rest.rstrip("/").endswith(".git"):
        query = ""
    return scheme + rest + _FIELD.sub(_field, query)


def _field(found: re.Match[str]) -> str:
    name = found[1]
    return f"{name}={_HIDDEN}" if _SECRET.search(name) else found[0]
