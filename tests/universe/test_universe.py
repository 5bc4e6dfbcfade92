"""Reading universe files that were made by hand, and refusing those that are not right."""

import io
import json
import struct
import tarfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from whence.errors import ArtefactError, DataError
from whence.universe import Universe


def tiles_by_hand(data: bytes, count: int, height: int, width: int) -> np.ndarray:
    """Tiles row by row, one after another; uint8 [n, C, H, W]."""
    page = np.array(Image.open(io.BytesIO(data)))
    page = page[..., None] if page.ndim == 2 else page
    found = []
    for top in range(0, page.shape[0], height):
        for left in range(0, page.shape[1], width):
            tile = page[top : top + height, left : left + width]
            found.append(tile.transpose(2, 0, 1))
    return np.stack(found[:count])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "u.ctf"


@pytest.mark.parametrize("kind", ["members", "onefile"])
def test_tiles_are_read_row_by_row_and_the_padding_is_left_out(kind, request, path, tar_of):
    files = request.getfixturevalue(kind)
    universe = Universe.open(tar_of(path, files))
    assert universe.units == ("0", "1")
    assert universe.missing == []
    assert (universe.factuals() == tiles_by_hand(files["factual.png"], 5, 3, 2)).all()
    assert (universe.factual(4) == universe.factuals()[4]).all()
    assert (universe.counterfactuals("1") == tiles_by_hand(files["leave_1_y_z.png"], 5, 3, 2)).all()
    if kind == "onefile":
        assert (universe.training("1") == tiles_by_hand(files["training_set.png"], 2, 2, 3)[1:]).all()
    else:
        assert (universe.training("0") == tiles_by_hand(files["train_0_2.png"], 2, 2, 3)).all()
        assert universe.training("1").shape == (1, 3, 2, 3)


def test_distances_and_radius_equal_a_loop(path, members, tar_of):
    universe = Universe.open(tar_of(path, members))
    for k in range(5):
        slow = []
        for unit in universe.units:
            total = 0.0
            for a, b in zip(universe.counterfactuals(unit)[k].flat, universe.factual(k).flat, strict=True):
                total += (int(a) / 255 - int(b) / 255) ** 2
            slow.append(total**0.5)
        assert universe.distances(k) == pytest.approx(slow, rel=1e-12)
        assert universe.radius(k) == pytest.approx(max(slow), rel=1e-12)


def test_units_have_names_where_the_file_has_them(path, members, settings_of, tar_of):
    named = members | {"config.json": settings_of(UnitNames=["ann", "bé"], Comment={"a": 1.5})}
    universe = Universe.open(tar_of(path, named))
    assert universe.units == ("ann", "bé")
    assert universe.training("ann").shape == (2, 3, 2, 3)
    with pytest.raises(DataError, match="no unit 'an' among the 2.*Did you mean 'ann'"):
        universe.counterfactuals("an")


@pytest.mark.parametrize("k", [-1, 5])
def test_a_picture_that_is_not_there(path, members, tar_of, k):
    universe = Universe.open(tar_of(path, members))
    for ask in (universe.factual, universe.distances, universe.radius):
        with pytest.raises(DataError, match=f"pictures 0 to 4; there is no picture {k}"):
            ask(k)


def test_only_what_is_asked_for_is_decoded(path, members, tar_of):
    spoilt = {name: data if name == "config.json" else b"no picture" for name, data in members.items()}
    universe = Universe.open(tar_of(path, spoilt | {"leave_1_y_z.png": members["leave_1_y_z.png"]}))
    assert universe.counterfactuals("1").shape == (5, 1, 3, 2)
    for ask in (universe.factuals, lambda: universe.counterfactuals("0"), lambda: universe.training("1")):
        with pytest.raises(ArtefactError, match="is not a PNG file: it begins with b'no picture'"):
            ask()


