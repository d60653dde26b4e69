"""Twenty steps of the 32 px benchmark, recorded: what a change of the code may not change unseen.

    python -m tests.recorded_steps

writes `golden/steps.json` anew, for a change that is meant to give other numbers.
"""

import json
import pathlib
import tempfile
from typing import Any

import numpy as np

from ssimbad_jax.configs import benchmark_s32
from ssimbad_jax.stages import run, weights
from ssimbad_jax.training import digest, sharding

FILE = pathlib.Path(__file__).with_name("golden") / "steps.json"
STEPS = 20


def measure(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the loss of each step, and mean, norm and size of each parameter after the last.

    Args:
        folder: for the run and its data.
    """
    config = benchmark_s32.get_config()
    config.data.prepared_dir = str(folder / "prepared")
    config.data.toy_faces_train, config.data.toy_faces_test = 96, 2
    config.train.validation_images = 8
    config.train.steps, config.train.warmup_steps, config.train.log_every = STEPS, 5, 1
    config.train.validate_every = config.train.sample_every = 10 * STEPS
    config.eval.sampler, config.eval.sampler_steps = "euler", 1
    run.run(config, folder / "run", ["train"])
    rows = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
    config.eval.weights = "pretrain"
    used = weights.load(config, folder / "run", sharding.data_mesh())
    parameters = {
        name: np.asarray(array, np.float64) for name, array in digest.flatten(used.params).items()
    }
    return {
        "loss": [row["loss"] for row in rows if "loss" in row],
        "parameters": {
            name: {
                "mean": float(array.mean()),
                "norm": float(np.linalg.norm(array)),
                "size": array.size,
            }
            for name, array in parameters.items()
        },
    }


if __name__ == "__main__":
    import tests.conftest  # noqa: F401  (sets jax up as for the tests)

    with tempfile.TemporaryDirectory() as name:
        FILE.write_text(json.dumps(measure(pathlib.Path(name)), indent=1) + "\n")
