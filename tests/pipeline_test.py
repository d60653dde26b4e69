"""The input pipeline: order, position, hosts, workers, padding, devices."""

import itertools
import pickle
import subprocess
import sys

import jax
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import anime_face, pipeline, toy_face

_SIZE = 8
_TRAIN = 23
_TEST = 10


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """Pictures whose first value is their index, with sketches whose value is 200 + index."""
    top = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for split, count in (("train", _TRAIN), ("test", _TEST)):
        for kind in ("reference", "sketch"):
            (top / f"{split}_data" / kind).mkdir(parents=True)
        for index in range(count):
            image = random.integers(0, 256, (_SIZE, _SIZE, 3), np.uint8)
            image[0, 0, 0] = index
            sketch = np.full((_SIZE, _SIZE), 200 + index, np.uint8)
            image[-1, -1] = sketch[-1, -1] = 0  # a blank sketch would be left out
            for kind, pixels in (("reference", image), ("sketch", sketch)):
                path = top / f"{split}_data" / kind / f"{index:03d}.png"
                PIL.Image.fromarray(pixels).save(path)
    return anime_face.prepare(top, tmp_path_factory.mktemp("prepared"), size=_SIZE)


@pytest.fixture(scope="module")
def source(builder):
    return pipeline.open_source(builder, "train")


def _take(batches, count):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return {name: np.concatenate([batch[name] for batch in taken]) for name in taken[0]}


def _order(source, count, start=0, seed=0, batch_size=1):
    """Record numbers of the first `count` samples from `start`."""
    steps = -(-count // batch_size)
    batches = pipeline.train_batches(source, seed=seed, batch_size=batch_size, start=start)
    return _take(batches, steps)["index"][:count]


def _assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name in actual:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def test_records(source):
    assert len(source) == _TRAIN
    record = source[5]
    assert {name: (array.dtype, array.shape) for name, array in record.items()} == {
        "image": (np.uint8, (_SIZE, _SIZE, 3)),
        "sketch": (np.uint8, (_SIZE, _SIZE, 1)),
        "index": (np.int64, ()),
    }
    assert record["image"][0, 0, 0] == record["index"] == 5
    assert source.name(5) == "train_data/reference/005.png"


def test_batches_hold_the_records_of_their_index(source):
    batch = _take(pipeline.train_batches(source, seed=0, batch_size=7), 1)
    assert batch["image"].shape == (7, _SIZE, _SIZE, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["index"].dtype == np.int64
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["index"])
    np.testing.assert_array_equal(batch["sketch"][:, 0, 0, 0], 200 + batch["index"])
    for image, index in zip(batch["image"], batch["index"], strict=True):
        np.testing.assert_array_equal(image, source[index]["image"])


def test_every_epoch_is_another_permutation(source):
    epochs = _order(source, 5 * _TRAIN).reshape(5, _TRAIN)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(_TRAIN), (5, 1)))
    assert len({tuple(epoch) for epoch in [*epochs.tolist(), range(_TRAIN)]}) == 6


def test_the_order_is_a_pure_function_of_the_seed(source):
    np.testing.assert_array_equal(_order(source, 60, seed=3), _order(source, 60, seed=3))
    # Neighbouring seeds share no epoch, not even shifted by one.
    epochs = [
        tuple(epoch)
        for seed in range(3)
        for epoch in _order(source, 3 * _TRAIN, seed=seed).reshape(3, _TRAIN).tolist()
    ]
    assert len(set(epochs)) == 9


def test_the_order_stays_what_it_was(source):
    # Runs are continued with the order they began with: a change needs a decision.
    assert _order(source, 10, seed=0).tolist() == [21, 2, 13, 14, 9, 7, 17, 6, 18, 3]


@pytest.mark.parametrize("start", [1, 8, _TRAIN, 57, 10**9 * _TRAIN + 4])
@pytest.mark.parametrize("batch_size", [4, 9])
def test_a_start_anywhere_continues_the_same_order(source, start, batch_size):
    epoch, offset = divmod(start, _TRAIN)
    if epoch < 100:
        expected = _order(source, start + 40)[start:]
    else:
        expected = np.concatenate(
            [_order(source, _TRAIN, start=(epoch + more) * _TRAIN) for more in range(3)]
        )[offset : offset + 40]
    np.testing.assert_array_equal(_order(source, 40, start=start, batch_size=batch_size), expected)


