"""KuaiRand's CSV files: the logs, joined with the features of users and videos.

All of log_standard_*.csv and, with `random_log`, of log_random_*.csv (impressions of videos drawn
at random, `is_rand` = 1), in the order of their names; a log in parts is as many files. Ids and
features are taken as they stand, integers as integers, the rest as text; -124 in is_live_streamer
means unknown and becomes null. Labels are those stored in the log. The video statistics are never
read: they are averages over the whole month.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from stembench.data.sources import text
from stembench.errors import StembenchError

_LABELS = [
    *("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
    "is_profile_enter",
]
_AFTERWARDS = ["play_time_ms", "profile_stay_time", "comment_stay_time"]
# Columns of video_features_statistic. Its follow_user_num is left out: the user file has a column
# of that name, which is known beforehand, and the statistics are not joined here.
_STATISTICS = (
    "counts show_cnt show_user_num play_cnt play_user_num play_duration complete_play_cnt "
    "complete_play_user_num valid_play_cnt valid_play_user_num long_time_play_cnt "
    "long_time_play_user_num short_time_play_cnt short_time_play_user_num play_progress "
    "comment_stay_duration like_cnt like_user_num click_like_cnt double_click_cnt "
    "cancel_like_cnt cancel_like_user_num comment_cnt comment_user_num direct_comment_cnt "
    "direct_comment_user_num reply_comment_cnt reply_comment_user_num delete_comment_cnt "
    "delete_comment_user_num comment_like_cnt comment_like_user_num follow_cnt "
    "cancel_follow_cnt cancel_follow_user_num share_cnt share_user_num share_all_cnt "
    "share_all_user_num outsite_share_all_cnt download_cnt download_user_num report_cnt "
    "report_user_num reduce_similar_cnt reduce_similar_user_num collect_cnt collect_user_num "
    "cancel_collect_cnt cancel_collect_user_num"
)

#: Columns that tell the outcome of the impression, and why.
LEAKS: dict[str, str] = {
    **dict.fromkeys(_LABELS, "it is a label"),
    **dict.fromkeys(_AFTERWARDS, "it is measured after the impression"),
    **dict.fromkeys(
        _STATISTICS.split(), "it is an average over the whole month, test days included"
    ),
}

_LOG = [
    *("user_id", "video_id", "date", "hourmin", "time_ms"),
    *_LABELS[:-1],
    *("play_time_ms", "duration_ms", "profile_stay_time", "comment_stay_time"),
    *("is_profile_enter", "is_rand", "tab"),
]
_USER_INTEGERS = [
    *("user_id", "is_lowactive_period", "is_live_streamer", "is_video_author"),
    *("follow_user_num", "fans_user_num", "friend_user_num", "register_days"),
]
_VIDEO_INTEGERS = ["video_id", "author_id"]
# Features of videos with few different texts: numbers while they wait for the join, which halves
# what the 32 million videos of 27K hold there.
_FEW = r"^(video_type|upload_dt|upload_type|visible_status|music_type|tag)$"


def load(
    root: Path, *, random_log: bool = False, max_ragged: Annotated[int, Field(ge=0)] = 0
) -> pl.LazyFrame:
    """The log's columns, then those of the user file and of the video file.

    A row of a log whose number of cells is not the header's is dropped, at most `max_ragged` of
    them in a file. Raises StembenchError for more, for a missing file or column, or an id with
    two lines in a feature file.
    """
    logs = [_scan(path, _LOG, _LOG, max_ragged) for path in _logs(root, random_log)]
    users, videos = (
        text.one_line_each(
            pl.concat([_scan(path, integers, [key]) for path in _files(root, pattern)]),
            key,
            f"{root}/{pattern}",
        )
        for pattern, integers, key in (
            ("user_features*.csv", _USER_INTEGERS, "user_id"),
            ("video_features_basic*.csv", _VIDEO_INTEGERS, "video_id"),
        )
    )
    users = users.with_columns(pl.col("^is_live_streamer$").replace(-124, None))
    videos = videos.with_columns(pl.col(_FEW).cast(pl.Categorical))
    return (
        pl.concat(logs)
        .join(users, on="user_id", how="left", maintain_order="left")
        .join(videos, on="video_id", how="left", maintain_order="left")
        .with_columns(pl.col(_FEW).cast(pl.String))
    )


def facts(root: Path, *, random_log: bool = False) -> dict[str, Any]:
    """Ragged rows that `load` drops, by log."""
    return text.facts(_logs(root, random_log), ",", quote='"')


def _logs(root: Path, random_log: bool) -> list[Path]:
    patterns = ["log_standard_*.csv", *(["log_random_*.csv"] if random_log else [])]
    return [path for pattern in patterns for path in _files(root, pattern)]


def _files(root: Path, pattern: str) -> list[Path]:
    files = sorted(root.glob(pattern))
    if not files:
        raise StembenchError(f"no {pattern} in {root}: fetch the data set again")
    return files


def _scan(
    path: Path, integers: list[str], required: list[str], max_ragged: int = 0
) -> pl.LazyFrame:
    names = text.header(path, ",", quote='"')
    text.check_columns(path, names, required)
    types = {name: pl.Int64 if name in integers else pl.String for name in names}
    return text.scan(path, types, separator=",", quote='"', max_ragged=max_ragged)
