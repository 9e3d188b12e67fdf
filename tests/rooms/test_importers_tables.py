"""CSV and Parquet as users have them: vectors in numbered columns, text, gaps, no header, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prep.errors import DataError, IntegrityError, PrepError
from prep.importers import IngestOptions
from prep.importers.tables import Csv, Parquet
from tests.rooms.tables import write_parquet

WHOLE = IngestOptions(whole=True)


def read(importer: Csv | Parquet, path: Path) -> dict[str, np.ndarray]:
    opened = importer.open(str(path), WHOLE)
    blocks = [arrays for _, arrays in opened.blocks()]
    return {spec.name: np.concatenate([block[spec.name] for block in blocks]) for spec in opened.fields}


def test_numbered_columns_become_one_field_of_vectors(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x0,x1,x2,y\n1,2.5,3,4\n5,6,7,8\n9,10,11,12\n")
    found = read(Csv(), tmp_path / "a.csv")
    assert found["x"].tolist() == [[1, 2.5, 3], [5, 6, 7], [9, 10, 11]]
    assert found["y"].dtype == np.int64


def test_columns_that_skip_a_number_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x0,x2\n1,2\n3,4\n5,6\n")
    assert sorted(read(Csv(), tmp_path / "a.csv")) == ["x0", "x2"]


def test_text_is_left_out_with_a_warning_and_a_gap_is_nan(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,count,y\nada,1,1\nbob,,2\neve,3,3\n")
    opened = Csv().open(str(tmp_path / "a.csv"), WHOLE)
    assert any("'name' was left out: text" in warning for warning in opened.warnings)
    found = read(Csv(), tmp_path / "a.csv")
    np.testing.assert_array_equal(found["count"], [1, np.nan, 3])


def test_numbers_that_turn_real_or_text_late_in_the_file_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prep.importers.csv_lines.BLOCK_BYTES", 1000)
    lines = [f"{n},{n},{n}" for n in range(2000)] + ["0.5,many,7"]
    (tmp_path / "a.csv").write_text("a,b,c\n" + "\n".join(lines))
    found = read(Csv(), tmp_path / "a.csv")
    assert sorted(found) == ["a", "c"]
    np.testing.assert_array_equal(found["a"], [*range(2000), 0.5])
    np.testing.assert_array_equal(found["c"], [*range(2000), 7])


def test_a_first_line_of_numbers_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1;2\n3;4\n5;6\n")
    assert read(Csv(), tmp_path / "a.csv")["column"].tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"a,b\n1,2\n3\n", DataError),
        (bytes(range(256)) * 9, IntegrityError),
        (b"\xff\xfea\x00,\x00b\x00", IntegrityError),
        (b"", PrepError),
        (b"a,b\n", PrepError),
    ],
)
def test_a_table_that_is_none_is_refused_in_our_words(tmp_path: Path, content: bytes, kind: type[PrepError]) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(kind):
        read(Csv(), tmp_path / "a.csv")


def test_parquet_gives_vectors_times_and_gaps(tmp_path: Path) -> None:
    expected = write_parquet(tmp_path / "a.parquet")
    found = read(Parquet(), tmp_path / "a.parquet")
    assert sorted(found) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("cut", [0, 3, 200, -1])
def test_damaged_parquet_is_an_error_of_ours(tmp_path: Path, cut: int) -> None:
    write_parquet(tmp_path / "a.parquet")
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    if cut >= 0:
        del whole[cut:]
    else:
        whole[-40:-8] = b"\xff" * 32
    (tmp_path / "a.parquet").write_bytes(whole)
    with pytest.raises(PrepError):
        read(Parquet(), tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('\n\n"a, c",b\n1,2\n', "a, c=int64"),
        ("a,b\n9223372036854775808,1\n9223372036854775809,2\n", "a=uint64"),
        ("a,b\n9223372036854775807,1\nNA,2\n", "beyond 2⁵³"),
        ("a,b\n1e19,1\n1.5,2\n", "a=float64"),
        ("a,b\n1,1\n2,2\nfoo,3\n", "'foo' in line 4 is no number"),
        ("a;b\n1,5;1\n2,5;2\n", "commas are read as decimal points in column 'a' ('1,5' in line 2)"),
        ("a,b\n9223372036854775809,1\n-1,2\n", "(line 2: 9223372036854775809)"),
        ("a,b\n9007199254740993,1\n0.5,2\n", "(line 2: 9007199254740993)"),
        ("a,b\n1,1\n,2\n", "first gap of 'a' is in line 3"),
        ('a,b\n"1,234",1\n"5,678",2\n', "thousands without a comma"),
        ("name,b\nada,1\nbob,2\nada,2\n", "'name' was left out: text, 2 distinct values"),
    ],
)
def test_what_a_csv_loses_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    found = Csv().survey(str(tmp_path / "a.csv"))
    assert told in " ".join([*found.warnings, *(f"{each.path}={each.dtype}" for each in found.columns)])


def test_a_line_that_is_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n\n3\n")
    with pytest.raises(PrepError, match="cannot be read") as caught:
        Csv().survey(str(tmp_path / "a.csv"))
    assert caught.value.where.line == 4


def test_whole_numbers_with_gaps_that_float64_would_round_are_left_out(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"x": [1.0, 2.0], "id": pa.array([2**53 + 1, None])}), tmp_path / "a.parquet")
    found = Parquet().survey(str(tmp_path / "a.parquet"))
    assert [each.path for each in found.columns] == ["x"]
    assert "beyond 2⁵³" in found.warnings[0]


def test_decimal_commas_are_read_where_columns_are_cut_at_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prep.importers.csv_lines.BLOCK_BYTES", 100)
    lines = [f"{n};{n};{n};{n}" for n in range(50)] + ["1,5;1.5;1,5;x", "-2,25e1;2,5;,5;y"]
    (tmp_path / "a.csv").write_text("a;mixed;b;text\n" + "\n".join(lines))
    found = read(Csv(), tmp_path / "a.csv")
    assert sorted(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], [*range(50), 1.5, -22.5])
    np.testing.assert_array_equal(found["b"], [*range(50), 1.5, 0.5])
    (tmp_path / "b.csv").write_text("1,5;2,5;3\n4,5;5,5;6\n7;8;9\n")
    assert read(Csv(), tmp_path / "b.csv")["column"].tolist() == [[1.5, 2.5, 3], [4.5, 5.5, 6], [7, 8, 9]]


def test_whole_numbers_without_statistics_stay_what_they_are(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    codes = [2**60 + row for row in range(100)]
    gaps = [None if row == 3 else row for row in range(100)]
    columns = {"code": pa.array(codes), "gaps": pa.array(gaps), "lost": pa.array([None, *codes[1:]])}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet", write_statistics=False)
    found = read(Parquet(), tmp_path / "a.parquet")
    assert found["code"].tolist() == codes
    assert np.isnan(found["gaps"]).nonzero()[0].tolist() == [3]
    told = " ".join(Parquet().survey(str(tmp_path / "a.parquet")).warnings)
    assert f"(row 1: {codes[1]}; a gap in row 0)" in told
    assert "first gap of 'gaps' is in row 3" in told