def test_batches_cross_epoch_borders_without_loss(source):
    batch_size = 10
    assert _TRAIN % batch_size
    order = _order(source, batch_size * _TRAIN, batch_size=batch_size)
    np.testing.assert_array_equal(order, _order(source, batch_size * _TRAIN))
    np.testing.assert_array_equal(np.bincount(order), np.full(_TRAIN, batch_size))


@pytest.mark.parametrize("start", [0, 13])
def test_hosts_read_the_slices_of_one_host(source, start):
    def batches(**host):
        return pipeline.train_batches(source, seed=1, batch_size=8, start=start, **host)

    alone = list(itertools.islice(batches(), 6))
    hosts = [batches(process_index=index, process_count=4) for index in range(4)]
    for whole in alone:
        parts = [next(host) for host in hosts]
        assert all(part["image"].shape[0] == 2 for part in parts)
        _assert_equal(
            {name: np.concatenate([part[name] for part in parts]) for name in whole}, whole
        )


def test_worker_processes_and_prefetching_change_nothing(source):
    def batches(**reading):
        iterator = pipeline.train_batches(source, seed=1, batch_size=8, start=3, **reading)
        taken = list(itertools.islice(iterator, 7))
        iterator.close()
        assert all(type(array) is np.ndarray for batch in taken for array in batch.values())
        return {name: np.concatenate([batch[name] for batch in taken]) for name in taken[0]}

    plain = batches(prefetch=1)
    _assert_equal(batches(prefetch=5), plain)
    _assert_equal(batches(num_workers=2), plain)


