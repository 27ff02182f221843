"""How leases and the GPUs' last hour are told to people, in words and in a small chart."""

import xml.etree.ElementTree as ET

import pytest
from armillary_kernels.lease_words import amount_words, duration_words, estimate_words, memory_words, waits_for_words
from armillary_kernels.sparkline import sparkline


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0, "less than a minute", "不到一分钟"),
        (59.9, "less than a minute", "不到一分钟"),
        (60, "1 min", "1 分钟"),
        (3600 + 120, "1 h 2 min", "1 小时 2 分钟"),
        (25 * 3600, "1 d 1 h", "1 天 1 小时"),
    ],
)
def test_durations(seconds, english, chinese):
    assert duration_words(seconds, "en") == english
    assert duration_words(seconds, "zh") == chinese


def test_what_a_lease_is_of_and_what_it_waits_for():
    assert [amount_words(1, None, "en"), amount_words(2, None, "en")] == ["1 GPU", "2 GPUs"]
    assert amount_words(1, 4096, "zh") == "一块 GPU 的 4 GiB 显存"
    assert [memory_words(512), memory_words(81_559)] == ["512 MiB", "79.6 GiB"]
    assert estimate_words(None, "en") == "nobody can say yet"
    assert estimate_words(20, "en") == "in less than a minute"
    assert estimate_words(780, "zh") == "约 13 分钟后"
    assert waits_for_words("quota", "en") == "room in its owner's quota"
    assert waits_for_words("gathering", "en") == "free GPUs that are kept for somebody ahead who needs more"


def test_a_chart_has_gaps_where_nothing_is_known_and_says_what_it_shows():
    chart = ET.fromstring(sparkline([0.5, None, 1.0], [None, 0.25, 0.25], 'now 100 % <"&>'))
    assert chart.get("aria-label") == 'now 100 % <"&>'
    assert [line.get("points") for line in chart.iter("polyline")] == ["0.0,16.0 40.0,16.0", "80.0,0.0 120.0,0.0"]
    assert [area.get("d") for area in chart.iter("path")] == ["M40.0 32.0L40.0 24.0L80.0 24.0L120.0 24.0L120.0 32.0Z"]


@pytest.mark.parametrize("values", [[], [None], [2.0, -1.0]])
def test_a_chart_of_odd_values_is_still_one(values):
    drawn = ET.fromstring(sparkline(values, values, ""))
    heights = [float(point.split(",")[1]) for line in drawn.iter("polyline") for point in line.get("points").split()]
    assert all(0 <= height <= 32 for height in heights)
