"""What runs show is harmless, whatever files and areas are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.artifacts import address, answer_markdown, plain_path, text, where
from geoloc.report import write_report
from tests.report_sample import in_tandem

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("words", "harmless"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ('a & b\'s "c".jpg', 'a &amp; b\'s "c".jpg'),
        ("[l](javascript:alert(1))", "\\[l\\](javascript:alert(1))"),
        ("street_1 | #2\n *", "street\\_1 \\| \\#2 \\*"),
    ],
)
def test_words_from_outside_are_harmless(words: str, harmless: str) -> None:
    assert text(words) == harmless


def test_a_path_cannot_leave_its_link_or_code() -> None:
    shown = plain_path(Path("/out/street_1/a]`<b> c/report.html"))
    assert shown == "/out/street_1/a%5D%60%3Cb%3E c/report.html"


def test_artifacts_are_made_in_one_place() -> None:
    """Where `text` goes over what they say."""
    makers = [
        path.name for path in (ROOT / "flows").glob("*.py") if "_artifact(" in path.read_text()
    ]
    assert makers == ["artifacts.py"]


def test_a_result_is_a_link_only_where_it_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path("/data/results/a b/report.html")
    monkeypatch.delenv("GEOLOC_RESULTS", raising=False)
    monkeypatch.delenv("GEOLOC_RESULTS_URL", raising=False)
    assert address(page) is None
    assert where(page) == "report.html: `/data/results/a b/report.html`"
    monkeypatch.setenv("GEOLOC_RESULTS", "/data/results")
    monkeypatch.setenv("GEOLOC_RESULTS_URL", "http://127.0.0.1:8080/")
    url = "http://127.0.0.1:8080/a%20b/report.html"
    assert address(page) == url
    assert where(page) == f"[report.html]({url}): `{page}`"
    assert address(Path("/elsewhere/report.html")) is None


def test_each_of_several_models_has_a_column(tmp_path: Path) -> None:
    result = in_tandem(folder=tmp_path)
    write_report(result, tmp_path)
    lines = answer_markdown(result, tmp_path).splitlines()
    (head,) = (line for line in lines if line.startswith("| rank |"))
    rule, first, second = lines[lines.index(head) + 1 :][:3]
    cells = [line.replace("\\|", "").count("|") for line in (head, rule, first, second)]
    assert len(set(cells)) == 1
    assert "| score |" in head and "landuse alone" in head and "=mine&lt;b&gt; alone" in head
    assert "| -3.500 |" in first and " 41.50 |" in first and "not known" in second
