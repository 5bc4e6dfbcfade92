import pytest
import torch

from whence.gradients.batch_rows import MOST, fastest_multiple


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (lambda multiple: float(multiple), 1),  # a processor: twice the rows take twice the time
        (lambda _: 1.0, MOST),  # the device is never busy
        (lambda multiple: max(8.0, multiple), 8),
    ],
)
def test_more_rows_are_taken_while_they_make_a_row_faster(seconds, expected):
    assert fastest_multiple(seconds) == expected


@pytest.mark.parametrize(("fitting", "expected"), [(1, 1), (2, 1), (16, 8)])
def test_half_of_the_rows_that_fit(fitting, expected):
    def seconds(multiple: int) -> float:
        if multiple > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0

    assert fastest_multiple(seconds) == expected
