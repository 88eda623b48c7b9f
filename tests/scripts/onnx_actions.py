"""Actions of ONNX models under ONNX Runtime.

For each model named on the command line, `NAME.onnx`, reads the observations of
`NAME.obs.f32` (single precision, row after row) and writes `NAME.actions.f32`. Prints what
each model says of itself, one JSON object a line.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime

for name in sys.argv[1:]:
    onnx.checker.check_model(onnx.load(name + ".onnx"), full_check=True)
    session = onnxruntime.InferenceSession(name + ".onnx", providers=["CPUExecutionProvider"])
    (given,), (wanted,) = session.get_inputs(), session.get_outputs()
    obs = np.fromfile(name + ".obs.f32", "<f4").reshape(-1, given.shape[1])
    (actions,) = session.run([wanted.name], {given.name: obs})
    # Any number of rows, one by one as well.
    one = session.run(None, {given.name: obs[3:4]})[0]
    np.testing.assert_allclose(one[0], actions[3], atol=1e-6)
    actions.astype("<f4").tofile(name + ".actions.f32")
    said = dict(session.get_modelmeta().custom_metadata_map)
    said.update(input=given.name, output=wanted.name, widths=[given.shape[1], wanted.shape[1]])
    print(json.dumps(said))
