"""What runs show is harmless, whatever files and areas are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.artifacts import plain_path, text

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
