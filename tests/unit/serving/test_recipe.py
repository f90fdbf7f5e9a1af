"""A served document's vector: the text's own, with the title's tokens at their least weight."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from pipeline.serving.recipe import with_titles


def test_title_tokens_weigh_at_least_the_title_weight() -> None:
    rows = sp.csr_matrix(np.array([[0, 0.4, 2.0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], np.float32))
    made = with_titles(rows, [[1, 2], [3], []], 1.0)
    assert made.toarray().tolist() == [[0, 1.0, 2.0, 0], [0, 0, 0, 1.0], [1, 0, 0, 0]]
    assert made.dtype == np.float32
    assert with_titles(rows, [[1], [], []], 0.0) is rows
