"""The image builds, warns of nothing, and says what is missing where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware import image
from firmware.errors import BuildError


def test_the_sources_compile_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "FLAGS", (*image.FLAGS, "-Werror"))
    image.build(tmp_path / "image")
    assert (tmp_path / "image").stat().st_size > 2 << 20


@pytest.mark.parametrize(("tool", "package"), [("COMPILER", "gcc"), ("LINKER", "binutils")])
def test_a_missing_tool_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, package: str) -> None:
    monkeypatch.setattr(image, tool, "no-such-tool")
    monkeypatch.setattr(image, "PACKAGES", {"no-such-tool": package})
    with pytest.raises(BuildError, match=f"no-such-tool is missing.*apt install {package}") as caught:
        image.build(tmp_path / "image")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_source_that_does_not_compile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.c").write_text("int f(void) { return nothing; }\n")
    monkeypatch.setattr(image, "SOURCES", tmp_path)
    with pytest.raises(BuildError, match=r"wrong\.c:1:\d+: error") as caught:
        image.build(tmp_path / "image")
    assert "\n" not in str(caught.value)


def test_the_key_follows_every_source_and_the_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {image.key()}
    for source in image.SOURCES.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(image, "SOURCES", tmp_path)
    assert image.key() in keys
    for source in sorted(tmp_path.iterdir()):
        with source.open("a") as file:
            file.write("\n")
        assert image.key() not in keys, source.name
        keys.add(image.key())
    monkeypatch.setattr(image.header, "text", lambda: "")
    assert image.key() not in keys


def test_nothing_in_the_image_uses_registers_that_nobody_saves(built: Path) -> None:
    import subprocess

    code = subprocess.run(["objdump", "-d", built], capture_output=True, text=True, check=True).stdout
    assert "iretq" in code and "%xmm" not in code and "%st" not in code


def test_no_binary_is_kept_beside_the_sources() -> None:
    assert {path.suffix for path in image.SOURCES.iterdir()} == {".c", ".h", ".S", ".ld"}
