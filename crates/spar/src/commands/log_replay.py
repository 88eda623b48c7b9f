"""Sends the logs of spar's runs to a tracker, by the tracker's own client.

    python - --to wandb|mlflow|trackio --project NAME RUN...

RUN is a run's folder, or a folder of them. Every line of metrics.jsonl becomes one step,
under its phase's name (`spar/q_loss`), then eval.csv or validation.csv (`eval/...`), then
what DONE says (`final/...`); the leaves of spec.json are the run's settings.
"""

import sys

# Neither the folder it is called in nor this program's is looked for modules in.
sys.path = [place for place in sys.path if place not in ("", ".")]

import argparse
import csv
import importlib
import json
import math
import os

CURVES = {"eval.csv": "eval", "validation.csv": "validation"}


def find(places):
    for place in places:
        found = [f for f, _, names in sorted(os.walk(place)) if "metrics.jsonl" in names]
        if not found:
            sys.exit(f"error: {place}: no run there: no metrics.jsonl")
        yield from found


def leaves(value, name=""):
    if not isinstance(value, dict):
        return {name: value if isinstance(value, (int, float, str, bool)) else json.dumps(value)}
    found = {}
    for key, inner in value.items():
        found.update(leaves(inner, f"{name}.{key}" if name else key))
    return found


def read_json(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


# What a row is of: updates, or steps in an environment where the run was fine-tuned.
COUNTS = ("update", "step")


def count(row):
    return int(next(row[name] for name in COUNTS if name in row))


def numbers(row, group):
    found = {}
    for name, value in row.items():
        try:
            value = float(value)
        except (TypeError, ValueError):
            continue
        if name not in COUNTS and math.isfinite(value):
            found[f"{group}/{name}"] = value
    return found


def points(folder):
    """(group, update, numbers) of everything the run has logged."""
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        lines = file.read().split("\n")
        # What follows the last line's end, of a run under way or one that was killed, may be
        # half a line.
        for line in lines[:-1]:
            row = json.loads(line)
            if "phase" in row:
                yield row["phase"], count(row), numbers(row, row["phase"])
    for name, group in CURVES.items():
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    yield group, count(row), numbers(row, group)
    done = read_json(folder, "DONE")
    final = {}
    if done.get("returns"):
        final["final/mean_return"] = sum(done["returns"]) / len(done["returns"])
    if done.get("validation"):
        final["final/validation_mse"] = done["validation"]["mse"]
    if final:
        updates = max(done.get("updates", 0), done.get("anchor_updates", 0))
        yield "final", done.get("finetuned", {}).get("steps", updates), final


class Wandb:
    package = "wandb"

    def __init__(self, client, project):
        self.client, self.project = client, project

    def begin(self, name, settings):
        self.run = self.client.init(project=self.project, name=name, config=settings)
        for group in ("anchor", "spar", "method", *CURVES.values(), "final"):
            self.run.define_metric(f"{group}/update", hidden=True)
            self.run.define_metric(f"{group}/*", step_metric=f"{group}/update")

    def point(self, group, update, values):
        self.run.log({f"{group}/update": update, **values})

    def end(self, finished):
        self.run.finish(exit_code=0 if finished else 1)


class Mlflow:
    package = "mlflow"

    def __init__(self, client, project):
        self.mlflow = client
        client.set_experiment(project)

    def begin(self, name, settings):
        self.run = self.mlflow.start_run(run_name=name)
        self.mlflow.log_params(settings)

    def point(self, group, update, values):
        self.mlflow.log_metrics(values, step=update)

    def end(self, finished):
        self.mlflow.end_run("FINISHED" if finished else "KILLED")


class Trackio:
    package = "trackio"

    def __init__(self, client, project):
        self.client, self.project = client, project

    def begin(self, name, settings):
        self.client.init(project=self.project, name=name, config=settings)

    def point(self, group, update, values):
        self.client.log(values, step=update)

    def end(self, finished):
        self.client.finish()


TRACKERS = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", choices=TRACKERS, required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("runs", nargs="+")
    args = parser.parse_args()
    folders = list(find(args.runs))
    kind = TRACKERS[args.to]
    try:
        client = importlib.import_module(kind.package)
    except ImportError as error:
        sys.exit(f"error: {sys.executable} has no {kind.package} ({error}); install it, or name "
                 "another Python with --python")
    try:
        tracker = kind(client, args.project)
    except Exception as error:
        sys.exit(f"error: {kind.package}: {type(error).__name__}: {error}")
    for folder in folders:
        try:
            replay(folder, tracker)
        except Exception as error:
            words = str(error).split("\n")[0]
            sys.exit(f"error: {folder}: {type(error).__name__}: {words}")


def replay(folder, tracker):
    spec = read_json(folder, "spec.json")
    parts = [spec.get("task"), spec.get("variant") or spec.get("method")]
    name = "/".join(str(part) for part in parts if part)
    name = f"{name}/seed-{spec['seed']}" if name else os.path.basename(folder)
    tracker.begin(name, leaves(spec))
    steps = 0
    for point in points(folder):
        tracker.point(*point)
        steps += 1
    tracker.end(os.path.exists(os.path.join(folder, "DONE")))
    print(f"{folder}: {steps} steps to {tracker.package} as {name}", file=sys.stderr)


main()
