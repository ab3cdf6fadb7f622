# SPDX-License-Identifier: Apache-2.0
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from harness import Cluster  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: runs longer than ten seconds")


@pytest.fixture
def cluster():
    """Three fresh nodes with a leader."""
    c = Cluster(3)
    try:
        yield c.start().settled()
    finally:
        c.close()


@pytest.fixture(scope="module")
def shared():
    """Three nodes for the tests of one file that leave them healthy; each test uses names of its own."""
    c = Cluster(3)
    try:
        yield c.start().settled()
    finally:
        c.close()


@pytest.fixture
def single():
    c = Cluster(1)
    try:
        yield c.start().settled().nodes[0]
    finally:
        c.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """On a failure show the end of each node's log."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for name in ("cluster", "shared"):
            c = item.funcargs.get(name)
            if c is not None:
                for x in c.nodes:
                    report.sections.append((f"log of {x.name}", x.log()[-2500:]))
