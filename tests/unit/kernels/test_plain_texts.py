"""What other people wrote, as one line, and in a terminal."""

import pytest
from armillary_kernels.plain_texts import is_plain, plain, printable


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ("guides/图 1.ipynb", "guides/图 1.ipynb", "guides/图 1.ipynb"),
        ("a\x1b]0;b\x07\x9b2J.ipynb", "a\ufffd]0;b\ufffd\ufffd2J.ipynb", "a]0;b2J.ipynb"),
        ("two\nlines\u2028\udcff", "two\ufffdlines\ufffd\ufffd", "twolines"),
        ("a\u202eb👩\u200d💻", "a\u202eb👩\u200d💻", "ab👩\u200d💻"),
    ],
)
def test_a_text_is_one_line_and_steers_no_terminal(text, line, shown):
    assert (plain(text), printable(text)) == (line, shown)
    assert is_plain(text) == (text == line)
    assert is_plain(plain(text))
