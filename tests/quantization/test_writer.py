"""Writing a model in one pass: every byte where it belongs, and nothing left behind when it fails.

Files are read back by the gguf package and run by llama.cpp, and compared with one that the gguf package wrote.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import gguf
import numpy as np
import pytest

from llmasos.errors import BadInputError, BusyError, DiskFullError
from llmasos.formats.floats import as_bfloat16
from llmasos.formats.gguf import read_header
from llmasos.progress import Progress
from llmasos.quantization import writer
from llmasos.quantization.encode import encode
from llmasos.quantization.unfinished import unfinished_path
from llmasos.quantization.writer import TensorJob, planned_size, write_gguf

METADATA = {"general.architecture": "llama", "general.name": "test"}
WEIGHTS = np.random.default_rng(3).standard_normal((96, 512), np.float32)


class Reports(Progress):
    def __init__(self) -> None:
        self.total: int | None = None
        self.done: list[int] = []

    def start(self, label: str, total: int | None) -> None:
        self.total = total

    def update(self, done: int) -> None:
        self.done.append(done)


def job(name: str, array: np.ndarray, tensor_type: str, pieces: Iterable[np.ndarray] | None = None) -> TensorJob:
    parts = [array] if pieces is None else list(pieces)
    return TensorJob(name, array.shape, tensor_type, lambda: parts)


def content_of(path: Path, name: str) -> bytes:
    header = read_header(path)
    tensor = next(tensor for tensor in header.tensors if tensor.name == name)
    return path.read_bytes()[header.data_offset + tensor.offset :][: tensor.size]


def write_one(path: Path, array: np.ndarray, tensor_type: str, pieces: Iterable[np.ndarray] | None = None) -> bytes:
    assert write_gguf(path, METADATA, [job("a.weight", array, tensor_type, pieces)], progress=Progress()) == [path]
    return content_of(path, "a.weight")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small array is many chunks: four rows of 512."""
    monkeypatch.setattr(writer, "CHUNK_ITEMS", 2048)


def test_tensors_stand_in_llama_cpps_order_and_aligned(tmp_path):
    names = ["blk.10.a.weight", "blk.2.b.bias", "token_embd.weight", "blk.2.a.weight", "output.weight"]
    jobs = [job(name, WEIGHTS[0, :33], "F32") for name in names]
    (path,) = write_gguf(tmp_path / "a.gguf", METADATA, jobs, progress=Progress())
    tensors = gguf.GGUFReader(path).tensors
    assert [tensor.name for tensor in tensors] == [names[4], names[2], names[3], names[1], names[0]]
    assert [tensor.data_offset % 32 for tensor in tensors] == [0] * 5
    assert all(np.array_equal(tensor.data, WEIGHTS[0, :33]) for tensor in tensors)


def test_the_size_is_known_beforehand_and_progress_reaches_it(tmp_path, small_chunks):
    jobs = [job("a", WEIGHTS, "Q4_K"), job("b", WEIGHTS[0, :7], "F32")]
    reports = Reports()
    (path,) = write_gguf(tmp_path / "a.gguf", METADATA, jobs, progress=reports)
    assert path.stat().st_size == planned_size(METADATA, jobs) == reports.total == reports.done[-1]
    assert reports.done == sorted(set(reports.done))
    assert len(reports.done) > 24


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("tensor_type", ["Q4_K", "Q8_0", "BF16"])
def test_chunks_come_together_in_order(tmp_path, small_chunks, tensor_type, workers):
    jobs = [job("a", WEIGHTS, tensor_type), job("b", -WEIGHTS, tensor_type)]
    (path,) = write_gguf(tmp_path / "a.gguf", METADATA, jobs, progress=Progress(), workers=workers)
    assert content_of(path, "a") == encode(WEIGHTS, tensor_type).tobytes()
    assert content_of(path, "b") == encode(-WEIGHTS, tensor_type).tobytes()


HALVES = as_bfloat16(WEIGHTS)


