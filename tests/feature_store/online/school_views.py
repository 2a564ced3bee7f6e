"""Features of a small project: activity of learners in files, attempts that are pushed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa

from feature_store.definitions import (
    FeatureService,
    FeatureView,
    RequestSource,
    on_demand_feature_view,
)
from feature_store.fields import Entity, FeatureType, Field
from feature_store.sources import ParquetSource, PushSource

T = FeatureType
learner = Entity("learner", (Field("learner", T.INT64),))
skill = Entity("skill", (Field("skill", T.STRING),))
ACTIVITY_FIELDS = (
    Field("clicks", T.INT64),
    Field("score", T.FLOAT32),
    Field("last_seen", T.TIMESTAMP),
    Field("favourite", T.STRING),
)
activity = FeatureView(
    "activity",
    (learner,),
    ACTIVITY_FIELDS,
    ParquetSource("activity_files", "data/activity", "happened_at", "recorded_at"),
    ttl=timedelta(days=30),
)
attempts = FeatureView(
    "attempts",
    (learner, skill),
    (Field("count", T.INT64), Field("correct", T.FLOAT64)),
    PushSource("attempt_stream", ParquetSource("attempts_kept", "data/attempts", "happened_at")),
)
request = RequestSource("request", (Field("days_left", T.INT64),))


@on_demand_feature_view(sources=(activity[["clicks"]], request), schema=(Field("pace", T.FLOAT64),))
def pace(columns: Any) -> dict[str, Any]:
    """Clicks for each day that is left."""
    import pyarrow.compute as pc

    clicks = columns["clicks"].cast(pa.float64())
    return {"pace": pc.divide(clicks, columns["days_left"].cast(pa.float64()))}


service = FeatureService("tutor", (attempts, activity[["score", "clicks"]]))
