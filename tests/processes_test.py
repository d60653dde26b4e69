"""The program as two processes of two devices each: the same numbers, and stopped together.

`python -m tests.hosts_campaign` has all combinations, and what happens when a process dies.
"""

import dataclasses
import re
import signal
from typing import Any

import pytest

from ssimbad_jax.stages import run
from ssimbad_jax.training import interruption
from tests import close_results, processes, tiny_run

pytestmark = pytest.mark.slow

STEPS = 40
FIELDS: dict[str, Any] = {
    "model__channel_multipliers": (1,),
    "calibrate__num_sigmas": 16,
    "train__steps": STEPS,
    "train__sample_every": STEPS,
    "train__checkpoint_every": STEPS,
    "train__validate_every": STEPS,
    "train__log_every": 2,
    "eval__metrics": ("psnr",),
    "eval__sampler_steps": 1,
}
TRAINING = ["calibrate", "train"]
# Gloo writes this in pieces and from several threads, so that two of them may share their lines.
_GLOO_SAYS = re.compile(
    r"(\[Gloo\] Rank |\d| is connected to | peer ranks\. |"
    r"Expected number of connected peer ranks is : )*"
)


@dataclasses.dataclass
class Finished:
    """Two runs of the same config: all of `alone` here, `parts` in several processes at first."""

    alone: Any
    parts: Any
    statuses: list[int]
    said: list[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, prepared_dir, quick_compilation):
    """A run on this process's eight devices; another on 2 x 2, stopped, and finished on eight."""
    folder = tmp_path_factory.mktemp("processes")
    config = tiny_run.make_config(prepared_dir, **FIELDS)
    alone, parts = folder / "alone", folder / "parts"
    flags = processes.main_flags(parts, folder / "prepared", **FIELDS)
    group = processes.start(folder, [*flags, "--stages=calibrate,train"], processes=2, devices=2)
    try:
        group.wait_until_said("train: the rest will take")
        group.processes[1].send_signal(signal.SIGTERM)
        statuses = group.wait(300)
    finally:
        group.kill()
    run.run(config, alone, [*TRAINING, "evaluate"])
    config.data.prepared_dir = str(folder / "prepared")
    run.run(config, parts, TRAINING)
    scored = processes.start(
        folder / "scored", [*flags, "--stages=evaluate"], processes=2, devices=2
    )
    scored.finish()
    return Finished(alone, parts, statuses, [group.output(0), group.output(1)])


def _stopped_at(finished):
    """The step after which the processes stopped, and the seconds from the signal till then."""
    (stopped,) = re.findall(
        rf"stopped after step (\d+) of {STEPS}, saved as \S+ (\S+) s after the signal",
        finished.said[0],
    )
    return int(stopped[0]), float(stopped[1])


def test_a_signal_to_one_stops_all_at_the_same_step(finished):
    assert finished.statuses == [interruption.EXIT_STATUS] * 2
    step, seconds = _stopped_at(finished)
    assert step % interruption.STEPS_BETWEEN_AGREEMENTS == 0
    assert 0 < seconds < 60


def test_only_the_first_process_speaks(finished):
    lines = [line for line in finished.said[1].splitlines() if not _GLOO_SAYS.fullmatch(line)]
    assert [line for line in lines if "SIGTERM" not in line] == []


def test_the_position_in_the_data_is_that_of_all_hosts(finished):
    for step in (_stopped_at(finished)[0], STEPS):
        assert close_results.samples(finished.parts, step) == 8 * step


def test_all_end_in_the_same_numbers(finished):
    """A sample that is lost or seen twice changes parameters by a hundred times as much."""
    runs = finished.alone, finished.parts
    assert close_results.of_calibrations(*runs) < 1e-5
    assert close_results.of_parameters(*runs) < 1e-4
    assert close_results.of_scores(*runs) < 0.02
    assert close_results.of_pictures(*runs, "eval/s*/*.png") <= 2