@pytest.mark.parametrize(
    "pieces",
    [
        [WEIGHTS[:5], WEIGHTS[5:]],
        list(WEIGHTS),
        [np.asfortranarray(WEIGHTS)],
        [np.ascontiguousarray(WEIGHTS.T).T],
        [WEIGHTS.ravel()],
        [WEIGHTS.reshape(3, 4, 8, 512)[:1], WEIGHTS.reshape(3, 4, 8, 512)[1:]],
        [np.ascontiguousarray(WEIGHTS.reshape(4, 2, 12, 512).swapaxes(1, 2)).swapaxes(1, 2)],
        [WEIGHTS.astype(np.float64)],
        [WEIGHTS[:0], WEIGHTS],
        [WEIGHTS.reshape(2, -1)],
        [encode(WEIGHTS, "Q6_K")],
    ],
    ids=["two", "rows", "fortran", "transposed", "flat", "stacks", "regrouped", "f64", "empty", "wide", "encoded"],
)
def test_pieces_may_be_cut_and_lie_as_they_like(tmp_path, small_chunks, pieces):
    assert write_one(tmp_path / "a.gguf", WEIGHTS, "Q6_K", pieces) == encode(WEIGHTS, "Q6_K").tobytes()


@pytest.mark.parametrize(
    "array", [HALVES, HALVES.T, HALVES.reshape(4, 24, 512)], ids=["plain", "transposed", "experts"]
)
def test_what_needs_no_conversion_is_copied(tmp_path, small_chunks, array):
    assert write_one(tmp_path / "a.gguf", array, "BF16") == array.tobytes()


def test_a_mapped_file_is_a_piece_like_any_other(tmp_path):
    np.save(tmp_path / "a.npy", HALVES)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert write_one(tmp_path / "a.gguf", mapped, "Q8_0") == encode(HALVES, "Q8_0").tobytes()


def test_a_larger_alignment_is_honoured(tmp_path):
    jobs = [job(name, WEIGHTS[0, :7], "F32") for name in "ab"]
    (path,) = write_gguf(tmp_path / "a.gguf", {**METADATA, "general.alignment": 128}, jobs, progress=Progress())
    assert [tensor.data_offset % 128 for tensor in gguf.GGUFReader(path).tensors] == [0, 0]


def jobs_of(path: Path) -> list[TensorJob]:
    tensors = gguf.GGUFReader(path).tensors
    return [job(tensor.name, tensor.data, tensor.tensor_type.name) for tensor in tensors]


def metadata_of(path: Path) -> dict[str, object]:
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items() if not key.startswith("GGUF.")}


@pytest.mark.parametrize(("most_bytes", "file_count"), [(0, 1), (200_000, 3)])
def test_llama_cpp_answers_the_same_from_a_model_written_anew(tmp_path, tiny_model, llmasos, most_bytes, file_count):
    metadata, jobs = metadata_of(tiny_model), jobs_of(tiny_model)
    files = write_gguf(tmp_path / "new.gguf", metadata, jobs, progress=Progress(), split_max_bytes=most_bytes)
    before, after = (
        llmasos("run", path, "Hello", "--raw", "--temperature", "0", "--max-tokens", "12", "--ignore-eos")
        for path in (tiny_model, files[0])
    )
    assert (after.exit_code, len(files)) == (0, file_count)
    assert before.stdout == after.stdout != ""


def test_a_split_model_is_named_and_marked_as_llama_cpp_does(tmp_path):
    jobs = [job(f"blk.{layer}.a", WEIGHTS, "BF16") for layer in range(5)]
    paths = write_gguf(tmp_path / "m.gguf", METADATA, jobs, progress=Progress(), split_max_bytes=2 * WEIGHTS.size * 2)
    assert [path.name for path in paths] == [f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    headers = [read_header(path) for path in paths]
    split = [{key: header.metadata[key] for key in header.metadata if key.startswith("split.")} for header in headers]
    assert split == [{"split.no": number, "split.count": 3, "split.tensors.count": 5} for number in range(3)]
    assert [len(header.tensors) for header in headers] == [2, 2, 1]
    assert [header.metadata.get("general.name") for header in headers] == ["test", None, None]
    assert sum(path.stat().st_size for path in paths) == planned_size(
        METADATA, jobs, split_max_bytes=2 * WEIGHTS.size * 2
    )


@pytest.mark.parametrize(
    ("pieces", "message"), [([WEIGHTS[1:]], "hold 95 rows; its shape has 96"), ([WEIGHTS, WEIGHTS[:1]], "hold 97 rows")]
)
def test_pieces_that_are_not_the_tensor_are_our_own_mistake(tmp_path, pieces, message):
    with pytest.raises(ValueError, match=message):
        write_one(tmp_path / "a.gguf", WEIGHTS, "F16", pieces)
    assert list(tmp_path.iterdir()) == []


def failing(error: BaseException) -> Iterable[np.ndarray]:
    yield WEIGHTS[:50]
    raise error


def test_parts_of_given_lengths_hold_the_tensors_as_they_come(tmp_path):
    jobs = [job(name, WEIGHTS, "F32") for name in ("c", "a", "b")]
    paths = write_gguf(tmp_path / "m.gguf", METADATA, jobs, progress=Progress(), part_lengths=(0, 2, 1))
    assert [[tensor.name for tensor in read_header(path).tensors] for path in paths] == [[], ["c", "a"], ["b"]]
    assert sum(path.stat().st_size for path in paths) == planned_size(METADATA, jobs, part_lengths=(0, 2, 1))
    with pytest.raises(ValueError, match="parts of 2 tensors can't hold 3"):
        write_gguf(tmp_path / "n.gguf", METADATA, jobs, progress=Progress(), part_lengths=(1, 1))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), BadInputError("unreadable")])
