"""What the peers of `cargo xtask bench` and `cargo xtask gpu-check` share: reading the inputs that
`spar-bench bench` or `spar-gpu inputs` wrote, and the protocol of `spar-bench serve`
(crates/spar-bench/src/serve.rs): a line of JSON that says who is there, then
an answer to each request, `losses NAME`, `flops NAME` or `time NAME SECONDS`.

This file imports no framework: threads are limited before one is loaded.
"""

import argparse
import json
import os
import sys
import time

ADAM = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
LAYER_NORM_EPS = 1e-5
LOG_STD = (-4.0, 15.0)
LATENT_CLIP = 2.0


def arguments():
    """Stays on the given core and limits threads to it, before any import of a
    framework that would count cores."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--core", type=int, help="stay on this one of the allowed cores")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    args = parser.parse_args()
    if args.core is not None:
        core = sorted(os.sched_getaffinity(0))[args.core]
        os.sched_setaffinity(0, {core})
        for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]:
            os.environ[name] = "1"
    return args


def read(path):
    """The arrays as numpy's, and the hyper-parameters."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        return arrays, json.loads(file.metadata()["config"])


def layers(flat, n_in, hidden, n_out, layer_norm):
    """Cuts a flat parameter vector into layers: `(weight [in, out], bias)` and,
    in normalized hidden layers, `(gain, shift)` or None."""
    at, found = 0, []

    def take(*shape):
        nonlocal at
        size = 1
        for n in shape:
            size *= n
        at += size
        return flat[at - size : at].reshape(shape)

    widths = [n_in, *hidden, n_out]
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        linear = take(a, b), take(b)
        norm = (take(b), take(b)) if layer_norm and i < len(hidden) else None
        found.append((linear, norm))
    assert at == len(flat), f"{len(flat)} parameters, expected {at}"
    return found


def networks(arrays, c):
    """The layers of every network of SPAR by name."""
    obs, act, latent = c["obs"], c["act"], c["latent"]
    critic, rectify = c["critic"]["hidden"], c["rectify"]["hidden"]
    decoder = obs + act + latent, rectify, act, False
    shapes = {
        "anchor": (obs, c["anchor"]["hidden"], act, False),
        "critic.value": (obs, critic, 1, True),
        "rectify.encoder": (obs + 2 * act, rectify, 2 * latent, False),
        "rectify.decoder": decoder,
        "rectify.decoder_average": decoder,
    }
    for i in range(c["critic"]["n_critics"]):
        for suffix in ["", ".target"]:
            shapes[f"critic.{i}{suffix}"] = (obs + act, critic, 1, True)
    return {name: layers(arrays[f"start.{name}"], *shape) for name, shape in shapes.items()}


class Contender:
    """Something that learns from a cycle of batches."""

    # Of its cycle, where that is another than its neighbours'.
    steps = None

    def reset(self):
        """Goes back to the start, keeping what was compiled."""
        raise NotImplementedError

    def cycle(self):
        """One step per batch; returns when all is computed. Gives the losses by
        name, in whatever array type `floats` reads."""
        raise NotImplementedError

    def flops(self):
        """Floating-point operations of the matrix products of a step."""
        raise NotImplementedError

    def floats(self, losses):
        """Losses as a list of floats."""
        return [float(x) for x in losses]


def timed(contender, steps, seconds):
    contender.reset()
    contender.cycle()
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while True:
        contender.cycle()
        done += steps
        wall_s = time.perf_counter() - wall
        if wall_s >= seconds:
            cpu_s = time.process_time() - cpu
            return {"steps": done, "cpu_s": cpu_s, "wall_s": wall_s}


def serve(makers, steps, versions):
    """Answers requests on stdin until it ends. `makers` makes contenders by
    name; each is made once, on its first request."""
    made = {}

    def answer(value):
        print(json.dumps(value), file=stdout, flush=True)

    # What a framework prints must not get among the answers.
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer({"contenders": list(makers), "versions": versions})
    for line in sys.stdin:
        try:
            word, name, *rest = line.split()
            if name not in made:
                made[name] = makers[name]()
            contender = made[name]
            if word == "losses":
                contender.reset()
                losses = contender.cycle()
                answer({"losses": {k: contender.floats(v) for k, v in losses.items()}})
            elif word == "flops":
                answer({"flops": contender.flops()})
            elif word == "time":
                answer(timed(contender, contender.steps or steps, float(*rest)))
            else:
                raise ValueError(f"{line.strip()!r} is no request")
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            answer({"error": f"{type(error).__name__}: {said[0]}"})
