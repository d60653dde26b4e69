"""Digests: every change is found, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.training import digest

ARRAYS = {
    "params": {"w": jnp.arange(6.0).reshape(2, 3), "half": jnp.ones(3, jnp.bfloat16)},
    "state": (jnp.zeros((), jnp.int32), {"empty": jnp.zeros((0, 2))}),
}
JSONS = {"position": {"samples": 3}, "metrics": None}


def test_what_was_saved_passes_on_any_device_and_in_any_order():
    record = digest.of_items(ARRAYS, JSONS)
    digest.check_itself(record)
    restored = jax.tree.map(lambda x: jax.device_put(np.asarray(x), jax.devices()[-1]), ARRAYS)
    digest.check_items(record, dict(reversed(restored.items())), JSONS)
    digest.check_items(record, {"state": restored["state"]}, {})


def test_shapes_can_be_read_from_the_digests():
    shapes = digest.shapes(digest.of_items(ARRAYS, JSONS), "params")
    assert shapes == {"w": "float32[2,3]", "half": "bfloat16[3]"}


@pytest.mark.parametrize("bit", [0, 7, 100, 191])
def test_a_flipped_bit_is_found(bit):
    record = digest.of_items(ARRAYS, JSONS)
    content = bytearray(np.asarray(ARRAYS["params"]["w"]).tobytes())
    content[bit // 8] ^= 1 << bit % 8
    flipped = np.frombuffer(bytes(content), np.float32).reshape(2, 3)
    changed = {"params": {**ARRAYS["params"], "w": flipped}}
    with pytest.raises(ValueError, match="params is not what was saved"):
        digest.check_items(record, changed, {})


@pytest.mark.parametrize(
    "changed",
    [
        {"w": jnp.arange(6.0).reshape(3, 2), "half": jnp.ones(3, jnp.bfloat16)},
        {"w": jnp.arange(6.0).reshape(2, 3), "half": jnp.ones(3, jnp.float16)},
        {"v": jnp.arange(6.0).reshape(2, 3), "half": jnp.ones(3, jnp.bfloat16)},
        {"w": jnp.arange(6.0).reshape(2, 3)},
    ],
    ids=["shape", "kind", "name", "missing"],
)
def test_other_arrays_of_equal_bytes_are_found(changed):
    with pytest.raises(ValueError, match="params"):
        digest.check_items(digest.of_items(ARRAYS, JSONS), {"params": changed}, {})


def test_other_json_is_found_and_damage_of_the_digests_themselves():
    record = digest.of_items(ARRAYS, JSONS)
    with pytest.raises(ValueError, match="position is not what was saved"):
        digest.check_items(record, {}, {"position": {"samples": 4}})
    for name in record:
        with pytest.raises(ValueError, match="digests"):
            digest.check_itself({**record, name: "crc32 00000000"})
