"""How long a training takes on devices that are not at hand: a roofline over the compiled step."""

import dataclasses

from ssimbad_jax.stages import hardware, step_cost

# Assumed shares of the peak rates that a step reaches.
FLOPS_SHARE, BANDWIDTH_SHARE = 0.4, 0.7
# Of a device's memory; the rest is the allocator's and the compiler's.
USABLE_MEMORY = 0.9
BYTES_A_PARAMETER = 4  # gradients are float32


@dataclasses.dataclass(frozen=True)
class Linear:
    """A quantity that grows with the pictures on a device.

    Attributes:
        fixed: what it is without pictures.
        of_picture: what each picture adds.
    """

    fixed: float
    of_picture: float

    def at(self, pictures: float) -> float:
        """Returns the quantity for so many pictures."""
        return self.fixed + self.of_picture * pictures

    @classmethod
    def through(cls, first: tuple[int, float], second: tuple[int, float]) -> "Linear":
        """Returns the line through two (pictures, quantity)."""
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - slope * first[0], slope)

    def repeated(self, times: int) -> "Linear":
        """Returns the quantity, so many times."""
        return Linear(times * self.fixed, times * self.of_picture)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """The cost of a step as a function of the pictures on a device.

    Attributes:
        parameters: of the network.
        flops: floating-point operations.
        bytes_accessed: memory traffic.
        memory: bytes needed.
    """

    parameters: int
    flops: Linear
    bytes_accessed: Linear
    memory: Linear

    @classmethod
    def of(cls, costs: dict[int, step_cost.StepCost]) -> "Scaling":
        """Returns the scaling that two compiled batch sizes show."""
        (first, a), (second, b) = sorted(costs.items())

        def line(name: str) -> Linear:
            return Linear.through((first, getattr(a, name)), (second, getattr(b, name)))

        return cls(a.parameters, line("flops"), line("bytes_accessed"), line("memory"))

    def repeated(self, times: int) -> "Scaling":
        """Returns the scaling of a step that does its work so many times, in the same memory."""
        return dataclasses.replace(
            self,
            flops=self.flops.repeated(times),
            bytes_accessed=self.bytes_accessed.repeated(times),
        )


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What is expected of a step.

    Attributes:
        compute: seconds that the operations take.
        traffic: seconds that the memory traffic takes.
        all_reduce: seconds that exchanging the gradient takes, not overlapped.
        memory: bytes on each device.
        largest_batch: pictures on a device that fit its memory; 0: not one.
    """

    compute: float
    traffic: float
    all_reduce: float
    memory: float
    largest_batch: int

    @property
    def seconds(self) -> float:
        """Of a step: the slower of computing and of moving data, and the exchange."""
        return max(self.compute, self.traffic) + self.all_reduce

    @property
    def bound(self) -> str:
        """What most of the time goes to."""
        return "computing" if self.compute >= self.traffic else "memory traffic"


def forecast(
    scaling: Scaling, chip: hardware.Chip, count: int, batch_size: int, dtype: str
) -> Forecast:
    """Returns what is expected of a step of a global batch.

    Args:
        scaling: of the step.
        chip: the device.
        count: of devices.
        batch_size: pictures in the global batch.
        dtype: "float32" or "bfloat16".
    """
    pictures = batch_size / count
    gradient = scaling.parameters * BYTES_A_PARAMETER
    # A ring sends every byte but a device's own share twice, in both directions at once.
    exchanged = 2 * (count - 1) / count * gradient
    return Forecast(
        compute=scaling.flops.at(pictures) / (FLOPS_SHARE * chip.flops[dtype]),
        traffic=scaling.bytes_accessed.at(pictures) / (BANDWIDTH_SHARE * chip.bandwidth),
        all_reduce=exchanged / (2 * chip.link),
        memory=scaling.memory.at(pictures),
        largest_batch=largest_batch(scaling.memory, chip.memory),
    )


def largest_batch(needed: Linear, memory: float) -> int:
    """Returns the most pictures whose step fits a device; 0: not one.

    Args:
        needed: bytes of a step.
        memory: bytes of the device.
    """
    return max(0, int((USABLE_MEMORY * memory - needed.fixed) // needed.of_picture))
