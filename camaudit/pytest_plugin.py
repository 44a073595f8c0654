"""The pytest plugin: hooks alone, what they do stands in :mod:`camaudit.testing`.

While nothing of it is asked for, neither torch nor anything else of camaudit is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from camaudit.testing.fixture import Auditor
    from camaudit.testing.session import AuditSession

__all__ = ["SESSION"]

SESSION = pytest.StashKey["AuditSession"]()  #: where a run of pytest keeps its audits

_MARKER = (
    "camaudit(checks=..., policy=..., explainers=...): what the fixture camaudit audits by, "
    "where the test itself does not say"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every option as a flag and in the configuration file."""
    from camaudit.testing.options import add_options

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Make the session's object; the policy's file is collected beside what was asked for."""
    from camaudit.testing.options import read_options

    config.addinivalue_line("markers", _MARKER)
    if not read_options(config).idle:
        _of(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the workers shared."""
    if SESSION in config.stash:
        config.stash[SESSION].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where all of them keep their results."""
    node.workerinput["camaudit"] = str(_of(node.config).share())


def pytest_report_header(config: pytest.Config) -> str | None:
    """The policy whose conditions are tests."""
    return config.stash[SESSION].header if SESSION in config.stash else None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The policy, whose conditions are tests."""
    if SESSION not in parent.config.stash:
        return None
    return parent.config.stash[SESSION].collected(file_path, parent)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `camaudit_explainer` among its arguments is run for each explainer."""
    if "camaudit_explainer" in metafunc.fixturenames:
        from camaudit.testing.marker import parametrise

        parametrise(_of(metafunc.config), metafunc)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports; where they cannot be written the run has failed."""
    if SESSION in session.config.stash and not session.config.stash[SESSION].finish():
        session.exitstatus = max(session.exitstatus, pytest.ExitCode.TESTS_FAILED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the policy's verdict is, and what was written."""
    if SESSION in terminalreporter.config.stash:
        from camaudit.testing.summary import summarise

        summarise(terminalreporter.config.stash[SESSION], terminalreporter)


@pytest.fixture
def camaudit(request: pytest.FixtureRequest) -> Iterator[Auditor]:
    """Audits models and explainers: `camaudit.audit(model, explainer="gradcam", images=x)`."""
    from camaudit.testing.fixture import auditor

    with auditor(_of(request.config), request.node) as made:
        yield made


@pytest.fixture
def camaudit_explainer(request: pytest.FixtureRequest) -> Any:
    """An explainer of the marker or of the policy, one after the other."""
    return request.param


def _of(config: pytest.Config) -> AuditSession:
    """The session's object, made when it is first needed."""
    if SESSION not in config.stash:
        from camaudit.testing.session import open_session

        config.stash[SESSION] = open_session(config)
    return config.stash[SESSION]
