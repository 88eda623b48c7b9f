"""What TensorBoard's own reader finds in a folder of event files, as one JSON object."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, SESSION_START_INFO_TAG

everything = {"scalars": 0, "tensors": 0}
accumulator = EventAccumulator(sys.argv[1], size_guidance=everything)
accumulator.Reload()


def hparams(tag):
    data = plugin_data_pb2.HParamsPluginData()
    data.ParseFromString(accumulator.SummaryMetadata(tag).plugin_data.content)
    return data


tags = accumulator.Tags()["scalars"]
scalars = {tag: [[e.step, e.value, e.wall_time] for e in accumulator.Scalars(tag)] for tag in tags}
start = hparams(SESSION_START_INFO_TAG).session_start_info
values = {name: getattr(v, v.WhichOneof("kind")) for name, v in start.hparams.items()}
found = {"scalars": scalars, "hparams": values}
if SESSION_END_INFO_TAG in accumulator.Tags()["tensors"]:
    found["status"] = hparams(SESSION_END_INFO_TAG).session_end_info.status
# The folder above is what a user points TensorBoard to.
runs = EventMultiplexer().AddRunsFromDirectory(sys.argv[1] + "/..").Reload()
found["runs"] = sorted(runs.Runs())
json.dump(found, sys.stdout)
