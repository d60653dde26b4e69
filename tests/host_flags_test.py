"""The flags of several processes; `hosts_test` and `processes_test` have what they lead to."""

import pytest
from absl import flags

from ssimbad_jax import host_flags
from ssimbad_jax.training import hosts


@pytest.fixture
def given(monkeypatch):
    """The flags, apart from those of the commands that other tests import."""
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    for name in ("bool", "string", "integer"):
        define = getattr(flags, f"DEFINE_{name}")

        def define_here(*arguments, define=define, **options):
            return define(*arguments, flag_values=values, **options)

        monkeypatch.setattr(host_flags.flags, f"DEFINE_{name}", define_here)
    yield host_flags.define(), values


def test_nothing_is_asked_of_a_single_process(given, monkeypatch):
    holders, values = given
    values(["program", "--coordinator=a:1"])
    monkeypatch.setattr(hosts, "connect", lambda *arguments: pytest.fail("it connects"))
    assert not host_flags.connect(holders)


def test_flags_say_where_and_how_long(given, monkeypatch):
    holders, values = given
    values(
        "program --distributed --coordinator=a:1 --processes=2 --process_id=1 "
        "--connect_timeout=5 --heartbeat_timeout=20".split()
    )
    asked = []
    monkeypatch.setattr(hosts, "connect", lambda *arguments: asked.append(arguments))
    assert host_flags.connect(holders)
    assert asked == [(hosts.Place("a:1", 2, 1), hosts.Patience(5, 20))]


def test_a_place_that_cannot_be_ends_with_one_line(given):
    holders, values = given
    values("program --distributed --coordinator=a:1 --processes=2 --process_id=2".split())
    with pytest.raises(SystemExit, match=r"^error: --process_id is 2"):
        host_flags.connect(holders)