def test_a_unit_without_pictures_is_missing_and_leaves_no_distances(path, members, tar_of):
    kept = {name: data for name, data in members.items() if name not in ("leave_0_x.png", "train_1_1.png")}
    universe = Universe.open(tar_of(path, kept))
    assert universe.missing == ["0"]
    for ask, message in (
        (lambda: universe.counterfactuals("0"), "no pictures without unit '0'"),
        (lambda: universe.radius(0), "lacks the pictures without 1 of 2 units, among them '0'"),
        (lambda: universe.training("1"), "no training images of unit '1'"),
    ):
        with pytest.raises(ArtefactError, match=message):
            ask()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_with_long_names_folder_entry_and_times(path, members, tar_of, everything, format):
    long = f"leave_0_{'x' * (80 if format == tarfile.USTAR_FORMAT else 150)}.png"
    renamed = {f"./{long if name == 'leave_0_x.png' else name}": data for name, data in members.items()}
    root, other = tarfile.TarInfo("."), tarfile.TarInfo("README.txt")
    root.type, other.mtime, other.size = tarfile.DIRTYPE, 1.5, 700
    everything(Universe.open(tar_of(path, renamed, root, other, format=format)))


def special(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


REFUSED_MEMBERS = {
    "absolute": (special("/etc/x"), "named '/etc/x'; names without folders"),
    "parent": (special("../x.png"), "named '../x.png'; names without folders"),
    "folder in a name": (special("a/leave_0_x.png"), "names without folders"),
    "backslash": (special("..\\x"), "names without folders"),
    "dots": (special(".."), "names without folders"),
    "folder": (special("a", tarfile.DIRTYPE), "folder 'a'; .* plain files only"),
    "symlink": (special("factual2.png", tarfile.SYMTYPE, linkname="/etc/passwd"), "link 'factual2.png'"),
    "hard link": (special("x.png", tarfile.LNKTYPE, linkname="factual.png"), "link 'x.png'"),
    "device": (special("x", tarfile.CHRTYPE), "special file 'x'"),
    "pipe": (special("x", tarfile.FIFOTYPE), "special file 'x'"),
    "sparse": (special("x", tarfile.GNUTYPE_SPARSE), "special file 'x'"),
    "twice": (special("factual.png"), "two members named 'factual.png'"),
    "twice, written otherwise": (special("./factual.png"), "two members named 'factual.png'"),
    "path in an extension": (special("x", pax_headers={"path": "../../x"}), r"named '../../x'"),
    "size in an extension": (special("x", pax_headers={"size": "99999999999"}), "extension with 'size'"),
    "sparse by extension": (special("x", pax_headers={"GNU.sparse.size": "9"}), "extension with 'GNU.sparse.size'"),
    "huge extension": (special("x", pax_headers={"comment": "x" * 70_000}), "extension of 70,0.. bytes"),
    "unknown unit": (special("leave_2_x.png"), "'leave_2_x.png', which names none of its 2 units"),
    "no unit": (special("train_one_1.png"), "'train_one_1.png', which names none of its 2 units"),
    "unit in other digits": (special("leave_\u0661_x.png"), "names none of its 2 units"),
    "two sheets for a unit": (special("leave_00_y.png"), "two sheets for unit 00: 'leave_0_x.png' and"),
}


@pytest.mark.parametrize("case", REFUSED_MEMBERS)
def test_members_that_are_refused(path, members, tar_of, case):
    info, message = REFUSED_MEMBERS[case]
    with pytest.raises(ArtefactError, match=message):
        Universe.open(tar_of(path, members, info))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_tars_are_refused_by_name(path, members, tar_of, mode):
    name = {"gz": "gzip", "bz2": "bzip2", "xz": "xz"}[mode[2:]]
    with pytest.raises(ArtefactError, match=rf"compressed \({name}\); an uncompressed tar is expected"):
        Universe.open(tar_of(path, members, mode=mode))


def test_a_zip_is_refused_by_name_but_a_member_may_be_called_pk(path, members, tar_of, everything):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"{}")
    with pytest.raises(ArtefactError, match=r"compressed \(zip\)"):
        Universe.open(path)
    everything(Universe.open(tar_of(path, {"PK.txt": b"x"} | members)))


@pytest.mark.parametrize("content", [b"", b"x", bytes(1024), b"plain text\n" * 100])
def test_what_is_no_tar_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="u.ctf is not a tar file"):
        Universe.open(path)


def test_a_missing_file_or_a_directory(tmp_path):
    for there in (tmp_path, tmp_path / "none.ctf"):
        with pytest.raises(ArtefactError, match="is not there, or is not a file"):
            Universe.open(there)


