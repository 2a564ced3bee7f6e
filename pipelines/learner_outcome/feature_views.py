"""What is known of an enrolment at the end of a day, as the feature store has it.

A row is computed for everybody on the roll (:mod:`.features`), by training for days of the past and
by the pipeline ``enrolment_days`` for today. It holds until a later day's row replaces it.
"""

from __future__ import annotations

from feature_store.definitions import FeatureService, FeatureView
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.sources import ParquetSource, PushSource
from pipelines.learner_outcome.features import AS_OF, FEATURES, LEARNER, VIEW

enrolment = Entity(
    "enrolment",
    (
        Field("code_module", FeatureType.STRING),
        Field("code_presentation", FeatureType.STRING),
        Field(LEARNER, FeatureType.INT64, Sensitivity.IDENTIFIER),
    ),
    "A learner on a presentation of a module.",
)

enrolment_day = FeatureView(
    VIEW,
    entities=(enrolment,),
    schema=tuple(Field(name, FeatureType.FLOAT32, Sensitivity.BEHAVIOURAL) for name in FEATURES),
    source=PushSource(
        "enrolment_days", ParquetSource("enrolment_days_kept", "features/enrolment_day", AS_OF)
    ),
    owner="student-support",
    description="Marks, submissions, clicks and standing of an enrolment at the end of a day.",
    purposes=("learner_support",),
)

learner_outcome = FeatureService(
    "learner_outcome",
    (enrolment_day,),
    purpose="learner_support",
    owner="student-support",
    description="What the model learner_outcome is told.",
)
