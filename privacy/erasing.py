"""Erasing a person everywhere that the framework put them.

The person is listed first, so that nothing that is read from then on brings them back. Then come
features, events and predictions, each where it lies, then artifacts with all that was made of them,
the marks of models, the requests to train without the person, and last the receipt. Every part can
be done again, and does then what is left: whoever is killed erases again.
"""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from feature_store.erased import learner_columns, list_as_erased
from feature_store.erasure import Erased, erase_features
from feature_store.store import FeatureStore
from learnloop.errors import LearnLoopError, UsageError
from learnloop.holding import hold
from learnloop.ledger import Ledger, open_ledger
from learnloop.ledger.erasing import executing, marked_by
from learnloop.ledger.journal import JournalEntry
from learnloop.living import abandon_dead_runs
from learnloop.settings import Settings
from learnloop.store.local import explain_disk_faults
from messaging.events.erasing import erase_events
from messaging.events.keys import open_learner_keys
from privacy.artifacts import (
    ArtifactPlaces,
    open_artifacts,
    remove_leftovers,
    sweep_artifacts,
    tell_other_stores,
)
from privacy.features import open_features
from privacy.holds import refuse_if_held
from privacy.models import ask_for_retraining, mark_versions
from privacy.person import Person, check_reason, open_person
from privacy.receipts import Receipt, receipt_file, write_receipt
from privacy.texts import files_naming
from serving.prediction_log.erasing import erase_predictions

POLL_SECONDS = 0.2


def erase_learner(
    settings: Settings, learner: str, reason: str, *, wait_seconds: float = 600.0
) -> Receipt:
    """Erase a person.

    Args:
        settings: Where everything is.
        learner: Their identifier, as the platform knows it.
        reason: Why; kept in the receipt, so it must not name the person.
        wait_seconds: How long to wait for steps that may have read the person's rows already.

    Returns:
        What was removed, and what was not reached.

    Raises:
        UsageError: There are no keys for pseudonyms, the reason names the person, or they are held.
        LearnLoopError: A place does not answer, or a step goes on too long: erase again.
    """
    began = time.time()
    person = open_person(learner)
    check_reason(reason, person.learner)
    ledger = open_ledger(settings.ledger_url)
    refuse_if_held(ledger, person)
    folder = settings.home_folder / "erasures"
    with contextlib.ExitStack() as stack:
        with explain_disk_faults(folder):
            is_held = stack.enter_context(hold(folder))
        if not is_held:
            raise UsageError("Somebody else is erasing.", where=folder, next="erase again later")
        features = open_features(settings)
        erasure = list_as_erased(ledger, person.keyring, person.learner, getpass.getuser())
        erased = list(_erase_rows(settings, features, person))
        places = open_artifacts(settings, ledger)
        erased += _erase_artifacts(places, erasure, person, time.monotonic() + wait_seconds)
        erased += tell_other_stores(places)
        remove_leftovers(places, began)
        marked = marked_by(ledger, erasure)
        models = mark_versions(places, marked, erasure)
        receipt = Receipt(
            erasure=erasure.id,
            at=datetime.now(UTC),
            reason=reason,
            places=tuple(erased),
            models=tuple(models),
            retraining=tuple(ask_for_retraining(ledger, marked, erasure)),
            left=(
                *(f"{one.place}: {one.left}" for one in erased if one.left),
                *files_naming(settings, person.learner),
            ),
            file=receipt_file(folder),
        )
        write_receipt(receipt)
    return receipt


def _erase_rows(settings: Settings, features: FeatureStore, person: Person) -> Iterator[Erased]:
    """Remove rows from features, events and predictions, which no run is made of."""
    yield from erase_features(features, learner_columns(settings), person.learner)
    keys = open_learner_keys(settings)
    if keys is not None:
        yield Erased("key of the learner's events", int(keys.destroy(person.learner)))
    yield Erased("events", erase_events(settings.events_folder, person.learner))
    yield Erased("predictions", erase_predictions(settings.predictions_folder, person.pseudonyms))


def _erase_artifacts(
    places: ArtifactPlaces, erasure: JournalEntry, person: Person, deadline: float
) -> Iterator[Erased]:
    """Sweep until nothing is found and no step is at work that could have read the person's rows.

    What a sweep has removed no step can read that begins after it. So those that were being
    executed when it ended are waited for, and what they made is found by the next sweep.
    """
    is_first = True
    while True:
        erased = sweep_artifacts(places, erasure, person.learner)
        yield from erased
        if not erased and not is_first:
            return
        is_first = False
        _wait_for_steps(places.ledger, places.settings, deadline)


def _wait_for_steps(ledger: Ledger, settings: Settings, deadline: float) -> None:
    abandon_dead_runs(ledger, settings)
    steps = executing(ledger)
    while steps:
        if time.monotonic() > deadline:
            raise LearnLoopError(
                "Steps go on that may have read the person's rows; all else is erased.",
                where=", ".join(sorted(steps.values())),
                next="learnloop cancel RUN, or wait for their end; then erase again",
            )
        time.sleep(POLL_SECONDS)
        abandon_dead_runs(ledger, settings)
        steps = {one: name for one, name in executing(ledger).items() if one in steps}
