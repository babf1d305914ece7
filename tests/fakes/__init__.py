"""The seams of the core in memory: they behave as Docker, the kernel and the file locks do, and fail when told to."""

import pytest

pytest.register_assert_rewrite(
    "fakes.contracts.engine", "fakes.contracts.network", "fakes.contracts.files", "fakes.host"
)