@pytest.mark.parametrize("split_max_bytes", [0, 1])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path, small_chunks, error, split_max_bytes):
    (tmp_path / "a.gguf").write_text("the old one")
    jobs = [job("a", WEIGHTS, "Q4_K"), TensorJob("b", WEIGHTS.shape, "Q4_K", lambda: failing(error))]
    with pytest.raises(type(error)):
        write_gguf(tmp_path / "a.gguf", METADATA, jobs, progress=Progress(), split_max_bytes=split_max_bytes)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]
    assert (tmp_path / "a.gguf").read_text() == "the old one"


def test_weights_that_a_type_cannot_hold_are_named(tmp_path):
    with pytest.raises(BadInputError, match="the tensor `a.weight` holds NaN"):
        write_one(tmp_path / "a.gguf", np.full((4, 32), np.nan, np.float32), "Q8_0")
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_noticed_before_anything_is_read(tmp_path):
    vast = TensorJob("a", (2**30, 2**20), "F32", lambda: pytest.fail("it was read"))
    with pytest.raises(DiskFullError, match=r"a.gguf will take 4503.6 TB more, and"):
        write_gguf(tmp_path / "a.gguf", METADATA, [vast], progress=Progress())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["missing/a.gguf", "."])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, path):
    with pytest.raises(BadInputError, match="can't write"):
        write_gguf(tmp_path / path, METADATA, [job("a", WEIGHTS, "F32")], progress=Progress())


WRITE_SLOWLY = """
import sys, time, resource
from pathlib import Path
import numpy as np
from llmasos.errors import DiskFullError
from llmasos.progress import Progress
from llmasos.quantization import writer
def pieces():
    for _ in range(40):
        yield np.ones((10, 512), np.float32)
        if sys.argv[2] == "slowly":
            print("writing", flush=True)
            time.sleep(0.5)
if sys.argv[2] == "limited":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    jobs = [writer.TensorJob("a", (400, 512), "F32", pieces)]
    writer.write_gguf(Path(sys.argv[1]), {"general.architecture": "llama"}, jobs, progress=Progress())
except DiskFullError as error:
    print(error)
"""


def test_a_disk_that_fills_up_meanwhile_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WRITE_SLOWLY, tmp_path / "a.gguf", "limited"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"the disk is full: {tmp_path} takes no more")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_an_unfinished_file_that_the_next_run_replaces(tmp_path):
    path = tmp_path / "a.gguf"
    with subprocess.Popen([sys.executable, "-c", WRITE_SLOWLY, path, "slowly"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(BusyError, match="another process is writing"):
            write_one(path, WEIGHTS, "F32")
        child.send_signal(signal.SIGKILL)
    assert list(tmp_path.iterdir()) == [unfinished_path(path)]
    assert write_one(path, WEIGHTS, "F32") == WEIGHTS.tobytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    path = tmp_path / "a.gguf"
    unfinished_path(path).symlink_to(tmp_path / "mine")
    with pytest.raises(BadInputError, match="is a link"):
        write_one(path, WEIGHTS, "F32")
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not path.exists()
