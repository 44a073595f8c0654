"""One run of pytest: its options, its policy, and the audits that its tests ask for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from camaudit.errors import CamauditError, UsageError
from camaudit.gates.source import find_policy
from camaudit.testing.gated import baseline_path
from camaudit.testing.options import Options, read_options
from camaudit.testing.shared import Shared
from camaudit.testing.written import check_report, write_baseline, write_report

if TYPE_CHECKING:
    from camaudit.gates.policy import Policy

__all__ = ["POLICY", "AuditSession", "open_session"]

POLICY = "policy"  #: name of the policy's own run among what processes share


@dataclass(eq=False)
class AuditSession:
    """The state of one run of pytest in one process.

    path: of the policy whose conditions are tests; None where they are not. worker: whether this is
    a process of pytest-xdist that leaves reports to another. written, problem: what came of them.
    """

    options: Options
    path: Path | None
    worker: bool
    shared: Shared = field(default_factory=Shared)
    written: list[Path] = field(default_factory=list)
    problem: str = ""
    baseline: Path | None = None
    _folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def header(self) -> str | None:
        """A line for the head of pytest's output."""
        if self.path is None:
            return None
        quick = ", quick" if self.options.quick else ""
        return f"camaudit: policy {self._shown(self.path)}{quick}"

    def share(self) -> Path:
        """A folder that all processes of this run have in common, made when it is first needed."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(
                prefix="camaudit-", ignore_cleanup_errors=True
            )
            self.shared = Shared(Path(self._folder.name))
        return Path(self._folder.name)

    def close(self) -> None:
        """Remove that folder."""
        if self._folder is not None:
            self._folder.cleanup()

    def collected(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """The collector of the policy's file."""
        if self.path is None or path != self.path:
            return None
        from camaudit.testing.items import PolicyFile

        made: pytest.Collector = PolicyFile.from_parent(parent, path=path, audits=self)
        return made

    def policy(self, given: str | Path | Policy | None = None) -> Policy:
        """A policy, read; None: that of the options, or of the rootdir.

        Relative paths begin at the rootdir. Raises :class:`UsageError` for one that is not there
        or broken.
        """
        from camaudit.gates.reading import read_policy

        if given is not None and not isinstance(given, (str, Path)):
            return given
        if given is not None:
            return read_policy(self.options.root / given)
        return read_policy(self.path or self.options.named or find_policy(self.options.root))

    def default_policy(self) -> Policy | None:
        """The policy of the options or of the rootdir; None where there is none.

        Raises :class:`UsageError` for a broken one.
        """
        if self.path is None and self.options.named is None:
            try:
                find_policy(self.options.root)
            except UsageError as error:
                if "no policy in" in str(error):
                    return None
                raise
        return self.policy()

    def run(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What the policy's audit gave; the first test that needs it has it made."""
        return self.shared.once(POLICY, make)

    def finish(self) -> bool:
        """Write reports and baseline; whether that succeeded."""
        if self.worker:
            return True
        run, records = self.shared.known(POLICY), self.shared.records()
        try:
            if self.options.report is not None and (run is not None or records):
                self.written += write_report(self.options.report, run, records)
            if self.baseline is not None and run is not None:
                self.written += write_baseline(self.baseline, run)
        except CamauditError as error:
            self.problem = str(error)
        return not self.problem

    def _shown(self, path: Path) -> str:
        with suppress(ValueError):
            return str(path.relative_to(self.options.root))
        return str(path)


def open_session(config: pytest.Config) -> AuditSession:
    """The session of a run; its policy is added to what is collected.

    Raises :class:`pytest.UsageError` where there is no policy, or no report can be written.
    """
    options = read_options(config)
    worker = hasattr(config, "workerinput")
    shared = Shared(_given(config))
    try:
        path = _policy_path(options)
        if options.report is not None and not worker:
            check_report(options.report)
    except CamauditError as error:
        raise pytest.UsageError(str(error)) from error
    if path is not None:
        _collect(config, path)
    made = AuditSession(options, path, worker, shared)
    if options.update_baseline and path is not None:
        made = replace(made, baseline=_baseline(made))
    return made


def _given(config: pytest.Config) -> Path | None:
    """The folder that this worker shares with the others, if it is one and can see it."""
    text = getattr(config, "workerinput", {}).get("camaudit")
    folder = None if text is None else Path(text)
    return folder if folder is not None and folder.is_dir() else None


def _policy_path(options: Options) -> Path | None:
    if not options.gated:
        return None
    path = options.named or find_policy(options.root)
    if not path.is_file():
        raise UsageError(f"--camaudit-policy: {path} is no file; camaudit init writes a policy")
    return Path(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay, as pytest has them


def _collect(config: pytest.Config, path: Path) -> None:
    """Have the policy's file collected, unless it, or a test of it, was asked for by name."""
    start = config.invocation_params.dir
    asked = [os.path.abspath(start / arg.partition("::")[0]) for arg in config.args]  # noqa: PTH100
    if str(path) not in asked:
        config.args.append(os.path.relpath(path, start))


def _baseline(session: AuditSession) -> Path | None:
    """Where the policy has its baseline; a broken policy tells so when it is collected."""
    try:
        policy = session.policy()
    except UsageError:
        return None
    if policy.baseline is None:
        raise pytest.UsageError(
            f"--camaudit-update-baseline: {policy.path} says nowhere where the baseline is: write "
            'baseline = "baseline/results.json" in [run]'
        )
    return baseline_path(policy)
