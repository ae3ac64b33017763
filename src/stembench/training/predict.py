"""Logits of a trained model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stembench.data.batches import Batches


def predict(model: nn.Module, batches: Batches) -> NDArray[np.float32]:
    """Logits (N, T) in the order of the part, float32, dropout off."""
    model.eval()
    # Into one array: results kept one by one would lie between freed activations, and hold them.
    logits = np.empty((len(batches.labels), batches.labels.shape[1]), np.float32)
    begin = 0
    with torch.inference_mode():
        for fields in batches.in_order():
            logits[begin : begin + len(fields)] = model(fields).float().cpu().numpy()
            begin += len(fields)
    return logits
