from ssimbad_jax import wording


def test_long_lists_are_cut():
    assert wording.list_some([]) == "none"
    assert wording.list_some(["a", "b"]) == "a, b"
    assert wording.list_some(list("abc"), limit=2) == "a, b and 1 more"
