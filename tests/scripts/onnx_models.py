"""Writes ONNX models as other programs export them, and what ONNX Runtime makes of each.

    python tests/scripts/onnx_models.py FOLDER

For each NAME.onnx that is a policy there are NAME.obs.f32 and NAME.actions.f32 (single
precision, row after row). Those in `refused/` are none.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OUT = Path(sys.argv[1])
OBS, HIDDEN, ACT, ROWS = 11, 16, 3, 200
draw = np.random.default_rng(4)
FLOAT = TensorProto.FLOAT


def constant(name, *shape, scale=0.3):
    values = draw.normal(size=shape).astype(np.float32) * np.float32(scale)
    return numpy_helper.from_array(values, name)


def model(nodes, constants, inputs=None, outputs=None, opset=17):
    inputs = inputs or [helper.make_tensor_value_info("state", FLOAT, ["batch", OBS])]
    outputs = outputs or [helper.make_tensor_value_info("mu", FLOAT, ["batch", ACT])]
    graph = helper.make_graph(nodes, "policy", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


def policy(name, made, rows=ROWS):
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, OUT / f"{name}.onnx")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    given, wanted = session.get_inputs()[0].name, session.get_outputs()[0].name
    obs = draw.normal(size=(rows, OBS)).astype(np.float32) * 2
    single = len(session.get_inputs()[0].shape) == 1
    fixed = session.get_inputs()[0].shape[0] == 1
    if single or fixed:
        rows_of = [session.run([wanted], {given: x if single else x[None]})[0].reshape(-1) for x in obs]
        actions = np.stack(rows_of)
    else:
        (actions,) = session.run([wanted], {given: obs})
    obs.tofile(OUT / f"{name}.obs.f32")
    actions.astype("<f4").tofile(OUT / f"{name}.actions.f32")


STD = numpy_helper.from_array(np.abs(draw.normal(size=OBS)).astype(np.float32) + 1, "std")
# PyTorch's: weights lie the other way round.
torch = [
    node("Sub", ["state", "mean"], "centred"),
    node("Div", ["centred", "std"], "s"),
    node("Gemm", ["s", "w0", "b0"], "h0", transB=1),
    node("Relu", ["h0"], "a0"),
    node("Gemm", ["a0", "w1", "b1"], "h1", transB=1, alpha=1.0, beta=1.0),
    node("Tanh", ["h1"], "mu"),
]
held = [constant("mean", OBS), STD, constant("w0", HIDDEN, OBS), constant("b0", HIDDEN),
        constant("w1", ACT, HIDDEN), constant("b1", ACT)]
policy("chain-torch", model(torch, held))
# TensorFlow's: a product and a sum; actions scaled and clipped.
keras = [
    node("MatMul", ["state", "k0"], "p0"),
    node("Add", ["p0", "b0"], "h0"),
    node("Tanh", ["h0"], "a0"),
    node("MatMul", ["a0", "k1"], "h1"),
    node("Mul", ["h1", "two"], "scaled"),
    node("Add", ["scaled", "b1"], "moved"),
    node("Clip", ["moved", "low", "high"], "mu"),
]
scalar = lambda name, x: numpy_helper.from_array(np.float32(x), name)
held = [constant("k0", OBS, HIDDEN), constant("b0", HIDDEN), constant("k1", HIDDEN, ACT),
        constant("b1", ACT), scalar("two", 2), scalar("low", -1), scalar("high", 1)]
policy("chain-keras", model(keras, held))
# Actions in units of their own: nothing clips them.
units = keras[:-1][:-1] + [node("Add", ["scaled", "b1"], "mu")]
policy("graph-units", model(units, held[:5]))
# A normalized network of a batch of one, with a value beside the action.
layers = [
    node("Gemm", ["state", "k0", "b0"], "h0"),
    node("LayerNormalization", ["h0", "gain", "b0"], "n0"),
    node("Erf", ["n0"], "e0"),
    node("Mul", ["n0", "e0"], "a0"),
    node("Concat", ["a0", "state"], "both", axis=1),
    node("Gemm", ["both", "k2", "b1"], "h1"),
    node("Tanh", ["h1"], "action"),
    node("Gemm", ["both", "k3", "b3"], "value"),
]
more = [constant("gain", HIDDEN), constant("k2", HIDDEN + OBS, ACT), constant("k3", HIDDEN + OBS, 1), constant("b3", 1)]
one = [helper.make_tensor_value_info("x", FLOAT, [1, OBS])]
layers[0] = node("Gemm", ["x", "k0", "b0"], "h0")
layers[4] = node("Concat", ["a0", "x"], "both", axis=1)
two = [helper.make_tensor_value_info("action", FLOAT, [1, ACT]), helper.make_tensor_value_info("value", FLOAT, [1, 1])]
policy("graph-batch-of-one", model(layers, [held[0], held[1], held[3]] + more, one, two))
# An observation without a batch.
flat = [
    node("MatMul", ["x", "k0"], "p0"),
    node("Relu", ["p0"], "a0"),
    node("MatMul", ["a0", "k1"], "p1"),
    node("Tanh", ["p1"], "mu"),
]
policy("chain-flat", model(flat, [held[0], held[2]], [helper.make_tensor_value_info("x", FLOAT, [OBS])],
                           [helper.make_tensor_value_info("mu", FLOAT, [ACT])]))

refused = OUT / "refused"
refused.mkdir()


def save(name, *args, **options):
    onnx.save(model(*args, **options), refused / f"{name}.onnx")


value = helper.make_tensor_value_info
save("two-inputs", [node("Add", ["a", "b"], "mu")], [], [value("a", FLOAT, [1, 3]), value("b", FLOAT, [1, 3])])
save("two-outputs", [node("Tanh", ["state"], "a"), node("Relu", ["state"], "b")], [],
     outputs=[value("a", FLOAT, [1, OBS]), value("b", FLOAT, [1, OBS])])
save("no-width", [node("Tanh", ["state"], "mu")], [], [value("state", FLOAT, ["n", "m"])])
save("doubles", [node("Tanh", ["state"], "mu")], [], [value("state", TensorProto.DOUBLE, [1, OBS])])
sizes = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "sizes")
save("bomb", [node("ConstantOfShape", ["sizes"], "x"), node("ReduceMax", ["x"], "m"), node("Add", ["state", "m"], "mu")], [sizes])
column, row = constant("c", 1 << 14, 1), constant("r", 1, 1 << 14)
save("folded", [node("MatMul", ["c", "r"], "x"), node("ReduceMean", ["x"], "m"), node("Add", ["state", "m"], "mu")], [column, row])
double = [node("Concat", [f"x{i}", f"x{i}"], f"x{i + 1}", axis=1) for i in range(40)]
save("doubling", [node("Identity", ["state"], "x0"), *double, node("ReduceMean", ["x40"], "mu")], [])
branch = helper.make_graph([node("Identity", ["state"], "y")], "b", [], [value("y", FLOAT, None)])
yes = numpy_helper.from_array(np.array(True), "yes")
save("branch", [node("If", ["yes"], "mu", then_branch=branch, else_branch=branch)], [yes])
save("other-domain", [helper.make_node("Secret", ["state"], ["mu"], domain="com.example")], [])
far = constant("k0", OBS, ACT)
far.ClearField("raw_data")
far.data_location = TensorProto.EXTERNAL
far.external_data.add(key="location", value="../../secret")
save("elsewhere", [node("MatMul", ["state", "k0"], "mu")], [far])
short = constant("k0", OBS, ACT)
short.raw_data = short.raw_data[:8]
save("short", [node("MatMul", ["state", "k0"], "mu")], [short])
wide = constant("k0", OBS + 1, ACT)
save("widths", [node("MatMul", ["state", "k0"], "mu")], [wide])
(refused / "no-graph.onnx").write_bytes(b"\x08\x08" + b"\x00" * 20)
