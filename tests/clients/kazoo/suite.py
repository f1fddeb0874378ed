"""Runs kazoo's own test suite (the wheel ships it) against the server of the stage, instead of a cluster of its own.

Invariant: every test is either run, or stands in LEFT_OUT with its reason, which is printed. A test that skips itself
without standing there, or an entry that names no test any more, fails the run as a failed test does.
"""
import os
import sys
import types

import pytest

# Before the harness imports it: the original wants OpenSSL and Java key stores to start servers nobody needs here.
common = types.ModuleType("kazoo.testing.common")
sys.modules["kazoo.testing.common"] = common


class ZookeeperCluster:
    """Never made: `get_global_cluster` is replaced below."""


common.ZookeeperCluster = ZookeeperCluster

import kazoo  # noqa: E402
from kazoo.testing import harness  # noqa: E402

from stage import ask  # noqa: E402

# A test, or the start of several tests' names, and why it is not run.
LEFT_OUT = {
    "test_build.py": "checks the settings of kazoo's own CI",
    "test_client.py::TestClient::test_update_host_list": "needs an ensemble: stops the first of several servers",
    "test_client.py::TestSSLClient": "needs TLS with key stores",
    "test_client.py::TestReconfig": "needs an ensemble: hangs on a standalone Apache ZooKeeper too",
    "test_connection.py::TestReadOnlyMode": "needs an ensemble of three that loses its quorum",
    "test_eventlet_handler.py": "needs eventlet",
    "test_gevent_handler.py": "needs gevent",
    "test_utils.py::TestCreateTCPConnection::test_timeout_arg_eventlet": "needs eventlet",
    "test_lock.py::KazooLockTests::test_rw_lock": "a race of its own: starts a reader and a writer at once, waits for ever "
    "if the writer is first",
    "test_sasl.py": "needs SASL, for a part a Kerberos server too",
}


class Server:
    """The stage's server in the shape of the harness' managed one."""

    running = True

    def __init__(self, address):
        self.address = address
        host, port = address.split(":")
        self.host, self.client_port = host, int(port)

    def stop(self):
        if self.running:
            ask("stop")
            self.running = False

    def run(self):
        if not self.running:
            ask("start")
            self.running = True


class Cluster(list):
    """One server. It outlives every test class: each test has a root of its own."""

    def start(self):
        for server in self:
            server.run()

    def terminate(self):
        """Nothing to end: the stage does."""

    def get_logs(self):
        return []


_cluster = Cluster([Server(os.environ["ZK_SERVER"])])
harness.get_global_cluster = lambda: _cluster


class Ledger:
    """Leaves tests out by LEFT_OUT, and counts what became of the others."""

    def __init__(self):
        self.unused = set(LEFT_OUT)
        self.passed, self.bad = set(), set()

    def pytest_collection_modifyitems(self, config, items):
        kept, left = [], []
        for item in items:
            name = item.nodeid.rpartition("kazoo/tests/")[2]
            entry = next((entry for entry in LEFT_OUT if name.startswith(entry)), None)
            (left if entry else kept).append(item)
            if entry:
                self.unused.discard(entry)
                print("left out %s: %s" % (name, LEFT_OUT[entry]))
        items[:] = kept
        config.hook.pytest_deselected(items=left)

    def pytest_collectreport(self, report):
        if report.outcome != "passed":
            self.bad.add(report.nodeid)

    def pytest_runtest_logreport(self, report):
        if report.outcome != "passed":
            self.bad.add(report.nodeid)
        elif report.when == "call":
            self.passed.add(report.nodeid)


def main():
    ledger = Ledger()
    tests = os.path.join(os.path.dirname(kazoo.__file__), "tests")
    arguments = ["-p", "no:cacheprovider", "--tb=short", "-v", "-rfEs", "-o", "faulthandler_timeout=30", "--durations=15", "--color=no", "-s"]
    status = pytest.main(arguments + [tests] + sys.argv[1:], plugins=[ledger])
    for name in sorted(ledger.bad):
        print("not passed %s" % name)
    for entry in sorted(ledger.unused):
        print("no such test: %s" % entry)
    print("suite passed %d" % len(ledger.passed - ledger.bad), flush=True)
    # Threads that a test left behind must not hold the run.
    os._exit(1 if status or ledger.bad or ledger.unused else 0)


main()
