"""What consumers of the served models import; it never imports TensorFlow."""

from serving.client.breaker import CircuitCounts, CircuitSettings, CircuitState
from serving.client.canary import Canary
from serving.client.clients import AsyncPredictionClient, PredictionClient
from serving.client.endpoint import Security
from serving.client.errors import PredictionError
from serving.client.question import Classified, Prediction
from serving.client.retries import Retries
from serving.client.subject import pseudonym

__all__ = [
    "AsyncPredictionClient",
    "Canary",
    "CircuitCounts",
    "CircuitSettings",
    "CircuitState",
    "Classified",
    "Prediction",
    "PredictionClient",
    "PredictionError",
    "Retries",
    "Security",
    "pseudonym",
]
