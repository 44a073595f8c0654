"""The same results from a Ray cluster of two nodes as from this process, also when one goes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from camaudit.audit.cluster import Cluster
from camaudit.audit.placing import Place
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.errors import AuditError
from tests.audit.test_executors import CELLS
from tests.audit.test_resuming import photographs, plain, settings

__all__ = ["photographs", "settings"]

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine, the first without room for workers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster as Nodes

        nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


def test_a_node_that_is_removed_costs_only_what_was_at_work(
    nodes: Any, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain(run_audit(settings))
    place = Place("ray", workers=2)
    found = run_audit(settings, records=tmp_path / "out", place=place)
    assert plain(found) == expected
    assert found.results.timing["cells"] == {"found": 0, "computed": CELLS}

    answers = [0]
    genuine = Cluster.wait

    def wait(self: Cluster) -> Any:
        answers[0] += 1
        if answers[0] == 5:
            nodes.remove_node(sorted(nodes.worker_nodes, key=id)[0], allow_graceful=False)
        return genuine(self)

    monkeypatch.setattr(Cluster, "wait", wait)
    found = run_audit(settings, place=Place("ray", workers=2))
    assert len(nodes.worker_nodes) == 1
    assert plain(found) == expected


def test_a_cluster_that_is_not_there_is_said(settings: Settings) -> None:
    with pytest.raises(AuditError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run_audit(settings, place=Place("ray", address="127.0.0.1:1"))
