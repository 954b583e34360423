"""A cluster of two nodes on this machine, each with raylet, store and workers of its own, and one core."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before Ray is imported: nothing listens but on 127.0.0.1, nothing is told to its makers, and the one proxy asks the
# replicas of both nodes alike.
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0",
}
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}


class TwoNodes:
    """The second is there to be killed."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        head = NODE | {"include_dashboard": False, "temp_dir": str(folder / "session")}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self.cluster.address
        self.second: Any = None
        self.add_the_second()

    def add_the_second(self) -> None:
        self.second = self.second or self.cluster.add_node(**NODE)

    def kill_the_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None

    def raylet(self) -> int:
        """The process of the second node that all its workers come from."""
        [process] = self.second.all_processes["raylet"]
        pid: int = process.process.pid
        return pid


@pytest.fixture(scope="session")
def cluster() -> Iterator[TwoNodes]:
    folder = Path("/tmp") / f"percept-{os.getpid()}"  # names of sockets have at most 107 characters
    (folder / "ray").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_TMPDIR", str(folder))  # where clusters are found: this one, and nobody else's
        nodes = TwoNodes(folder)
        yield nodes
        nodes.cluster.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def two_nodes(cluster: TwoNodes) -> TwoNodes:
    cluster.add_the_second()
    return cluster
