"""The demo's window."""

from __future__ import annotations

import datetime as dt

from pipeline.config.section import Section, key


class DemoConfig(Section):
    """The demo: real Korean speeches replayed as a feed, over the weeks when 코로나19 came."""

    archive_from: dt.date = key(dt.date(2018, 1, 1), "first day of the archive that is imported before the window")
    window_from: dt.date = key(dt.date(2020, 1, 1), "first day served as RSS by the replay server")
    first_day: dt.date = key(dt.date(2020, 2, 29), "day after which the first model is trained")
    window_to: dt.date = key(dt.date(2020, 4, 30), "last day of the window: the second model is trained after it")
