"""Where MuJoCo's own Python has the solids of gymnasium's models, in poses that are far from
rest. Run from the repository's root in a private environment with
    gymnasium[mujoco]==1.4.0 mujoco==3.17.0
as
    python tests/scripts/scenes.py

Writes tests/fixtures/gymnasium/scenes.json: per model positions, and of every geom kind, size,
position and rotation after `mj_forward`. crates/spar-env/tests/scenes.rs compares.
"""

import json
import pathlib

import gymnasium
import mujoco
import numpy as np

MODELS = pathlib.Path(gymnasium.__file__).parent / "envs/mujoco/assets"
FILE = pathlib.Path("tests/fixtures/gymnasium/scenes.json")


def main():
    draw, out = np.random.default_rng(11), {}
    for name, file in [
        ("halfcheetah", "half_cheetah"),
        ("hopper", "hopper"),
        ("walker2d", "walker2d"),
        ("ant", "ant"),
    ]:
        model = mujoco.MjModel.from_xml_path(str(MODELS / f"{file}.xml"))
        data = mujoco.MjData(model)
        data.qpos[:] = model.qpos0 + draw.uniform(-0.4, 0.4, model.nq)
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_forward(model, data)
        short = lambda x: [round(float(v), 9) for v in x]
        out[name] = {
            "qpos": [float(v) for v in data.qpos],
            "geoms": [
                {
                    "kind": int(model.geom_type[i]),
                    "size": short(model.geom_size[i]),
                    "position": short(data.geom_xpos[i]),
                    "rotation": short(data.geom_xmat[i]),
                }
                for i in range(model.ngeom)
            ],
        }
    FILE.write_text(json.dumps(out, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