@pytest.mark.parametrize("batch_size", [4, 5, 16])
def test_evaluation_counts_every_record_once(builder, batch_size):
    source = pipeline.open_source(builder, "test")
    batches = list(pipeline.eval_batches(source, batch_size=batch_size))
    assert len(batches) == -(-_TEST // batch_size)
    assert all(batch["image"].shape == (batch_size, _SIZE, _SIZE, 3) for batch in batches)
    mask = np.concatenate([batch["mask"] for batch in batches])
    assert mask.dtype == np.bool_
    for name, values in (("index", np.arange(_TEST)), ("mask", np.ones(_TEST, np.bool_))):
        joined = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(joined[mask], values)
    assert mask[:_TEST].all()
    assert not mask[_TEST:].any()


def test_evaluation_of_the_first_images_over_hosts(builder):
    source = pipeline.open_source(builder, "test")
    hosts = [
        list(
            pipeline.eval_batches(
                source, batch_size=4, max_images=5, process_index=index, process_count=2
            )
        )
        for index in range(2)
    ]
    assert [len(host) for host in hosts] == [2, 2]
    index = np.concatenate([part["index"] for parts in zip(*hosts, strict=True) for part in parts])
    mask = np.concatenate([part["mask"] for parts in zip(*hosts, strict=True) for part in parts])
    assert index[mask].tolist() == [0, 1, 2, 3, 4]


def test_batches_are_spread_over_the_devices(source):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    host = pipeline.train_batches(source, seed=0, batch_size=16)
    plain = pipeline.train_batches(source, seed=0, batch_size=16)
    for batch in itertools.islice(pipeline.to_device(host, sharding), 5):
        expected = next(plain)
        assert batch["image"].sharding == sharding
        assert [shard.data.shape[0] for shard in batch["image"].addressable_shards] == [2] * 8
        assert batch["image"].dtype == np.uint8
        _assert_equal({name: np.asarray(array) for name, array in batch.items()}, expected)
    host.close()
    plain.close()


@pytest.mark.parametrize(("depth", "length"), [(1, 5), (2, 5), (4, 2)])
def test_devices_get_every_batch_and_no_more_than_the_depth_ahead(depth, length):
    read = []

    def batches():
        for number in range(length):
            read.append(number)
            yield {"index": np.full((8,), number, np.int32)}

    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    seen = []
    for batch in pipeline.to_device(batches(), sharding, depth):
        seen.append(int(batch["index"][0]))
        assert len(read) == min(length, len(seen) + depth)
    assert seen == list(range(length))


def test_fingerprints_tell_content_split_and_size_apart(builder, source, tmp_path):
    test = pipeline.open_source(builder, "test")
    assert source.fingerprint != test.fingerprint

    directory = builder.builder_config.directory
    copy = tmp_path / "copy"
    for entry in builder.builder_config.entries:
        for path in (entry.picture, entry.sketch):
            target = copy / path.relative_to(directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.open(path).save(target, "PNG", compress_level=0)
    same = anime_face.prepare(copy, tmp_path / "prepared", size=_SIZE)
    assert pipeline.open_source(same, "train").fingerprint == source.fingerprint
    smaller = anime_face.prepare(copy, tmp_path / "prepared", size=4)
    assert pipeline.open_source(smaller, "train").fingerprint != source.fingerprint
    (copy / "train_data" / "reference" / "000.png").write_bytes(
        (copy / "test_data" / "reference" / "000.png").read_bytes()
    )
    changed = anime_face.prepare(copy, tmp_path / "prepared", size=_SIZE)
    assert pipeline.open_source(changed, "train").fingerprint != source.fingerprint


def test_the_built_in_faces_are_a_source_too(tmp_path):
    builder = toy_face.prepare(tmp_path, train=6, test=2, size=16)
    toy = pipeline.open_source(builder, "train")
    assert (len(toy), toy.size, toy.has_sketches, toy.name(3)) == (6, 16, False, "00003")
    batch = _take(pipeline.train_batches(toy, seed=0, batch_size=6), 1)
    assert batch.keys() == {"image", "index"}
    for image, index in zip(batch["image"], batch["index"], strict=True):
        np.testing.assert_array_equal(image, builder.as_data_source("train")[index]["image"])
    other = pipeline.open_source(toy_face.prepare(tmp_path, train=6, test=2, size=8), "train")
    assert other.fingerprint != toy.fingerprint
    _assert_equal(pickle.loads(pickle.dumps(toy))[5], toy[5])


def test_a_source_travels_to_other_processes(source):
    copy = pickle.loads(pickle.dumps(source))
    assert copy.fingerprint == source.fingerprint
    _assert_equal(copy[4], source[4])


def test_records_are_read_without_tensorflow_and_opencv(source):
    program = (
        "import pickle, sys; sys.modules['cv2'] = None; "
        f"source = pickle.loads({pickle.dumps(source)!r}); "
        "print(source[4]['image'].sum(), 'tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == [str(source[4]["image"].sum()), "False"]


def test_bad_input_is_refused(builder, source):
    with pytest.raises(ValueError, match="no split 'validation'; choose one of test, train"):
        pipeline.open_source(builder, "validation")

    def train(**arguments):
        return pipeline.train_batches(source, **{"seed": 0, "batch_size": 4, **arguments})

    with pytest.raises(ValueError, match=r"has 23 pictures, too few for one batch of .* 24"):
        train(batch_size=24)
    with pytest.raises(ValueError, match="batch_size is 0"):
        train(batch_size=0)
    with pytest.raises(ValueError, match="batch_size 4 does not divide among 3 hosts"):
        train(process_count=3)
    with pytest.raises(ValueError, match="process_index 2 "):
        train(process_index=2, process_count=2)
    with pytest.raises(ValueError, match="start -1"):
        train(start=-1)
    with pytest.raises(ValueError, match="seed -1"):
        train(seed=-1)
    with pytest.raises(ValueError, match="num_workers is -1"):
        train(num_workers=-1)
    with pytest.raises(ValueError, match="prefetch 0"):
        train(prefetch=0)
    with pytest.raises(ValueError, match="max_images is -1"):
        pipeline.eval_batches(source, batch_size=4, max_images=-1)
    with pytest.raises(ValueError, match="batch_size is 0"):
        pipeline.eval_batches(source, batch_size=0)
    with pytest.raises(ValueError, match="depth is 0"):
        next(pipeline.to_device(iter(()), jax.sharding.SingleDeviceSharding(jax.devices()[0]), 0))
