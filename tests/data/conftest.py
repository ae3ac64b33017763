"""Miniature data sets in the layouts of the real ones, made on the spot."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest

from stembench.data.prepare import rules as split
from stembench.data.store.columns import Store
from stembench.data.store.keys import coder
from stembench.params.data import Dataset, Source

LOG_HEADER = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab"
)
USER_HEADER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{i}" for i in range(18))
)
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag"
)
FOLDER = "KuaiRand-Pure/data/"
MEMBERS = {"pack/a.csv": b"a,b\n1,2\n" * 50, "pack/deep/b.csv": b"c\n3\n"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree(root: Path) -> dict[str, bytes]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def untouched(out: Path) -> bool:
    """No split and no scratch folder."""
    return not out.parent.exists() or not any(out.parent.iterdir())


def pack_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tape:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tape.addfile(info, io.BytesIO(content))


def pack_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members.items():
            pack.writestr(name, content)


def source(path: Path, **changes: Any) -> Source:
    archive = {
        "file": path.name,
        "sha256": sha256(path.read_bytes()) if path.exists() else "0" * 64,
        "members": {name: sha256(content) for name, content in MEMBERS.items()},
    }
    return Source.model_validate({"kind": "kuairand", "archives": [archive | changes]})


def clean(root: Path) -> bool:
    """No raw files and no scratch folder."""
    return not root.exists() and (not root.parent.exists() or not any(root.parent.iterdir()))


def kuairand_log(days: Iterable[int], rows_per_day: int = 40) -> list[str]:
    """Log lines of the official columns: both classes of every task on every day."""
    random = np.random.default_rng(3)
    lines = []
    for day in days:
        for row in range(rows_per_day):
            user, video, tab = random.integers(0, 12), random.integers(0, 20), random.integers(0, 4)
            clicked, liked = row % 2, int(row % 5 == 0)
            stamp = 1_650_000_000_000 + (day % 100) * 86_400_000 + row * 1000
            lines.append(
                f"{user},{video},{day},{row * 10},{stamp},{clicked},{liked},0,0,0,0,{clicked},"
                f"{900 * row},{5000 + row},0,0,0,0,{tab}"
            )
    return lines


def kuairand_members(logs: dict[str, list[str]]) -> dict[str, bytes]:
    """Member -> content, as in the official archive: quoted ranges, nulls, -124."""
    users = [
        f'{u},full_active,0,{-124 if u % 3 else 1},1,5,"(0,10]",7,"[1,10)",3,"[1,5)",90,61-90,'
        + ",".join("" if i in (4, 12, 13) and u % 4 == 0 else str(i + u % 2) for i in range(18))
        for u in range(12)
    ]
    videos = [
        f"{v},{v // 2},NORMAL,2022-04-1{v % 10},LongImport,0.0,8743.0,720.0,1280.0,{100 + v % 7},"
        f"9.0,{'' if v % 5 == 0 else ','.join(map(str, range(v % 5))).join(chr(34) * 2)}"
        for v in range(20)
    ]
    texts = {f"log_standard_{name}_pure.csv": [LOG_HEADER, *rows] for name, rows in logs.items()}
    texts["user_features_pure.csv"] = [USER_HEADER, *users]
    texts["video_features_basic_pure.csv"] = [VIDEO_HEADER, *videos]
    return {FOLDER + name: ("\n".join(lines) + "\n").encode() for name, lines in texts.items()}


def kuairand_entry(members: dict[str, bytes], archive: bytes = b"") -> dict[str, Any]:
    """The entry of params.yaml for a miniature archive."""
    return {
        "source": {
            "kind": "kuairand",
            "archives": [
                {
                    "file": "KuaiRand-Pure.tar.gz",
                    "sha256": sha256(archive),
                    "page": "https://kuairand.com",
                    "members": {name: sha256(content) for name, content in members.items()},
                }
            ],
        },
        "table": {
            "user": "user_id",
            "time": "time_ms",
            "drop_duplicates": True,
            "min_counts": {"video_id": 2},
            "fields": {
                "user": ["user_id", "is_live_streamer", "follow_user_num_range", "onehot_feat4"],
                "item": ["video_id", "author_id", "tag"],
                "context": ["tab"],
            },
            "bags": {"tag": {"separator": ",", "length": 3}},
            "tasks": {"is_click": "is_click", "is_like": "is_like"},
        },
        "split": {
            "name": "mini_d1",
            "rule": "days",
            "column": "date",
            "train_until": 20220503,
            "valid_until": 20220504,
            "test_until": 20220505,
        },
    }


ATOMIC = {
    "mini.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    + "".join(f"u{i % 7}\ti{i % 11}\t{1 + i % 5}\t{1000 + i // 2}\n" for i in range(100)),
    "mini.user": "user_id:token\tage:token\n" + "".join(f"u{i}\t{20 + i}\n" for i in range(6)),
    "mini.item": "item_id:token\ttitle:token_seq\tclass:token_seq\tprice:float\n"
    + "".join(f'i{i}\tThe "{i}\t{"A B C"[: i % 6]}\t{i}.5\n' for i in range(11)),
}


def atomic_entry() -> dict[str, Any]:
    return {
        "source": {"kind": "atomic", "options": {"prefix": "mini"}},
        "table": {
            "user": "user_id",
            "time": "timestamp",
            "fields": {"user": ["user_id", "age"], "item": ["item_id", "class"]},
            "bags": {"class": {"separator": " ", "length": 2}},
            "tasks": {"like": "rating >= 4", "love": "rating = 5"},
        },
        "split": {"name": "mini_t1", "rule": "time", "valid": 0.2, "test": 0.2},
    }


@contextmanager
def stored(
    frame: pl.DataFrame, user: str = "user", time: str | None = None, batch: int = 7, **marks: Any
) -> Iterator[split.Rows]:
    """The columns of a table in a store, `batch` rows a chunk, as the rules look at them."""
    with TemporaryDirectory() as folder, Store(Path(folder) / "store") as store:
        coders = {name: coder(name, dtype) for name, dtype in frame.schema.items()}
        for name in coders:
            store.add_column(name)
        for part in frame.iter_slices(batch) if len(frame) else ():
            for name, column in coders.items():
                store.columns[name].append(*column.keys(part[name]))
            store.end_chunk(len(part))
        yield split.Rows(store, coders, user, time, **marks)


@pytest.fixture
def atomic_root(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    root.mkdir()
    for name, text in ATOMIC.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "raw" / "mini"


@pytest.fixture
def make_dataset() -> Callable[[dict[str, Any]], Dataset]:
    return Dataset.model_validate


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves where archives lie."""
    monkeypatch.delenv("STEMBENCH_MIRROR", raising=False)
