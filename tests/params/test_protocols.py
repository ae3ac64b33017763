"""Search spaces, published settings and series of suites: every fault is told with what is allowed."""

from __future__ import annotations

import re

import pytest

from stembench.errors import StembenchError
from stembench.params import load as params
from tests.params.test_load import TEXT, edited


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  seed: 20260111\n", "  seed: 2023\n", r"tuning\.seed: 2023 stands in seeds: choose one"),
        ("  seed: 20260111\n", "  seed: 8\n", r"tuning\.seed: 8 stands in suites\.demo\.seeds"),
        ("  trials: 12\n", "  trials: 0\n", r"tuning\.trials: must be greater than or equal to 1"),
        ("  sampler: tpe ", "  sampler: grid ", r"tuning\.sampler: must be 'tpe' or 'random'"),
        ("lr: {low: 1.0e-4, high: 1.0e-2,", "lr: {low: 1.0e-2, high: 1.0e-2,", r"tuning\.space\.train\.lr: the range is empty"),
        ("lr: {low: 1.0e-4,", "lr: {low: 1e-4,", r"space\.train\.lr: low must be a number, not '1e-4' \(write 1\.0e-4"),
        ("lr: {low: 1.0e-4,", "lr: {low: 0.0,", r"space\.train\.lr: a log range must start above 0"),
        ("lr: {low: 1.0e-4, high: 1.0e-2,", "lr: {low: 1.0e-4, high: 3.0,", r"tuning\.space\.train\.lr: must be less than or equal to 1, not 3\.0"),
        ("lr: {low: 1.0e-4, high: 1.0e-2,", "lr: {choices: [0.1, 0.1]}\n      l: {", r"at least two values, none twice"),
        ("lr: {low: 1.0e-4, high: 1.0e-2,", "lr: {choices: [0.1, 0.2], high: 1.0,", r"either `choices` or `low` and `high`"),
        ("lr: {low: 1.0e-4, high: 1.0e-2, log: true}", "lr: {choices: []}", r"at least two values"),
        ("lr: {low: 1.0e-4, high: 1.0e-2, log: true}", "lr: {choices: [0.1, x]}", r"space\.train\.lr: must be a valid number, not 'x'"),
        ("      lr: {low", "      lrr: {low", r"tuning\.space\.train\.lrr: unknown key, one of optimizer, lr"),
        ("      lr: {low", "      lr: {lo: 1, low", r"tuning\.space\.train\.lr\.lo: unknown key, one of choices, low"),
        ("      embedding_l2: {low: 1.0e-7, high: 1.0e-4, log: true}", "      epochs: {low: 1, high: 3}", r"train\.epochs: cannot be tuned: it is the budget"),
        ("      embedding_l2: {low: 1.0e-7, high: 1.0e-4, log: true}", "      batch_size: {low: 1.0, high: 8.5}", r"train\.batch_size: is a whole number: write low and high without"),
        ("dropout: {choices: [0.0,", "dropout: {choices: [1.0,", r"tuning\.space\.args\.dropout: must lie in \[0, 1\)"),
        ("dropout: {choices: [0.0, 0.1, 0.2, 0.4]}", "dropout: {low: 0, high: 1}", r"space\.args\.dropout: is a real number"),
        ("dropout: {choices:", "dropoud: {choices:", r"tuning\.space\.args: unknown argument 'dropoud', one of "),
        ("  mmoe:\n", "  mmoe:\n    tune: {args: {num_experts: {choices: [2, x]}}}\n", r"models\.mmoe\.tune\.args\.num_experts: must be a positive integer, not 'x'"),
        ("  mmoe:\n", "  mmoe:\n    tune: {args: {num_shared_experts: {choices: [2, 4]}}}\n", r"models\.mmoe\.tune\.args: unknown argument 'num_shared_experts'"),
        ("  mmoe:\n", "  mmoe:\n    tune: {args: {expert_units: {low: 1, high: 4}}}\n", r"models\.mmoe\.tune\.args\.expert_units: is no number: give `choices`"),
        ("    protocol: tuned\n", "    protocol: tuned\n    train: {lr: 1.0e-3}\n", r"suites\.\w+_tuned\.train\.lr: is tuned, for single_task, shared_bottom, .*: drop it here"),
        ("    protocol: tuned\n", "    protocol: tooned\n", r"suites\.\w+_tuned\.protocol: must be 'released', 'equal' or 'tuned'"),
        ("      stem: {train: {lr: 1.0e-3}}\n", "", r"settings_released\.models: no published settings of stem"),
        ("      stem: {train: {lr: 1.0e-3}}\n", "      stam: {train: {lr: 1.0e-3}}\n", r"protocols\.released\.models: unknown 'stam', one of"),
        ("      stem: {train: {lr: 1.0e-3}}\n", "      stem: {train: {lrr: 1.0e-3}}\n", r"protocols\.released\.models\.stem\.train\.lrr: unknown key"),
        ("settings_equal_low, settings_tuned]", "demo]", r"analysis\.protocols\.settings: the suites must have the same data sets"),
        ("settings_equal_low, settings_tuned]", "nothing]", r"analysis\.protocols\.settings: unknown 'nothing', one of demo"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_what_is_allowed(old: str, new: str, message: str) -> None:
    text = edited(old, new)
    if "demo.seeds" in message.replace("\\", ""):
        text = text.replace("    seeds: 5\n", "    seeds: [7, 8]\n", 1)
    with pytest.raises(StembenchError) as caught:
        params.parse(text)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_a_tuned_suite_needs_the_section_tuning() -> None:
    text = TEXT[: TEXT.index("\ntuning:\n")] + TEXT[TEXT.index("\nprotocols:\n") :]
    with pytest.raises(StembenchError) as caught:
        params.parse(text)
    assert "suites.settings_tuned.protocol: tuned needs the section tuning" in str(caught.value)
    with pytest.raises(StembenchError, match=r"models\.mmoe\.tune: there is no section tuning"):
        params.parse(
            text.replace("  mmoe:\n", "  mmoe:\n    tune: {train: {lr: {choices: [0.1, 0.2]}}}\n")
        )
    with pytest.raises(StembenchError, match=r"released needs the section protocols\.released"):
        params.parse(TEXT[: TEXT.index("\nprotocols:\n")] + TEXT[TEXT.index("\ndatasets:\n") :])
