# SPDX-License-Identifier: Apache-2.0
"""Programs written for Consul, as their makers ship them."""
import pathlib
import subprocess

import pytest
from harness import SLOW

SCRIPT = pathlib.Path(__file__).with_name("consul_client.py")
PYTHON = "/usr/bin/python3"


@pytest.mark.skipif(subprocess.run([PYTHON, "-c", "import consul"], capture_output=True, check=False).returncode != 0,
                    reason="python3-consul is not installed")
def test_python_consul(shared):
    """Debian's python-consul: keys, blocking reads, locks, the agent, the catalog, health."""
    for n in shared.nodes:
        p = subprocess.run([PYTHON, str(SCRIPT), str(n.http_port)], capture_output=True, timeout=120 * SLOW, check=False)
        assert p.returncode == 0, p.stdout.decode() + p.stderr.decode()
        assert p.stdout.decode().split("\n")[:3] == ["keys fine", "locks fine", "services fine"]
