"""The notebooks run from the first cell to the last, on small settings, and show what they say they show."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.tiny import tiny_encoder

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def run(name: str, parameters: str) -> nbformat.NotebookNode:
    """The notebook after running it, with ``parameters`` set behind those it says itself."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    place = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(f"from pathlib import Path\n{parameters}"))
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    client.execute()
    return notebook


def shown(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed or displayed."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found += [output.get("text", ""), *map(str, output.get("data", {}).values())]
    return "\n".join(found)


def test_training_and_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tiny_encoder(tmp_path / "base", gain=0.0)
    trained = run(
        "training",
        "SINCE, HELD_OUT_FROM, UNTIL = dt.date(2020, 2, 1), dt.date(2020, 2, 25), dt.date(2020, 2, 29)\n"
        f"FOLDER, BASE, STEPS = Path({str(tmp_path)!r}), Path({str(tmp_path / 'base')!r}), 12\n"
        "TUNING = {'batch_passages': 8, 'min_active_terms': 0.0, 'max_active_share': 1.0, 'freeze_layers': 1}\n",
    )
    said = shown(trained)
    assert said.count("<svg") == 2
    assert "in_batch" in said
    assert "taken: " in said
    assert "ndcg@10" in said.lower()
    assert (tmp_path / "model" / "card.json").exists()
    used = run(
        "inference",
        "SINCE, UNTIL = dt.date(2020, 2, 20), dt.date(2020, 2, 29)\n"
        f"FOLDER = Path({str(tmp_path)!r})\nMODEL = FOLDER / 'model'\n",
    )
    said = shown(used)
    assert "active terms" in said
    assert "->" in said
    assert "largest difference of a weight" in said


@pytest.mark.parametrize("name", ["training", "inference"])
def test_no_output_is_committed(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells)
