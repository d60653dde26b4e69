import ast
import pathlib

import jax
import numpy as np
import pytest

from ssimbad_jax import streams

_PACKAGE = pathlib.Path(streams.__file__).parent


def _numbers(key):
    return np.asarray(jax.random.bits(key, (4,)))


def test_no_two_streams_of_a_key_draw_the_same():
    assert len({stream.value for stream in streams.Stream}) == len(streams.Stream.__members__)
    key = jax.random.key(0)
    drawn = {tuple(_numbers(streams.fold_in(key, stream))) for stream in streams.Stream}
    assert len(drawn) == len(streams.Stream)


def test_streams_of_a_batch_of_keys_are_those_of_each():
    keys = streams.of_each(jax.random.key(1), 3)
    batch = streams.fold_in(keys, streams.Stream.NOISE)
    for index in range(3):
        one = streams.fold_in(keys[index], streams.Stream.NOISE)
        np.testing.assert_array_equal(_numbers(batch[index]), _numbers(one))


def test_the_key_of_an_element_does_not_depend_on_the_batch():
    few, many = (streams.of_each(jax.random.key(2), count) for count in (2, 9))
    np.testing.assert_array_equal(jax.random.key_data(few), jax.random.key_data(many[:2]))
    assert len({tuple(_numbers(key)) for key in many}) == 9


@pytest.mark.parametrize(
    "path", sorted(_PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(_PACKAGE).as_posix()
)
def test_keys_are_folded_here_alone(path):
    used = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert "jax.random.split" not in used
    assert "jax.random.fold_in" not in used or path.name == "streams.py"
