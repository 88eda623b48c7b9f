"""Compares the stubs with what they describe, and checks the package's own types."""

import subprocess
import sys
import tempfile
from pathlib import Path

import spar

PROGRAM = """
import numpy as np
import spar
from spar import stats

policy: spar.Policy = spar.load("policy.safetensors")
action: np.ndarray = policy.act([0.0, 1.0])
width: int = policy.obs_dim
data = spar.Dataset("log.hdf5", env=None)
trained: spar.Policy = spar.train(data, "iql", updates=10, beta=3.0, callback=print)
estimate: stats.Estimate = stats.interval({"hopper": [1.0, 2.0]}, "iqm")
returns: np.ndarray = spar.evaluate(trained, "Pendulum-v1", episodes=2)
"""
WRONG = {
    'spar.load(3)': "arg-type",
    'spar.train("log.hdf5", "iql")': "arg-type",
    'spar.Dataset("log.hdf5", nxt="checked")': "call-arg",
    'spar.load("p").obs_dims': "attr-defined",
}


def mypy(*words):
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


code, told = mypy("mypy.stubtest", "spar._spar")
assert code == 0, told
where = str(Path(spar.__file__).parent)
code, told = mypy("mypy", "--strict", where)
assert code == 0, told
with tempfile.TemporaryDirectory() as folder:
    program = Path(folder) / "program.py"
    program.write_text(PROGRAM)
    code, told = mypy("mypy", "--strict", str(program))
    assert code == 0, told
    for line, kind in WRONG.items():
        program.write_text("import spar\n" + line + "\n")
        code, told = mypy("mypy", "--strict", str(program))
        assert code == 1 and f"[{kind}]" in told, (line, told)
