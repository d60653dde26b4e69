"""Runs the program on many numbers of processes and devices, and compares what comes out.

    python -m tests.hosts_campaign [--only=equality,moves,failures] [--out=FOLDER]

`equality`: calibrate, train, refine, evaluate and colorize on 1 device, 8 devices, 2 processes of 2
and of 4 devices. `moves`: a training that is stopped on one of these and goes on on another.
`failures`: a process that never starts, one that is killed and one that hangs, and the restart.
Prints Markdown tables; ends with an error if a number is off. Takes a quarter of an hour on an idle
machine with two cores.
"""

import dataclasses
import pathlib
import re
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from absl import app, flags, logging

from tests import close_results, processes

_ONLY = flags.DEFINE_list("only", ["equality", "moves", "failures"], "Which parts.")
_OUT = flags.DEFINE_string("out", None, "Folder for the runs; by default a temporary one.")

BATCH_SIZE = 8
STEPS = 40
HEARTBEAT = 15  # seconds
FIELDS: dict[str, Any] = {
    "model__channel_multipliers": (1,),
    "calibrate__num_sigmas": 16,
    "train__steps": STEPS,
    "train__sample_every": STEPS,
    "train__checkpoint_every": 10,
    "train__keep_checkpoints": 10,
    "train__validate_every": STEPS,
    "refine__enabled": True,
    "refine__sampler_steps": 2,
    "refine__grid_steps": 0,
    "refine__steps": 3,
    "refine__checkpoint_every": 3,
    "refine__sample_every": 3,
    "eval__metrics": ("psnr", "ssim"),
}
# What float32 sums in another order may come to, after 40 steps.
PARAMETERS, SSIM, PSNR, LEVELS = 1e-4, 1e-5, 0.02, 3.0
SKETCHES = 3


@dataclasses.dataclass(frozen=True)
class Machines:
    """So many processes of so many devices each."""

    processes: int
    devices: int

    def __str__(self) -> str:
        """Names them."""
        return f"{self.processes} x {self.devices}"


ONE, EIGHT, SMALL, LARGE = Machines(1, 1), Machines(1, 8), Machines(2, 2), Machines(2, 4)
MOVES = ((ONE, EIGHT), (EIGHT, Machines(1, 2)), (SMALL, ONE), (LARGE, Machines(1, 2)))


