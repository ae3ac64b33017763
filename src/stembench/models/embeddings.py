"""Embedding tables, looked up with one gather.

Shapes: B rows, C columns of the field matrix, F fields, d embedding width. Embeddings start at
N(0, 1e-4), as in the code released with STEM.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from stembench.data.schema import PADDING, Schema

EMBEDDING_STD = 1e-4

#: Width of an embedding table: `table`: d each, whatever their number; `one`: all tables of a field
#: together have d, the size of one shared table; `stem`: together d * (T + 1), the size of STEM's.
Budget = Literal["table", "one", "stem"]


class EmbeddingBank(nn.Module):
    """`copies` embedding tables per field, looked up with one gather.

    All fields and copies live in one weight (rows of all fields, copies * d): the rows of a field
    start at its offset, and a row holds its copies side by side. A bag is the mean of its tokens'
    rows. Ids out of a field's range would silently read another field's rows, so `schema.size`
    must come from the encoder that made the ids. `dim` is the d that `budget` starts from, see
    `table_width`; the attribute `dim` is the width that came of it.
    """

    def __init__(self, schema: Schema, dim: int, copies: int = 1, budget: Budget = "table") -> None:
        super().__init__()
        dim = table_width(dim, copies, schema.num_tasks, budget)
        self.copies, self.dim = copies, dim
        self.sparse = False  # whether the gradient holds the rows looked up alone
        self.weight = nn.Parameter(torch.empty(schema.num_rows, copies * dim))
        nn.init.normal_(self.weight, std=EMBEDDING_STD)
        offsets, offset = [], 0
        self.runs: list[tuple[int, bool]] = []  # columns of one bag, or of categorical neighbours
        for field in schema.fields:
            offsets += [offset] * field.columns
            offset += field.size
            bag = field.columns > 1
            if bag or not self.runs or self.runs[-1][1]:
                self.runs.append((field.columns, bag))
            else:
                self.runs[-1] = (self.runs[-1][0] + 1, False)
        self.num_fields = len(schema.fields)
        self.has_bags = any(bag for _, bag in self.runs)
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.offsets: Tensor

    @property
    def output_dim(self) -> int:
        """Width F * d of one copy's output."""
        return self.num_fields * self.dim

    def forward(self, fields: Tensor) -> list[Tensor]:
        """Ids (B, C) to one (B, F * d) input per copy, fields concatenated."""
        padding = fields == PADDING if self.has_bags else None
        rows = fields + self.offsets
        if padding is not None:
            rows = rows.masked_fill(padding, 0)
        # (B, C, copies * d)
        vectors = nn.functional.embedding(rows, self.weight, sparse=self.sparse)
        if torch.is_autocast_enabled(vectors.device.type):
            # Once here, not at each layer that reads it.
            vectors = vectors.to(torch.get_autocast_dtype(vectors.device.type))
        if padding is not None:
            vectors = self._pool(vectors, padding)
        copies = torch.unflatten(vectors, 2, (self.copies, self.dim)).unbind(2)
        return [vectors.flatten(1) for vectors in copies]

    def _pool(self, vectors: Tensor, padding: Tensor) -> Tensor:
        """Mean over the tokens of each bag: (B, C, k) to (B, F, k).

        One split and one concatenation: a slice per field would fill a zero gradient of the whole
        size for each.
        """
        widths = [columns for columns, _ in self.runs]
        parts = []
        for (_, bag), part, absent in zip(
            self.runs, torch.split(vectors, widths, 1), torch.split(padding, widths, 1), strict=True
        ):
            if bag:
                present = (~absent).to(part.dtype)
                weights = present / present.sum(1, keepdim=True).clamp(min=1)
                parts.append(torch.einsum("bc,bck->bk", weights, part).unsqueeze(1))
            else:
                parts.append(part)
        return torch.cat(parts, dim=1)


def table_width(dim: int, copies: int, tasks: int, budget: Budget) -> int:
    """Width of each of `copies` tables: the budget's total over their number, at least 1.

    What does not divide is rounded to the nearest, halves up; run.json has the exact counts.
    """
    total = {"table": dim * copies, "one": dim, "stem": dim * (tasks + 1)}[budget]
    return max(1, (2 * total + copies) // (2 * copies))
