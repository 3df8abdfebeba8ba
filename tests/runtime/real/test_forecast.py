"""A GRU, trained here, forecasts the sea's temperature off Peru for the next three months from the last two years.

Real: sixty years of monthly means, of which the last ten are held out. Oracles: torch, and how far off one is who says
"as a year ago" (1.2 degrees) or "as now" (2.2).
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgekit.runtime import Session  # noqa: E402
from tests.export.real.recording import folder  # noqa: E402
from tests.runtime.real.deployed import deployed  # noqa: E402

PAST, AHEAD, HELD_OUT = 24, 3, 120

NET = textwrap.dedent("""
    import numpy as np
    import torch

    PAST, AHEAD = 24, 3

    class Forecaster(torch.nn.Module):
        '''x [N,T,1] in standard deviations -> the next three [N,3].'''
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(1, 16, batch_first=True)
            self.head = torch.nn.Linear(16, AHEAD)
        def forward(self, x):
            return {"values": self.head(self.gru(x)[1][-1])}

    def trained():
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.manual_seed(0)
        series = torch.from_numpy(np.load(SERIES))
        x = series.unfold(0, PAST + AHEAD, 1)
        x, y = x[:, :PAST, None], x[:, PAST:]
        net = Forecaster()
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(30):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(net(x[batch])["values"], y[batch]).backward()
                optimizer.step()
        torch.set_num_threads(threads)
        return net.eval()

    def make():
        return trained(), {"x": torch.from_numpy(np.load(SERIES))[None, :PAST, None].repeat(2, 1, 1)}
""")

RECIPE = """
[preprocess]
kind = "series"
input = "x"
mean = [{mean}]
std = [{std}]
length = 24

[postprocess]
kind = "forecast"
output = "values"
mean = [{mean}]
std = [{std}]
names = ["sea temperature"]
"""


def temperatures() -> np.ndarray:
    """[732] degrees Celsius, from January 1950 on; of the package only its file is read."""
    rows = np.genfromtxt(folder("statsmodels") / "datasets/elnino/elnino.csv", delimiter=",", skip_header=1)
    return rows[:, 1:].reshape(-1)


@pytest.fixture(scope="module")
def bundle(shared) -> Path:
    seen = temperatures()[:-HELD_OUT]

    def make(made: Path) -> None:
        np.save(made / "series.npy", ((seen - seen.mean()) / seen.std()).astype(np.float32))
        recipe = RECIPE.format(mean=seen.mean(), std=seen.std())
        deployed(made, f"SERIES = {str(made / 'series.npy')!r}\n{NET}", recipe)

    return shared("bundle-forecast", make) / "out/bundle"


def error(forecast: np.ndarray, came: np.ndarray) -> float:
    """Degrees, root mean square."""
    return float(np.sqrt(np.square(forecast - came).mean()))


def test_ten_held_out_years_are_forecast_better_than_by_the_calendar(bundle):
    sea = temperatures()
    starts = range(len(sea) - HELD_OUT, len(sea) - AHEAD + 1)
    came = np.stack([sea[start : start + AHEAD] for start in starts])
    forecasts = []
    with Session.open(bundle) as session:
        for start in starts:
            session.preprocess(sea[:start])
            session.execute()
            forecasts.append(np.asarray(session.postprocess()[0]).reshape(AHEAD))
    calendar = np.stack([sea[start - 12 : start - 12 + AHEAD] for start in starts])
    now = np.stack([sea[start - 1 : start] for start in starts])
    found = error(np.stack(forecasts), came)
    assert found < 0.9
    assert found < 0.75 * error(calendar, came)
    assert found < 0.5 * error(now, came)


def test_month_by_month_it_says_the_same(bundle):
    sea = temperatures()[-60:]
    with Session.open(bundle) as session:
        windows, stream = session.windows(), []
        for month in sea:
            for window in windows.push(np.array([[month]])):
                session.input("x")[0] = window
                session.execute()
                stream.append(np.asarray(session.postprocess()[0]).copy())
        session.preprocess(sea)
        session.execute()
        np.testing.assert_allclose(stream[-1], np.asarray(session.postprocess()[0]), rtol=1e-6)
        assert len(stream) == len(sea) - PAST + 1
