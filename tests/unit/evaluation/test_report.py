"""Reports of an evaluation: HTML that nothing from a feed can break, and a plot for each query set."""

import base64
import re

from pipeline.evaluation.report import html_page


def test_the_page_escapes_names_and_holds_a_plot_for_each_set():
    system = {
        "queries": 300, "documents": 4000, "ndcg@10": 0.61234, "mrr@10": 0.5, "recall@10": 0.7, "recall@100": 0.9,
        "confidence_intervals": {"ndcg@10": [0.59, 0.63]},
    }  # fmt: skip
    report = {
        "sets": {"titles <b>": {"bm25": system, "<script>x</script>": system | {"active_terms": 120.4}}, "short": {}},
        "bm25": "nori", "confidence": 0.9, "comparisons": {"titles <b>": [{"sentence": "a < b"}]},
    }  # fmt: skip
    page = html_page(report)
    assert "<script>" not in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "titles &lt;b&gt;" in page
    assert "a &lt; b" in page
    assert "90% bootstrap" in page
    pictures = [base64.b64decode(data).decode() for data in re.findall(r"base64,([^\"]+)", page)]
    assert len(pictures) == 2
    assert pictures[0].startswith("<svg")
    assert "0.6123" in pictures[0]
    assert html_page(report) == page, "the same report gives the same bytes"
