"""Meshes, shardings and the choice of CPU devices."""

import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np

from ssimbad_jax.training import sharding


def test_batches_are_split_and_state_is_copied():
    mesh = sharding.data_mesh()
    batch = jax.device_put(np.arange(16.0), sharding.over_batch(mesh))
    assert {shard.data.shape for shard in batch.addressable_shards} == {(2,)}
    state = jax.device_put(np.arange(3.0), sharding.replicated(mesh))
    assert {shard.data.shape for shard in state.addressable_shards} == {(3,)}
    np.testing.assert_array_equal(sharding.fetch(batch), np.arange(16.0))


@dataclasses.dataclass(frozen=True)
class StandIn:
    """A device, as far as a mesh looks at it."""

    process_index: int
    id: int
    platform: str = "cpu"
    device_kind: str = "stand-in"


def test_the_devices_of_a_host_lie_side_by_side_in_the_mesh():
    interleaved = [StandIn(host, 4 * host + number) for number in range(4) for host in (1, 0)]
    mesh = sharding.data_mesh(interleaved)
    assert [device.id for device in mesh.devices] == list(range(8))
    assert [device.process_index for device in mesh.devices] == [0] * 4 + [1] * 4
    assert mesh.axis_names == ("data",)
    # Numbers of devices need not follow those of their hosts.
    crossed = [StandIn(process_index=1, id=0), StandIn(process_index=0, id=1)]
    assert [device.process_index for device in sharding.data_mesh(crossed).devices] == [0, 1]


def devices_chosen(batch_sizes, **environment):
    code = (
        "import jax, os; from ssimbad_jax.training import sharding; "
        f"sharding.use_every_core_as_a_device({batch_sizes}); "
        "print(jax.device_count(), os.environ.get('XLA_FLAGS', ''))"
    )
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    devices, _, flags = done.stdout.strip().partition(" ")
    return int(devices), flags


def test_one_device_a_core_that_divides_the_batches():
    cores = len(os.sched_getaffinity(0))
    assert devices_chosen([cores, 3 * cores])[0] == cores
    assert devices_chosen([7, 4])[0] == 1


def test_the_users_own_number_of_devices_is_kept():
    assert devices_chosen([12], JAX_NUM_CPU_DEVICES="3") == (3, "")
    forced = "--xla_force_host_platform_device_count=3"
    assert devices_chosen([12], XLA_FLAGS=forced) == (3, forced)


def test_the_users_options_of_xla_are_appended_to():
    cores, own = len(os.sched_getaffinity(0)), "--xla_cpu_enable_fast_math=false"
    added = "--xla_cpu_multi_thread_eigen=false" if cores > 1 else ""
    chosen = devices_chosen([cores], XLA_FLAGS=own)
    assert chosen == (cores, f"{own} {added}".strip())
    threads = "--xla_cpu_multi_thread_eigen=true"
    assert devices_chosen([cores], XLA_FLAGS=threads) == (cores, threads)
