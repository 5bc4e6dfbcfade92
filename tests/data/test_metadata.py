import re
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whence.data.metadata import METADATA_FILES, find_metadata, read_metadata
from whence.errors import DataError

READ = {
    "quoted": ("csv", 'file_name,text\na.png,"a, b\nc"\n', [{"file_name": "a.png", "text": "a, b\nc"}]),
    "byte order mark": ("csv", "\ufefffile_name\na.png\n", [{"file_name": "a.png"}]),
    "blank lines": ("csv", "file_name\n\na.png\n\n", [{"file_name": "a.png"}]),
    "only a header": ("csv", "file_name,text\n", []),
    "no content": ("jsonl", "", []),
    "a column some rows lack": (
        "jsonl",
        '{"file_name": "a"}\n\n{"file_name": "b", "x": [1]}\r\n',
        [{"file_name": "a", "x": None}, {"file_name": "b", "x": [1]}],
    ),
    "one object": ("json", '{\n  "file_name": "a.png",\n  "text": "x"\n}\n', [{"file_name": "a.png", "text": "x"}]),
    "one object on a line": ("json", '{"file_name": "a.png"}', [{"file_name": "a.png"}]),
    "an object per line": ("json", '{"file_name": "a"}\n{"file_name": "b"}', [{"file_name": "a"}, {"file_name": "b"}]),
    "a list over lines": ("json", '\n[\n{"file_name":\n"a"}\n]', [{"file_name": "a"}]),
    "a line separator in text": ("jsonl", '{"file_name": "a\u2028b"}', [{"file_name": "a\u2028b"}]),
}


@pytest.mark.parametrize(("kind", "text", "rows"), READ.values(), ids=READ)
def test_rows(tmp_path, kind, text, rows):
    (tmp_path / f"metadata.{kind}").write_bytes(text.encode())
    path = find_metadata(tmp_path)
    assert path is not None
    assert read_metadata(path) == rows


MALFORMED = {
    "no file name column": ("csv", b"name,text\na.png,x\n", "has no column 'file_name'; it has name, text."),
    "an empty file name": ("csv", b"file_name,text\na.png,x\n ,y\n", "row 2 has no file_name."),
    "a long row": ("csv", b"file_name,x\na,1\nb,1,2\n", "line 3: the row doesn't have 2 values."),
    "a short row": ("csv", b"file_name,x\na\n", "line 2: the row doesn't have 2 values."),
    "a column twice": ("csv", b"file_name,x,x\na,1,2\n", "has the column 'x' twice."),
    "an open quote": ("csv", b'file_name,x\na,"1\n', "line 2: unexpected end of data."),
    "not UTF-8": ("csv", "file_name\ngrün.png\n".encode("latin-1"), "metadata.csv is not text in UTF-8"),
    "invalid JSON": ("jsonl", b'{"file_name": "a"}\n{"file_name"\n', "metadata.jsonl, line 2 is not JSON"),
    "not an object": ("jsonl", b'\n["a"]\n', "line 2 is not a JSON object."),
    "a number as file name": ("jsonl", b'{"file_name": 3}', "row 1 has no file_name."),
    "deep nesting": ("jsonl", b"[" * 100_000, "line 1 is not JSON"),
    "a huge number": ("jsonl", b'{"x": ' + b"9" * 5000 + b"}", "line 1 is not JSON"),
    "rows in an object": (
        "json",
        b'{"rows": [{"file_name": "a"}]}',
        "one JSON object without 'file_name'; a list of",
    ),
    "lists in an object": ("json", b'{\n"images": [], "n": 1}', "one for each image. Write the list in images alone."),
    "an object of something else": (
        "json",
        b'{\n"a.png": "x"\n}',
        "without 'file_name'; a list of objects is",
    ),
    "text as JSON": ("json", b'"a.png"', "metadata.json is not a list of JSON objects, one for each image."),
    "an object that is cut off": ("json", b'{\n"file_name": "a"', "metadata.json is not JSON: Expecting"),
    "a list that is cut off": ("json", b'[{"file_name": "a"}', "metadata.json is not JSON: Expecting"),
    "a line that is cut off": ("json", b'{"file_name": "a"}\n{"file', "metadata.json, line 2 is not JSON"),
    "an empty file": ("json", b"", "metadata.json is not JSON: Expecting value"),
    "no Parquet": ("parquet", b"hello", "metadata.parquet cannot be read"),
}


@pytest.mark.parametrize(("kind", "content", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_metadata_is_refused(tmp_path, kind, content, message):
    path = tmp_path / f"metadata.{kind}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)):
        read_metadata(path)


SNIPPETS = st.sampled_from(["file_name", "a.png", ",", "\n", '"', "\r\n", "\x00", '{"file_name": "a"}', "[", "NaN"])
TEXTS = st.lists(SNIPPETS | st.text(max_size=5), max_size=12).map("".join)


@pytest.mark.parametrize("name", METADATA_FILES)
@given(content=TEXTS.map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_metadata_is_rows_or_a_data_error(tmp_path: Path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with suppress(DataError):
        rows = read_metadata(path)
        assert all(isinstance(row["file_name"], str) and row.keys() == rows[0].keys() for row in rows)


def test_a_column_twice_in_parquet_is_refused_by_name(tmp_path):
    columns = [pa.array(["a.png"]), pa.array(["x"]), pa.array(["y"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["file_name", "text", "text"]), tmp_path / "metadata.parquet")
    with pytest.raises(DataError, match=r"metadata.parquet has the columns 'text' and 'text'\. Keep one of them\."):
        read_metadata(tmp_path / "metadata.parquet")
