"""``promote.Jenkinsfile``, run for real: on published models, a server, and callers who ask it."""

from __future__ import annotations

import pytest

from tests.jenkins.conftest import Site

pytestmark = [pytest.mark.xdist_group("delivery"), pytest.mark.timeout(300)]

CAUSE = "Started by user ada"
WHY = f"{CAUSE}, https://jenkins.test/job/promote/7/"
HARMLESS, HARMFUL = (1.0, 2.0), (1.0, -1.0)


def test_a_good_challenger_ends_in_service(site: Site) -> None:
    site.publish("good", 0.0, 0.05)
    with site.callers("good", HARMLESS) as wait_for:
        wait_for(300)  # both versions have become as fast as they will be
        build = site.agent.start("promote", {"MODEL": "good", "MINUTES": "0"}, cause=CAUSE)
        build.wait_for("input: ")
        wait_for(300)
        build.answer("proceed grace")
        assert build.result == "SUCCESS", build.printed
    assert sorted(build.stages) == sorted(
        ["Check", "Try out", "Decide", "Watch on", "Approve and promote", "Verify"]
    )
    assert "Version 2 was blessed with an AUC of 0.813 on 4,000 rows." in build.lines
    assert "good: version 1 in service, version 2 on trial with weight 0.1" in build.lines
    answer = '{"model": "good", "version": 2, "label": "stable", "outputs": {"y": [3.5]}}'
    assert answer in build.lines
    assert (site.state("good").stable, site.state("good").canary) == (2, None)
    assert site.champion("good") == "2"
    assert site.weights("good") == [[9000, 1000], [10000, 0]]
    assert site.journal("good")[-2:] == [("canary", WHY), ("promote", f"{WHY}, approved by grace")]


def test_harm_ends_the_trial_and_no_more(site: Site) -> None:
    site.publish("harmful", 0.0, 0.0, 0.05, brittle=3)
    with site.callers("harmful", HARMFUL):
        build = site.agent.start("promote", {"MODEL": "harmful", "MINUTES": "15"})
        assert build.result == "FAILURE"
    assert build.stages == ["Check", "Try out"]
    (refusal,) = [line for line in build.lines if line.startswith("Refused: ")]
    assert "of the canary's requests fail, 0.00% of stable's." in refusal
    state = site.state("harmful")
    assert (state.stable, state.canary, set(state.withdrawn)) == (2, None, {3})
    assert [move for move, _ in site.journal("harmful")[-2:]] == ["canary", "stop"]
    assert site.weights("harmful") == [[9000, 1000], [10000, 0]]


def test_harm_while_a_person_is_asked_ends_the_question(site: Site) -> None:
    site.publish("late", 0.0, 0.05, brittle=2)
    build = site.agent.start("promote", {"MODEL": "late", "MINUTES": "0"})
    build.wait_for("input: ")
    with site.callers("late", HARMFUL):
        assert build.result == "FAILURE", build.printed
    assert "branch Approve and promote: ended: another branch failed" in build.lines
    assert "Verify" not in build.stages
    state = site.state("late")
    assert (state.stable, state.canary, set(state.withdrawn)) == (1, None, {2})


def test_who_says_no_has_the_version_withdrawn(site: Site) -> None:
    site.publish("unwanted", 0.0, 0.05)
    parameters = {"MODEL": "unwanted", "VERSION": "2", "MINUTES": "0", "SHARE": "0.2"}
    build = site.agent.start("promote", parameters, cause=CAUSE)
    build.wait_for("input: ")
    build.answer("abort grace")
    assert build.result == "ABORTED"
    assert "grace said abort" in build.lines
    state = site.state("unwanted")
    assert (state.stable, state.canary) == (1, None)
    assert state.withdrawn == {2: f"{WHY}, which failed"}
    assert site.champion("unwanted") is None
    assert site.weights("unwanted") == [[8000, 2000], [10000, 0]]


def test_what_no_run_blessed_is_not_tried(site: Site) -> None:
    site.publish("unblessed", 0.0, 0.05, is_good=False)
    before = site.journal("unblessed")
    build = site.agent.start("promote", {"MODEL": "unblessed", "MINUTES": "0"})
    assert build.result == "FAILURE"
    assert build.stages == ["Check"]
    reason = "Version 2 is not blessed: The AUC is 0.612, at least 0.700 is wanted."
    assert f"Refused: {reason}" in build.lines
    assert "No version was moved." in build.lines
    assert site.journal("unblessed") == before


def test_a_promotion_that_servers_do_not_follow_is_taken_back(site: Site) -> None:
    site.publish("stuck", 0.0, 0.0)
    candidate = {"MODEL": "stuck", "CANDIDATE": "2", "WHY": WHY}
    answer = '{"model": "stuck", "version": 2, "label": "stable", "outputs": {"y": [3.5]}}\n'
    assert site.agent.type(["jenkins/steps/verify.sh"], candidate).stdout == answer

    def verify(version: str, server: str) -> str:
        asked = {**candidate, "CANDIDATE": version, "SERVING_GRPC": server}
        done = site.agent.type(["jenkins/steps/verify.sh", "1"], asked)
        assert done.returncode == 1
        return "".join(done.stderr.splitlines(keepends=True)[-4:])

    server, nobody = site.server.grpc_url, "grpc://127.0.0.1:1"
    refusal = (
        "Version {} of 'stuck' does not answer under the label stable.\n"
        "  where:    {}\n"
        "  received: {}\n"
        "  next:     learnloop serving status stuck\n"
    )
    assert verify("7", server) == refusal.format(7, server, answer.strip())
    assert verify("2", nobody) == refusal.format(2, nobody, "no answer")
    done = site.agent.type(["jenkins/steps/withdraw.sh"], candidate)
    assert done.stdout == "stuck: version 1 in service\n"
    assert site.weights("stuck") == [[10000, 0]]
    done = site.agent.type(["jenkins/steps/route.sh"], {**candidate, "GATEWAY": ""})
    assert (done.returncode, done.stdout) == (0, "")
    assert len(site.weights("stuck")) == 1, "there is no gateway"
    assert site.journal("stuck")[-1] == ("rollback", f"{WHY}, which failed")