class Campaign:
    """The runs of a campaign, in one folder."""

    def __init__(self, folder: pathlib.Path):
        """Notes where the runs are to lie, and makes sketches to colour."""
        self.folder = folder
        self.reference = self.workdir("reference")
        generator = np.random.default_rng(0)
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        for number in range(SKETCHES):
            pixels = generator.integers(0, 256, (40, 40, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(folder / "pictures" / f"{number}.png")

    def workdir(self, name: str) -> pathlib.Path:
        """The workdir of a run."""
        return self.folder / name / "run"

    def start(self, name: str, machines: Machines, *more: str, **fields: Any) -> processes.Group:
        """Starts or continues a run."""
        prepared = self.folder / "prepared"
        flags_of_run = processes.main_flags(self.workdir(name), prepared, **FIELDS, **fields)
        return processes.start(
            self.folder / name,
            [*flags_of_run, *more],
            processes=machines.processes,
            devices=machines.devices,
        )

    def colour(self, name: str, machines: Machines) -> None:
        """Colours the sketches with a run."""
        pictures = self.folder / "pictures"
        processes.start(
            self.folder / name,
            [
                f"--run={self.workdir(name)}",
                f"--sketch={pictures}",
                f"--reference={pictures / '0.png'}",
                f"--out={self.workdir(name) / 'coloured'}",
            ],
            processes=machines.processes,
            devices=machines.devices,
            module="ssimbad_jax.colorize",
        ).finish()

    def make_reference(self) -> None:
        """Makes the run that others are compared with, unless it is there."""
        if not (self.reference / "report.html").exists():
            self.start("reference", ONE).finish()
            self.colour("reference", ONE)


def equality(campaign: Campaign) -> None:
    """Runs everything on each of the machines."""
    campaign.make_reference()
    print("| devices | parameters | refined | SSIM | PSNR, dB | pictures, of 255 |", flush=True)
    print("|---|---|---|---|---|---|")
    for machines in (EIGHT, SMALL, LARGE):
        name = str(machines).replace(" ", "")
        campaign.start(name, machines).finish()
        campaign.colour(name, machines)
        runs = campaign.reference, campaign.workdir(name)
        found = (
            close_results.of_parameters(*runs),
            close_results.of_parameters(*runs, "refine"),
            close_results.of_calibrations(*runs),
            close_results.of_scores(*runs),
            close_results.of_pictures(*runs, "coloured/[0-9].png"),
        )
        print(f"| {machines} | {' | '.join(f'{value:.2g}' for value in found)} |", flush=True)
        limits = (PARAMETERS, PARAMETERS, SSIM, PSNR, LEVELS)
        assert all(value <= limit for value, limit in zip(found, limits, strict=True)), found


def moves(campaign: Campaign) -> None:
    """Stops trainings by a signal to the last process and continues them elsewhere."""
    campaign.make_reference()
    print("| from | to | stopped after step | s to the checkpoint | parameters |", flush=True)
    print("|---|---|---|---|---|")
    for first, second in MOVES:
        name = f"{first}_to_{second}".replace(" ", "")
        group = campaign.start(name, first, "--stages=calibrate,train")
        group.wait_until_said("train: the rest will take")
        group.processes[-1].send_signal(signal.SIGTERM)
        assert group.wait() == [75] * first.processes, group.output(0)
        (stop,) = re.findall(r"after step (\d+) of .* (\S+) s after the signal", group.output(0))
        step = int(stop[0])
        assert close_results.samples(campaign.workdir(name), step) == BATCH_SIZE * step
        campaign.start(name, second, "--stages=calibrate,train").finish()
        assert close_results.samples(campaign.workdir(name), STEPS) == BATCH_SIZE * STEPS
        difference = close_results.of_parameters(campaign.reference, campaign.workdir(name))
        print(f"| {first} | {second} | {step} | {stop[1]} | {difference:.2g} |", flush=True)
        assert difference <= PARAMETERS


def failures(campaign: Campaign) -> None:
    """Loses a process in several ways; the others end, and the restart ends like the reference."""
    campaign.make_reference()
    print("| what happens to process | the other ends after, s | status |", flush=True)
    print("|---|---|---|")
    bounded = f"--heartbeat_timeout={HEARTBEAT}"
    for number, how in ((1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)):
        name = f"{how.name}_{number}"
        group = campaign.start(name, SMALL, bounded, "--stages=calibrate,train")
        group.wait_until_said("train: the rest will take")
        begin = time.monotonic()
        group.processes[number].send_signal(how)
        status = group.processes[1 - number].wait(20 * HEARTBEAT)
        seconds = time.monotonic() - begin
        group.kill()
        print(f"| {number}: {how.name} | {seconds:.1f} | {status} |", flush=True)
        assert status not in (0, 75)
        campaign.start(name, SMALL, bounded, "--stages=calibrate,train").finish()
        assert close_results.of_parameters(campaign.reference, campaign.workdir(name)) <= PARAMETERS
    print("Restarted, each ended in the parameters of the run that nobody stopped.")


PARTS = {"equality": equality, "moves": moves, "failures": failures}


def main(argv: Sequence[str]) -> None:
    """Runs the parts."""
    del argv
    logging.set_verbosity(logging.ERROR)
    folder = pathlib.Path(_OUT.value or tempfile.mkdtemp(prefix="hosts_campaign_"))
    campaign = Campaign(folder)
    try:
        for name in _ONLY.value:
            PARTS[name](campaign)
    except AssertionError as error:
        sys.exit(f"The campaign failed; its runs are in {folder}.\n{error}")


if __name__ == "__main__":
    app.run(main)
