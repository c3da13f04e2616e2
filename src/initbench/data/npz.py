"""A person's .npz: looked at before it is read, and only what is asked for is read. Nothing is ever unpickled."""

from __future__ import annotations

import math
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from initbench.errors import InputError, refusal, shown
from initbench.memory import check_fits

X_Y = "x (N, n) and y (N,) or (N, k)"
NUMBERS = "biuf"  # kinds of dtype
HELD_BY = 2  # processes at least hold the data: the command's own and a worker
SPLIT_UP = "x, y = t[:, :-1], t[:, -1]"  # of a table whose last column is the target
# what turns another kind of file into an .npz, in two lines of Python
CONVERSIONS = {
    ".npy": "import numpy as np; t = np.load('{path}')",
    ".csv": "import numpy as np; t = np.loadtxt('{path}', delimiter=',', skiprows=1)",
    ".tsv": "import numpy as np; t = np.loadtxt('{path}', delimiter='\\t', skiprows=1)",
    ".txt": "import numpy as np; t = np.loadtxt('{path}')",
    ".pt": "import numpy as np, torch; t = torch.load('{path}', weights_only=True).numpy()",
    ".parquet": "import numpy as np, pandas; t = pandas.read_parquet('{path}').to_numpy()",
    ".feather": "import numpy as np, pandas; t = pandas.read_feather('{path}').to_numpy()",
    ".xlsx": "import numpy as np, pandas; t = pandas.read_excel('{path}').to_numpy()",
    ".json": "import numpy as np, pandas; t = pandas.read_json('{path}').to_numpy()",
    ".mat": "import numpy as np, scipy.io; m = scipy.io.loadmat('{path}'); x, y = m['x'], m['y'].ravel()",
    ".h5": "import numpy as np, h5py; f = h5py.File('{path}'); x, y = f['x'][:], f['y'][:]",
    ".pkl": "import numpy as np, pandas; t = pandas.read_pickle('{path}').to_numpy()",
}
# the option of `data` that reads a kind of file
OPTIONS = {".npz": "npz", ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet"}
ALIASES = {".pth": ".pt", ".xls": ".xlsx", ".hdf5": ".h5", ".pickle": ".pkl", ".dat": ".txt", ".gz": ".csv"}
NAMES = {
    "x": ("X", "data", "features", "inputs", "images", "x_train", "X_train", "train_images", "arr_0"),
    "y": ("Y", "labels", "targets", "target", "label", "y_train", "Y_train", "train_labels", "arr_1"),
}


class Header(NamedTuple):
    """What an array says of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def read(path: str, where: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays x, y and, if there, train; and the names of what was not read.

    Raises InputError, before an array is allocated, for a file of another kind, arrays of wrong shape or type, and
    more than the machine's memory.
    """
    check_file(path, where, "npz")
    check_kind(path, where, "npz")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            check_names(names, path, where)
            wanted: list[str] = [name for name in ("x", "y", "train") if name in names]
            headers = {name: header(archive, name, where) for name in wanted}
            check_shapes(headers["x"].shape, headers["y"].shape, where, "train" in headers)
            check_fits(where, HELD_BY * bytes_of(headers), "give fewer samples or features")
            arrays = {}
            for name in wanted:
                with archive.open(f"{name}.npy") as file:
                    arrays[name] = np.asarray(npy.read_array(file, allow_pickle=False))
            return arrays, sorted(set(names) - set(wanted))
    except InputError:
        raise
    except Exception as error:  # whatever is wrong inside, also of kinds that zipfile, zlib and lzma raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise refusal(
            where, f"not a readable .npz of plain arrays ({shown(reason)})", "write it anew with np.savez"
        ) from None


def check_file(path: str, where: str, kind: str) -> None:
    """A regular file: a pipe or a device would be waited for without end."""
    do = f"name an existing .{kind} file"
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        raise refusal(where, "no such file", do) from None
    except (OSError, ValueError) as error:
        raise refusal(where, f"cannot be read ({getattr(error, 'strerror', None) or error})", do) from None
    if stat.S_ISDIR(mode):
        raise refusal(where, "is a folder", f"name a .{kind} file")
    if not stat.S_ISREG(mode):
        raise refusal(where, "is a pipe or a device, not a file", f"name a .{kind} file")


def check_kind(path: str, where: str, kind: str) -> None:
    """No file that another option of `data` reads, and none that has to be converted first."""
    suffix = Path(path).suffix.lower()
    known = ALIASES.get(suffix, suffix)
    if OPTIONS.get(known) == kind:
        return
    by_another = [f"use data={OPTIONS[known]}"] if known in OPTIONS else []
    by_hand = [f"convert it with: {conversion(CONVERSIONS[known], path)}"] if known in CONVERSIONS else []
    if by_another or by_hand:
        do = ", or ".join(by_another + by_hand * (kind == "npz" or not by_another))
        raise refusal(where, f"{suffix} is not read by data={kind}", do)


