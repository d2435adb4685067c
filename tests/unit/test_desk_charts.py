"""At which coordinates are the bars and lines of a chart drawn?"""

from services.desk import charts
from services.desk.charts import HEIGHT, WIDTH


def test_columns_stand_side_by_side_on_the_axis_and_are_stacked() -> None:
    chart = charts.columns([("09:00", {"done": 15, "failed": 5}), ("09:01", {"done": 0, "failed": 0})])
    done, failed = chart.bars
    assert (chart.top, done.kind, failed.kind) == (20, "done", "failed")
    assert done.y + done.height == HEIGHT
    assert failed.y + failed.height == done.y
    assert failed.y == 0
    assert done.width <= WIDTH / 2
    assert done.title == "09:00: 15 done"


def test_the_scale_ends_at_a_round_number() -> None:
    tops = [charts.columns([("", {"a": amount})]).top for amount in (0, 1, 2, 3, 7, 11, 21, 501, 1_000)]
    assert tops == [1, 1, 2, 5, 10, 20, 50, 1_000, 1_000]


def test_a_line_goes_through_its_points() -> None:
    assert charts.line([(0.0, 0), (0.5, 5), (1.0, 10)]).line == "0.0,120.0 300.0,60.0 600.0,0.0"


def test_charts_without_points_are_empty() -> None:
    assert charts.columns([]).bars == ()
    assert charts.line([]).line == ""
