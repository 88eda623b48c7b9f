"""Two updates of every baseline a second time: independent PyTorch programs in
double precision, one file a method, written from the methods' papers and the
authors' code as described, not from the Rust code.

Run from the repository's root in a private environment with
    torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
in two steps:
    cargo run --release -p spar-baselines --example baseline_inputs
    python tests/scripts/baselines/run.py [method ...]

The first writes tests/fixtures/pytorch/baselines/<method>.inputs.safetensors:
parameters to start from, one batch, the file it is of, the noise that the random
streams will give, and in the metadata the hyper-parameters. The second writes
<method>.expected.safetensors: losses, all parameters after each update, and what
the policy does after the last. crates/spar-baselines/tests/parity.rs compares.
"""

import importlib
import json
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FIXTURES = pathlib.Path("tests/fixtures/pytorch/baselines")
UPDATES = 2


def main():
    there = sorted(p.name.split(".")[0] for p in FIXTURES.glob("*.inputs.safetensors"))
    for name in sys.argv[1:] or there:
        with safe_open(FIXTURES / f"{name}.inputs.safetensors", "pt") as file:
            inputs = {key: file.get_tensor(key) for key in file.keys()}
            config = json.loads(file.metadata()["config"])
        module = importlib.import_module(name.replace("-", "_"))
        method, expected = module.Method(inputs, config), {}
        for update in range(1, UPDATES + 1):
            for key, value in method.update(update).items():
                expected[f"{update}.metric.{key}"] = torch.as_tensor(value)
            for net, learner in method.nets.items():
                expected[f"{update}.params.{net}"] = learner.flat.clone()
        with torch.no_grad():
            expected["actions"] = method.act().clamp(-1, 1)
        expected = {k: v.detach().float().reshape(-1).clone() for k, v in expected.items()}
        save_file(expected, FIXTURES / f"{name}.expected.safetensors")
        print(name, {k: round(v.item(), 5) for k, v in expected.items() if len(v) == 1})


if __name__ == "__main__":
    main()
