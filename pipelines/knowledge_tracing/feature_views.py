"""What a learner has practised, as the feature store has it.

A row is the history at one moment. Training makes one for each window it cuts, the pipeline
``practice_histories`` one for each learner of the platform.
"""

from __future__ import annotations

from feature_store.definitions import FeatureService, FeatureView
from feature_store.fields import Entity, FeatureType, Field, Sensitivity
from feature_store.sources import ParquetSource, PushSource
from pipelines.knowledge_tracing.columns import AS_OF, LEARNER, VIEW

learner = Entity("learner", (Field(LEARNER, FeatureType.STRING, Sensitivity.IDENTIFIER),))

practice_history = FeatureView(
    VIEW,
    entities=(learner,),
    schema=(
        Field(
            "skills",
            FeatureType.STRING_LIST,
            Sensitivity.BEHAVIOURAL,
            "The skills asked, in order of time.",
        ),
        Field(
            "responses",
            FeatureType.INT64_LIST,
            Sensitivity.BEHAVIOURAL,
            "1 for each correct response to them, else 0.",
        ),
    ),
    source=PushSource(
        "practice_histories",
        ParquetSource("practice_histories_kept", "features/practice_history", AS_OF),
    ),
    owner="teaching",
    description="The last responses of a learner.",
    purposes=("learner_support",),
)

knowledge_tracing = FeatureService(
    "knowledge_tracing",
    (practice_history,),
    purpose="learner_support",
    owner="teaching",
    description="What the model knowledge_tracing is told, beside the skill asked next.",
)
