"""What the user's shell says about jax does not change the numbers of a run unseen."""

import json
import os
import subprocess
import sys

import pytest

from tests import program

_PRINT = """
import json
from ssimbad_jax.training import numerics
numerics.settle()
import jax, jax.numpy as jnp
bits = jax.random.bits(jax.random.key(0), (2,)).tolist()
print(json.dumps([str(jnp.arange(3.0).dtype), bits, numerics.record()]))
"""


def _settled(**environment):
    done = subprocess.run(
        [sys.executable, "-c", _PRINT],
        env={**os.environ, **environment},
        cwd=program.REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    *told, result = done.stdout.splitlines()
    return told, json.loads(result)


@pytest.fixture(scope="module")
def usual():
    """What a shell that sets nothing gives."""
    told, result = _settled()
    assert told == []
    return result


@pytest.mark.parametrize(
    ("variable", "given", "value"),
    [
        ("JAX_ENABLE_X64", "True", "False"),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg", "threefry2x32"),
        ("JAX_RANDOM_SEED_OFFSET", "7", "0"),
        ("JAX_THREEFRY_PARTITIONABLE", "False", "True"),
    ],
)
def test_other_dtypes_and_other_noise_are_set_aside_and_told(usual, variable, given, value):
    told, result = _settled(**{variable: given})
    assert result == usual
    assert told == [f"{variable}={given} is set aside: results are those of {value}"]


def test_devices_are_chosen_and_processes_joined_before_jax_starts_to_tell(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ssimbad_jax.main",
            "--config=quickstart",
            f"--workdir={tmp_path / 'run'}",
            "--stages=evaluate",
        ],
        env={
            name: value
            for name, value in {**os.environ, "JAX_ENABLE_X64": "1"}.items()
            if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
        },
        cwd=program.REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "JAX_ENABLE_X64=True is set aside: results are those of False\n"
    assert (
        done.stderr
        == f"error: --workdir={tmp_path / 'run'} does not exist; name the folder of a run\n"
    )


def test_another_precision_and_options_of_xla_are_used_told_and_recorded():
    flags = "--xla_cpu_enable_fast_math=false"
    told, (_, _, record) = _settled(JAX_DEFAULT_MATMUL_PRECISION="bfloat16", XLA_FLAGS=flags)
    assert told == [
        "JAX_DEFAULT_MATMUL_PRECISION=bfloat16 is used; without it results differ",
    ]
    assert record["jax_default_matmul_precision"] == "bfloat16"
    assert record["XLA_FLAGS"] == flags
