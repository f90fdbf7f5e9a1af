"""Archives of every kind: the same rows, from any row on, without holding the whole."""

from __future__ import annotations

import csv
import gzip
import json
import resource
import sys
from pathlib import Path

import pytest

from pipeline.errors import BadInputError
from pipeline.news.sources import open_source

ROWS = [
    {
        "url": f"https://www.garam.example/{i}", "title": f"{i}번째 기사", "text": f"본문 {i}, \"인용\"\n둘째 줄",
        "date": f"2026-02-{i % 28 + 1:02}T09:00:00+09:00", "category": "경제",
    }
    for i in range(2500)
]  # fmt: skip
KINDS = ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "a.parquet"]


def write(path: Path) -> Path:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=700)
        return path
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
        if ".jsonl" in path.name:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
        else:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if ".tsv" in path.name else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    return path


def taken(source: str | Path, start: int = 0) -> list[tuple[int, str, str, str]]:
    found = []
    for number, items, error in open_source(source).rows(start):
        assert not error
        found += [(number, item.url, item.text, item.published_raw) for item in items]
    return found


WHOLE = [(i + 1, row["url"], row["text"], row["date"]) for i, row in enumerate(ROWS)]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_gives_the_same_rows_from_any_row_on(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    assert taken(path) == WHOLE
    for start in (1, 699, 1000, 2499, 2500):
        assert taken(path, start) == WHOLE[start:]


@pytest.mark.parametrize("name", ["train.jsonl", "train.parquet", "train.csv"])
def test_a_hugging_face_set_gives_the_same_rows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The library takes a folder of this name for the data set: the hub is outside, all behind it is real.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "garam" / "news"
    folder.mkdir(parents=True)
    write(folder / name)
    assert taken("hf:garam/news") == WHOLE
    assert taken("hf:garam/news#train", 1700) == WHOLE[1700:]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.parquet"])
def test_a_damaged_file_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadInputError, match=name):
        taken(path)


def test_a_parquet_file_with_a_damaged_page_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    data = bytearray(path.read_bytes())
    data[200:2000] = bytes(1800)
    path.write_bytes(data)
    with pytest.raises(BadInputError, match="damaged"):
        taken(path)


@pytest.mark.skipif(sys.platform != "linux", reason="what other systems measure differs")
def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    row = json.dumps({**ROWS[0], "text": "가나다 " * 25_000}, ensure_ascii=False)  # 250 kB
    with path.open("w", encoding="utf-8") as file:
        for _ in range(800):
            file.write(row + "\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in open_source(path).rows(0)) == 800
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB; the file has 200 MB