def test_a_tar_cut_off_anywhere_is_refused_even_between_members(path, members, tar_of):
    whole = tar_of(path, members).read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for length in range(512, end + 1, 512):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtefactError, match="cut off"):
            Universe.open(path)


@pytest.mark.parametrize("name", ["config.json", "factual.png"])
def test_what_must_be_there(path, members, tar_of, name):
    with pytest.raises(ArtefactError, match=f"not a universe file: it has no {name}"):
        Universe.open(tar_of(path, {key: data for key, data in members.items() if key != name}))


def test_a_training_set_that_is_not_there(path, members, tar_of, settings_of):
    universe = Universe.open(tar_of(path, members | {"config.json": settings_of(Format="ONEFILE")}))
    with pytest.raises(ArtefactError, match=r"no training_set.png, where its format ONEFILE"):
        universe.training("0")


REFUSED_SETTINGS = {
    "missing": ({"GenWidth": None}, "GenWidth: Field required"),
    "negative": ({"TrainingUnits": -1}, "TrainingUnits: .*greater than or equal to 1, not -1"),
    "zero": ({"NumberGenerated": 0}, "NumberGenerated: .*not 0"),
    "huge": ({"GenHeight": 10**30}, "GenHeight: .*less than or equal to 65536"),
    "bool": ({"TrainingUnits": True}, "TrainingUnits: .*integer, not True"),
    "float": ({"TrainingUnits": 2.0}, "TrainingUnits: .*integer, not 2.0"),
    "text": ({"GenWidth": "2"}, "GenWidth: .*integer, not '2'"),
    "list": ({"GenWidth": [2]}, r"GenWidth: .*integer, not \[2\]"),
    "channels": ({"GenChannel": 2}, "pictures have 1 or 3 channels, not 2"),
    "format": ({"Format": 1}, "Format: .*string, not 1"),
    "too few names": ({"UnitNames": ["a"]}, "1 UnitNames, 1 of them different, for 2 TrainingUnits"),
    "equal names": ({"UnitNames": ["a", "a"]}, "2 UnitNames, 1 of them different"),
    "names of another type": ({"UnitNames": [1, 2]}, "UnitNames.0: .*string, not 1"),
    "names that are no text": ({"UnitNames": ["a", "\ud800"]}, "is not readable JSON: .*can't encode"),
}


