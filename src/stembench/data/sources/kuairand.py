"""KuaiRand's CSV files: the standard logs, joined with the features of users and videos.

All of log_standard_*.csv, in the order of their names. Ids and features are taken as they stand,
integers as integers, the rest as text; -124 in is_live_streamer means unknown and becomes null.
Labels are those stored in the log.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from stembench.data.files import check_rectangular
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


def load(root: Path) -> pl.LazyFrame:
    """The log's columns, then those of the user file and of the video file.

    Raises StembenchError for a missing file or column, a ragged line, or an id with two lines in
    a feature file.
    """
    logs = [_scan(path, _LOG, _LOG) for path in _files(root, "log_standard_*.csv")]
    users = [
        _scan(path, _USER_INTEGERS, ["user_id"]) for path in _files(root, "user_features*.csv")
    ]
    videos = [
        _scan(path, _VIDEO_INTEGERS, ["video_id"])
        for path in _files(root, "video_features_basic*.csv")
    ]
    users_once = _one_line_each(pl.concat(users), "user_id").with_columns(
        pl.col("^is_live_streamer$").replace(-124, None)
    )
    videos_once = _one_line_each(pl.concat(videos), "video_id")
    return (
        pl.concat(logs)
        .join(users_once, on="user_id", how="left", maintain_order="left")
        .join(videos_once, on="video_id", how="left", maintain_order="left")
    )


def _files(root: Path, pattern: str) -> list[Path]:
    files = sorted(root.glob(pattern))
    if not files:
        raise StembenchError(f"no {pattern} in {root}: fetch the data set again")
    return files


def _scan(path: Path, integers: list[str], required: list[str]) -> pl.LazyFrame:
    check_rectangular(path, ",", quote='"')
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline().rstrip("\r\n").split(",")
    absent = [name for name in required if name not in header]
    if absent:
        raise StembenchError(f"{path}: no column {', '.join(absent)}, only {', '.join(header)}")
    schema = {name: pl.Int64 if name in integers else pl.String for name in header}
    return pl.scan_csv(path, schema=schema)


def _one_line_each(features: pl.LazyFrame, key: str) -> pl.LazyFrame:
    if features.select(pl.col(key).is_duplicated().any()).collect().item():
        raise StembenchError(f"some {key} stands on two lines of the feature files; keep one each")
    return features
