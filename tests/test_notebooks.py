"""Every notebook runs from a clean kernel, and is committed with what it showed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import ENGINE
from sources_reading import SHARED

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_a_clean_kernel(
    path: Path, tmp_path: Path, prepared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("RECALL_HOME", str(prepared_home))
    monkeypatch.setenv("RECALL_ENGINE", ENGINE)
    # Without the sets quality.ipynb measures nothing, and says so.
    monkeypatch.setenv("RECALL_EVALUATION", str(SHARED / "evaluation"))
    monkeypatch.setenv("RECALL_NOTEBOOK_QUICK", "1")
    copy = tmp_path / "notebooks"
    shutil.copytree(FOLDER, copy)
    notebook = nbformat.read(copy / path.name, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": copy}}
    )
    client.execute()
    wrong = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    assert wrong == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_outputs(path: Path) -> None:
    import nbformat

    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert any(cell.get("outputs") for cell in notebook.cells)
