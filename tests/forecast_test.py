import pytest

from ssimbad_jax.stages import forecast, hardware, step_cost

# 100 of everything, and 10 a picture.
SCALING = forecast.Scaling.of(
    {
        size: step_cost.StepCost(
            parameters=1000,
            flops=100 + 10 * size,
            bytes_accessed=100 + 10 * size,
            temporary=60 + 10 * size,
            arguments=40,
        )
        for size in (4, 8)
    }
)


def chip(**fields):
    rates = {"flops": {"float32": 1e3}, "memory": 1e3, "bandwidth": 1e3, "link": 1e3}
    return hardware.Chip(**(rates | fields))


def test_two_batch_sizes_show_what_grows():
    for line in (SCALING.flops, SCALING.bytes_accessed, SCALING.memory):
        assert (line.fixed, line.of_picture) == pytest.approx((100, 10))
        assert line.at(16) == pytest.approx(260)


def test_a_step_takes_the_slower_of_computing_and_traffic_and_the_exchange():
    expected = forecast.forecast(SCALING, chip(), 2, 32, "float32")
    assert expected.compute == pytest.approx(260 / 400)
    assert expected.traffic == pytest.approx(260 / 700)
    # A ring of two: each sends and receives half of 4,000 bytes, twice, both ways at once.
    assert expected.all_reduce == pytest.approx(2 * 0.5 * 4000 / 2000)
    assert expected.seconds == pytest.approx(0.65 + 2.0)
    assert expected.bound == "computing"
    slow_memory = forecast.forecast(SCALING, chip(bandwidth=100), 2, 32, "float32")
    assert slow_memory.bound == "memory traffic"
    assert slow_memory.seconds == pytest.approx(260 / 70 + 2.0)


def test_one_device_exchanges_nothing():
    assert forecast.forecast(SCALING, chip(), 1, 8, "float32").all_reduce == 0


def test_the_largest_batch_fills_the_usable_memory():
    expected = forecast.forecast(SCALING, chip(memory=1000), 1, 8, "float32")
    assert expected.memory == pytest.approx(180)
    assert expected.largest_batch == 80
    assert SCALING.memory.at(80) <= 0.9 * 1000 < SCALING.memory.at(81)
    assert forecast.forecast(SCALING, chip(memory=50), 1, 8, "float32").largest_batch == 0


def test_work_that_is_repeated_takes_longer_in_the_same_memory():
    repeated = SCALING.repeated(5)
    assert repeated.flops.at(16) == pytest.approx(5 * 260)
    assert repeated.bytes_accessed.at(16) == pytest.approx(5 * 260)
    assert repeated.memory == SCALING.memory
