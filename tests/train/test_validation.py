"""Validation shared by processes covers every sample once, with masks that do not depend on their number."""

import pytest

from lib.data.samples.mixture import sample_id
from lib.train.validation import VALIDATION_EPOCH, validation_share


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("num_samples", [1, 6, 7, 20])
def test_the_shares_are_the_whole(processes, num_samples):
    whole = validation_share(num_samples, 3, 0, 1)
    shares = [validation_share(num_samples, 3, rank, processes) for rank in range(processes)]
    assert len({len(share) for share in shares}) == 1  # all processes take part in every agreement
    counted = sorted(group for share in shares for group in share if not group.repeated)
    assert counted == whole
    ids = [index for group in whole for index in group.ids]
    assert ids == [sample_id(VALIDATION_EPOCH, index) for index in range(num_samples)]
    assert all(group.ids for share in shares for group in share)