@pytest.mark.parametrize("case", REFUSED_SETTINGS)
def test_settings_that_are_refused(path, members, settings_of, tar_of, case):
    changed, message = REFUSED_SETTINGS[case]
    with pytest.raises(ArtefactError, match=f"u.ctf, config.json:? {message}"):
        Universe.open(tar_of(path, members | {"config.json": settings_of(**changed)}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable JSON"),
        ("{", "not readable JSON"),
        ("[1, 2]", "config.json: Input should be"),
        ('{"Format": "x", "Format": "y"}', "a key comes twice"),
        ('{"Other": NaN}', "NaN is not a number"),
        ('{"Other": -Infinity}', "-Infinity is not a number"),
        ('{"Other": ' + "9" * 5000 + "}", "not readable JSON"),
        ('{"Other": ' + "[" * 100_000, "not readable JSON"),
        (b"\xff\xfe\xff", "not readable JSON"),
    ],
)
def test_text_that_is_refused_as_settings(path, members, tar_of, text, message):
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ArtefactError, match=message):
        Universe.open(tar_of(path, members | {"config.json": data}))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def declared(width: int, height: int, held: int = 50) -> bytes:
    """A grey PNG that declares a size, whatever pixels it holds."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(held))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def grey(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=options.pop("format", "PNG"), **options)
    return stream.getvalue()


REFUSED_SHEETS = {
    "no multiple": (saved(Image.fromarray(grey(7, 6))), "is 6 x 7 pixels; whole tiles of 2 x 3"),
    "too small": (saved(Image.fromarray(grey(6, 4))), "room for 4 tiles; 5 tiles of 2 x 3 are expected"),
    "an unused row": (saved(Image.fromarray(grey(9, 6))), "only the last row may be padded"),
    "RGB": (saved(Image.new("RGB", (6, 6))), "is RGB with 8 bits; expected is grey with 8 bits"),
    "grey with alpha": (saved(Image.new("LA", (6, 6))), "is grey with alpha"),
    "palette": (saved(Image.new("P", (6, 6))), "is palette"),
    "one bit": (saved(Image.new("1", (6, 6))), "is grey with 1 bits"),
    "16 bits": (saved(Image.new("I;16", (6, 6))), "is grey with 16 bits"),
    "JPEG": (saved(Image.fromarray(grey(6, 6)), format="JPEG"), "is not a PNG file"),
    "a bomb": (declared(60_000, 60_000), "60000 x 60000 pixels, too many for 5 tiles"),
    "a bomb of one row": (declared(2**31 - 2, 3), "too many for 5 tiles"),
    "no pixels": (declared(0, 0), "0 x 0 pixels"),
    "pixels that end early": (declared(6, 6, held=15), "cannot be decoded"),
    "too many bytes": (declared(6, 6) + bytes(2**21), "far more than its 36 values can take"),
    "something behind it": (declared(6, 6) + b"x", "not a whole PNG"),
    "two headers": (declared(6, 6)[:33] + declared(9000, 9000)[8:], "not a whole PNG"),
    "no end": (declared(6, 6)[:-12], "not a whole PNG"),
    "nothing in it": (b"", "is not a PNG file"),
}


@pytest.mark.parametrize("case", REFUSED_SHEETS)
def test_sheets_that_are_refused(path, members, tar_of, case):
    data, message = REFUSED_SHEETS[case]
    universe = Universe.open(tar_of(path, members | {"factual.png": data}))
    with pytest.raises(ArtefactError, match=f"u.ctf, 'factual.png' .*{message}"):
        universe.factuals()


def test_grey_where_colours_are_expected(path, members, tar_of, png):
    universe = Universe.open(tar_of(path, members | {"train_0_2.png": png(grey(2, 6))}))
    with pytest.raises(ArtefactError, match="is grey with 8 bits; expected is RGB"):
        universe.training("0")


def test_a_bomb_that_the_settings_ask_for_takes_no_memory(path, members, tar_of, settings_of):
    config = settings_of(NumberGenerated=10**6, GenHeight=2**16, GenWidth=2**16)
    files = members | {"config.json": config, "factual.png": declared(2**16 * 1000, 2**16 * 1000)}
    tracemalloc.start()
    universe = Universe.open(tar_of(path, files))
    with pytest.raises(ArtefactError, match="too many for 1,000,000 tiles"):
        universe.factuals()
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_what_else_a_sheet_carries_is_never_unpacked(path, members, tar_of, everything):
    """Text of 100 MB and an animation beside the pixels: skipped, and the pixels are the same."""
    sheet = members["factual.png"]
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))
    moving = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", bytes(26))
    plain = everything(Universe.open(tar_of(path, members)))
    more = everything(Universe.open(tar_of(path, members | {"factual.png": sheet[:33] + bomb + moving + sheet[33:]})))
    assert all((plain[name] == more[name]).all() for name in plain)


def test_one_changed_byte_of_a_sheet_is_noticed_wherever_it_is(path, members, tar_of):
    sheet = members["leave_0_x.png"]
    for at in range(len(sheet)):
        changed = sheet[:at] + bytes([sheet[at] ^ 1]) + sheet[at + 1 :]
        universe = Universe.open(tar_of(path, members | {"leave_0_x.png": changed}))
        with pytest.raises(ArtefactError, match="'leave_0_x.png'"):
            universe.counterfactuals("0")


def test_a_file_that_goes_away_after_it_was_opened(path, members, tar_of):
    universe = Universe.open(tar_of(path, members))
    path.unlink()
    with pytest.raises(ArtefactError, match="is not there"):
        universe.factuals()


def test_settings_are_read_up_to_a_limit(path, members, tar_of, settings_of, monkeypatch):
    monkeypatch.setattr("whence.universe.universe._MAX_CONFIG", 1000)
    padded = json.dumps(json.loads(settings_of()) | {"Comment": "x" * 1000}).encode()
    with pytest.raises(ArtefactError, match="config.json has 1,1.. bytes; at most 1,000 are read"):
        Universe.open(tar_of(path, members | {"config.json": padded}))