def conversion(lines: str, path: str) -> str:
    """The Python that writes an .npz from another kind of file.

    >>> conversion(CONVERSIONS[".npy"], "a.npy")
    "import numpy as np; t = np.load('a.npy'); x, y = t[:, :-1], t[:, -1]; np.savez('a.npz', x=x, y=y)"
    """
    table = "" if "x, y" in lines else f"; {SPLIT_UP}"
    return f"{lines.format(path=path)}{table}; np.savez('{Path(path).with_suffix('.npz').name}', x=x, y=y)"


def check_names(names: Sequence[str], path: str, where: str) -> None:
    """x and y are there; names that mean the same are offered."""
    if {"x", "y"} <= set(names):
        return
    found = {
        key: key if key in names else next((n for n in others if n in names), None) for key, others in NAMES.items()
    }
    hint = ""
    if all(found.values()):
        hint = f"e.g. a = np.load('{path}'); np.savez('my.npz', x=a['{found['x']}'], y=a['{found['y']}'])"
    raise refusal(where, f"has {', '.join(names[:8]) or 'no arrays'}; needs {X_Y}", hint)


def header(archive: zipfile.ZipFile, name: str, where: str) -> Header:
    """The header of an array; its numbers must be plain, and as many as the file holds."""
    with archive.open(f"{name}.npy") as file:
        shape, dtype = header_of(file)
        start = file.tell()
    if dtype.hasobject:
        do = f"write plain numbers: np.savez('my.npz', {name}=np.array({name}.tolist(), dtype=float), ...)"
        raise refusal(where, f"{name} holds pickled Python objects, which are never loaded", do)
    if dtype.kind not in NUMBERS:
        raise refusal(where, f"{name} has dtype {dtype}", advice(dtype, name))
    if any(length < 0 for length in shape):
        raise refusal(where, f"{name} says that its shape is {shape}", "write it anew with np.savez")
    said, held = math.prod(shape) * dtype.itemsize, archive.getinfo(f"{name}.npy").file_size - start
    if said != held:
        wrong = f"{name} of shape {shape} and dtype {dtype} needs {said} bytes, the file holds {held}"
        raise refusal(where, wrong, "write it anew with np.savez")
    return Header(shape, dtype)


def header_of(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype from the beginning of an .npy."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"array of format {version[0]}.{version[1]}")
    shape, _, dtype = readers[version](file)
    return shape, dtype


def advice(dtype: np.dtype, name: str) -> str:
    """How to make numbers of another kind of array."""
    if dtype.kind in "US" and name == "y":
        return "convert it to numbers, y = np.unique(y, return_inverse=True)[1] numbers words 0, 1, ..."
    if dtype.kind in "Mm":
        return f"convert it to numbers, e.g. {name} = ({name} - {name}.min()) / np.timedelta64(1, 's')"
    if dtype.kind == "c":
        return f"make it real, e.g. {name} = np.hstack([{name}.real, {name}.imag])"
    if dtype.kind == "V":
        return f"convert it to plain numbers, e.g. {name} = np.stack([{name}[f] for f in {name}.dtype.names], axis=1)"
    return "convert it to numbers"


def check_shapes(x: tuple[int, ...], y: tuple[int, ...], where: str, fixed: bool) -> None:
    """x (N, n) and y (N,) or (N, k) of one N."""
    shapes, needed = f"x has shape {x} and y {y}", f"give {X_Y}"
    least = 1 if fixed else 5
    if x and y and len(x) in (1, 2) and len(y) in (1, 2) and x[0] != y[0]:
        raise refusal(where, f"{shapes}: {x[0]} samples and {y[0]} targets", f"{needed} of the same N")
    if len(x) > 2:
        raise refusal(where, f"{shapes}; {needed}", "x = x.reshape(len(x), -1) makes one row of each sample")
    if len(x) == 1:
        raise refusal(where, f"{shapes}; {needed}", "x = x[:, None] makes one feature of it")
    if len(x) != 2 or len(y) not in (1, 2):
        raise refusal(where, shapes, needed)
    if x[0] < least or x[1] < 1 or y[-1] < 1:
        raise refusal(where, f"{shapes}", f"at least {least} samples, 1 feature and 1 target are needed")


def bytes_of(headers: dict[str, Header]) -> int:
    """Bytes of the arrays as read, as float64, and in an arm's type."""
    read_ = sum(one.size * one.dtype.itemsize for one in headers.values())
    doubled = sum(8 * one.size for name, one in headers.items() if name != "train" and one.dtype != np.float64)
    return read_ + doubled + 4 * (headers["x"].size + headers["y"].size)
