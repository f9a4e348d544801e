"""The cells of ``--perfkit-matrix``, one test each; without that option a few small ones."""


def test_generation(generation_case, measured):
    """The cell runs, and its outputs agree with the fp32 reference; its figures go to the JSON."""
    result = measured(generation_case)
    assert result.verdict not in {"timeout", "crash", "diverged"}, result.reason
