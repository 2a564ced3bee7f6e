"""LearnLoop: personalised-learning models, kept good while the platform runs.

An author imports from three modules::

    from learnloop.artifacts import Examples, Model
    from learnloop.component import Input, Output, component
    from learnloop.pipeline import pipeline

Nothing here imports a machine-learning library; components do that inside their functions.
"""

__version__ = "0.1.0"
