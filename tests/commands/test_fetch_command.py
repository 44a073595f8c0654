"""`camaudit data fetch` as a user runs it, over real TLS to a server on this machine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from camaudit.commands.fetch import fetch
from camaudit.errors import FetchError, MismatchError, UnknownNameError, UsageError
from tests.file_server import FileServer, Reply, stored

BODY = bytes(range(256)) * 1000
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, made for this run."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so there is no certificate to serve https with")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(made), str(key)


@pytest.fixture
def server(certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
    with FileServer(certificate=certificate) as running:
        yield running


def ran(*words: str) -> Result:
    return CliRunner().invoke(fetch, list(words), standalone_mode=False)


def test_a_url_is_fetched_and_then_there(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY, cuts=(1000,))
    words = (f"{server.url}/a.bin", "--out", str(tmp_path), "--sha256", SHA.upper())
    first, second = ran(*words), ran(*words)
    assert (first.exception, first.return_value) == (None, 0)
    assert (
        f"{tmp_path / 'a.bin'}: {len(BODY)} bytes, sha256 {SHA}; has the published" in first.output
    )
    assert "fetching a.bin" in first.stderr
    assert "was there already" in second.output
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert len(server.requests) == 2


def test_a_list_a_mirror_and_an_option_for_one_file(server: FileServer, tmp_path: Path) -> None:
    server.answers["/m/b.bin"] = stored(BODY)
    server.answers["/elsewhere"] = stored(BODY)
    path = tmp_path / "mine.toml"
    path.write_text(
        'format = "camaudit-fetch-1"\n[[files]]\nname = "a.bin"\npage = "https://example.org/"\n'
        f'[[files]]\nname = "b.bin"\nurl = "https://example.org/b"\nsha256 = "{SHA}"\n'
    )
    out = str(tmp_path / "out")
    mirrored = ran(str(path), "--only", "b.bin", "--mirror", f"{server.url}/m/", "--out", out)
    assert mirrored.exception is None
    given = ran(str(path), "--only", "a.bin", "--url", f"{server.url}/elsewhere", "--out", out)
    assert "its hash is trusted from now on" in given.output
    whole = ran(str(path), "--out", out)
    assert whole.output.count("was there already") == 2


def test_errors_have_their_kind_and_exit_code(server: FileServer, tmp_path: Path) -> None:
    server.answers["/a.bin"] = stored(BODY)
    server.answers["/away"] = Reply(status=302, headers={"Location": "http://127.0.0.1/a"})
    out = ("--out", str(tmp_path))
    cases: list[tuple[tuple[str, ...], type[Exception], int, str]] = [
        ((), UsageError, 2, "expected a NAME, LIST or URL"),
        (("http://127.0.0.1:1/a", *out), UsageError, 2, "expected an https URL"),
        (("see-trough-walls", *out), UnknownNameError, 2, "known: see-through-walls"),
        ((f"{server.url}/gone", *out), FetchError, 3, "404"),
        ((f"{server.url}/away", *out), FetchError, 3, "which is refused"),
        ((f"{server.url}/a.bin", *out, "--sha256", "0" * 64), MismatchError, 3, "not put in place"),
    ]
    for words, kind, code, why in cases:
        error = ran(*words).exception
        assert isinstance(error, kind), error
        assert error.exit_code == code  # type: ignore[attr-defined]
        assert why in str(error)
    assert not (tmp_path / "a.bin").exists()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    server.answers["/a.bin"] = stored(BODY)
    error = ran(f"{server.url}/a.bin", "--out", str(tmp_path)).exception
    assert isinstance(error, FetchError)
    assert "no valid TLS certificate" in str(error)
    assert server.requests == []


def test_lists_are_printed_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    assert "see-through-walls: " in ran("--list").output
    assert "params_vgg16_baseline.pt: 959763758 bytes" in ran("see-through-walls", "--list").output


def test_every_option_is_explained() -> None:
    text = ran("--help").output
    for parameter in fetch.params:
        if parameter.opts[0].startswith("--"):
            assert parameter.opts[0] in text
            assert getattr(parameter, "help", None), parameter.name
