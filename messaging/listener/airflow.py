"""Making runs by Airflow's REST API.

The run's id comes from the leader's message id, so that asking twice makes one run: Airflow answers
409 to the second, and the run is looked up.

=====================  =======================================
Airflow answers        the run
=====================  =======================================
200                    is there
409                    is there, if looking it up finds it
400, 422               will never be: the parameters are wrong
401, 403               once more, with a new token
404                    has no DAG yet
anything else          later
=====================  =======================================
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from learnloop.errors import UsageError
from messaging.listener.target import Answer, Reply, cause_of
from messaging.records import Decision

if TYPE_CHECKING:
    import httpx

ADDRESS, USER, PASSWORD = (
    "LEARNLOOP_AIRFLOW",
    "LEARNLOOP_AIRFLOW_USER",
    "LEARNLOOP_AIRFLOW_PASSWORD",
)
TIMEOUT_SECONDS = 10.0
RENEWABLE = (401, 403)
"""An expired token gets the first; one of a secret that was changed since, the second."""

LONGEST_SAID = 500
LONGEST_NOTE = 1000
"""Characters that Airflow's database has room for."""


class AirflowTarget:
    """Makes runs by REST.

    Args:
        url: Airflow's address.
        user: Its user; "" where everybody is an administrator (``make airflow``).
        password: The user's.
    """

    def __init__(self, url: str, user: str = "", password: str = "") -> None:
        import httpx

        self._client = httpx.Client(
            base_url=url.rstrip("/"), timeout=TIMEOUT_SECONDS, trust_env=False
        )
        self._credentials = {"username": user, "password": password}
        self._token = ""

    def create(self, decision: Decision) -> Reply:
        """See :class:`~messaging.listener.target.Target`."""
        import httpx

        runs = f"/api/v2/dags/{quote(decision.pipeline, safe='')}/dagRuns"
        cause = cause_of(decision)
        body = {
            "dag_run_id": decision.run_id,
            "logical_date": None,
            "conf": {**decision.parameters, "cause": cause},
            "note": cause[:LONGEST_NOTE],
        }
        try:
            answer = self._ask("POST", runs, body)
            if answer.status_code == 409:
                found = self._ask("GET", f"{runs}/{quote(str(decision.run_id), safe='')}")
                if found.status_code == 200:
                    return Reply(Answer.started, "the run was there already")
        except httpx.HTTPError as fault:
            return Reply(Answer.unreachable, f"Airflow does not answer ({type(fault).__name__})")
        if answer.status_code == 200:
            return Reply(Answer.started)
        said = f"Airflow answered {answer.status_code}: {_detail(answer)}"
        if answer.status_code in (400, 422):
            return Reply(Answer.rejected, said)
        return Reply(Answer.unknown if answer.status_code == 404 else Answer.unavailable, said)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        if not self._token and (refused := self._renew()) is not None:
            return refused
        answer = self._send(method, path, body)
        if answer.status_code in RENEWABLE:
            if (refused := self._renew()) is not None:
                return refused
            answer = self._send(method, path, body)
        return answer

    def _send(self, method: str, path: str, body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        return self._client.request(method, path, json=body, headers=headers)

    def _renew(self) -> httpx.Response | None:
        """Get a token; what Airflow said if it gives none, which is never about the run."""
        import httpx

        self._token = ""
        answer = self._client.post("/auth/token", json=self._credentials)
        if answer.status_code != 201:
            return httpx.Response(503, json={"detail": f"no token ({answer.status_code})"})
        self._token = answer.json()["access_token"]
        return None


def airflow_target() -> AirflowTarget:
    """Make the target that the environment names.

    Raises:
        UsageError: It names none.
    """
    url = os.environ.get(ADDRESS, "")
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            "No Airflow is named.",
            where="the environment",
            expected=f"an http address in {ADDRESS}",
            received=repr(url.partition("://")[0][:10]) if url else "nothing",
            next=f"export {ADDRESS}=http://127.0.0.1:8080, or learnloop listen --target local",
        )
    return AirflowTarget(url, os.environ.get(USER, ""), os.environ.get(PASSWORD, ""))


def _detail(answer: httpx.Response) -> str:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    return str(detail)[:LONGEST_SAID]
