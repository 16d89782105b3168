"""The guest image, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware import image
from firmware.elf import Image


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as a file."""
    path = tmp_path_factory.mktemp("firmware") / "image.elf"
    image.build(path)
    return path


@pytest.fixture
def loaded(built: Path) -> Image:
    """The image, to write into."""
    return Image.read(built)
