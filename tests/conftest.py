"""Fixtures shared by every test: the published data beside the repository, where there is any."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Books, web pages and the published tokenizers in `../shared/data`; skips where they are absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the published data is not beside this clone (../shared/data)")
    return folder
