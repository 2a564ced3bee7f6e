"""Hands LearnLoop's plugin to Airflow, which reads every file of this folder."""

from learnloop.airflow.plugin import LearnLoopPlugin

__all__ = ["LearnLoopPlugin"]
