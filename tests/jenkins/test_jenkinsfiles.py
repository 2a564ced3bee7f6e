"""The Jenkinsfiles, the jobs and the controller's configuration agree with each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from pipelines.learner_outcome.features import FEATURES
from tests.jenkins.jenkins import JENKINS, ROOT, Agent, groovy

pytestmark = pytest.mark.xdist_group("delivery")

JENKINSFILES = {path.name.removesuffix(".Jenkinsfile") for path in JENKINS.glob("*.Jenkinsfile")}
CONFIGURATION: dict[str, Any] = yaml.safe_load((JENKINS / "casc.yaml").read_text())
PLUGINS = dict(
    line.split(":")
    for line in (JENKINS / "plugins.txt").read_text().splitlines()
    if not line.startswith("#")
)
NEEDED = {
    "timestamps": "timestamper",
    "junit": "junit",
    "withCredentials": "credentials-binding",
    "credentials": "credentials-binding",
    "usernamePassword": "credentials-binding",
    "checkout": "git",
}
"""The plugin that a word needs, if that is not the pipeline's own aggregate or Jenkins itself."""

OWN = {  # of the aggregate or of Jenkins
    *("agent", "archiveArtifacts", "buildDiscarder", "buildingTag", "choice", "echo"),
    *("disableConcurrentBuilds", "environment", "failFast", "input", "node", "options"),
    *("parallel", "parameters", "post", "sh", "stage", "stages", "steps"),
    *("string", "timeout", "when"),
}


GIVEN = (
    "PACKAGE_REPOSITORY_USERNAME",
    "PACKAGE_REPOSITORY_PASSWORD",
    "LEDGER",
    "MLFLOW",
    "SERVING_TOKEN",
)
"""What ``jobs.groovy`` is given beside the repository."""


@dataclass(frozen=True)
class Job:
    """What ``jobs.groovy`` says about a job or a folder.

    Args:
        lines: Its words, each with its text.
        credentials: What it keeps, by id: the secret.
    """

    lines: list[str]
    credentials: dict[str, str]

    def said(self, *words: str) -> list[str]:
        """The lines that begin with one of these words."""
        return [line for line in self.lines if line.split(" ")[0] in words]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Job]:
    """What ``jobs.groovy`` tells Job DSL, run by Groovy; secrets are their variables' names."""
    script = tmp_path_factory.mktemp("jobs") / "record.groovy"
    script.write_text(
        """
        import groovy.json.JsonOutput
        import groovy.xml.XmlUtil

        class Recorder {
            Map job
            def methodMissing(String word, arguments) {
                def text = arguments.find { it instanceof CharSequence }
                job.lines << (text == null ? word : "$word $text" as String)
                arguments.findAll { it instanceof Closure }.each {
                    if (word == 'configure') {
                        it(job.written)
                        return
                    }
                    it.delegate = this
                    it.resolveStrategy = Closure.DELEGATE_FIRST
                    it()
                }
            }
        }
        def binding = new Binding(args.drop(1).collectEntries { [it, it] })
        def secret = [fromString: { [encryptedValue: "sealed $it" as String] }]
        binding.setVariable('hudson', [util: [Secret: secret]])
        def jobs = []
        def script = new GroovyShell(binding).parse(new File(args[0]))
        script.metaClass.methodMissing = { String word, said ->
            def written = new XmlParser().parseText('<folder><properties/></folder>')
            def job = [name: said[0] as String, lines: [], written: written]
            jobs << job
            new Recorder(job: job).methodMissing(word, said)
        }
        script.run()
        jobs.each { it.written = XmlUtil.serialize(it.written) }
        println JsonOutput.toJson(jobs)
        """
    )
    done = subprocess.run(
        groovy("groovy.ui.GroovyMain", script, JENKINS / "jobs.groovy", "REPOSITORY", *GIVEN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = {}
    for job in json.loads(done.stdout):
        kept = ElementTree.fromstring(job["written"].partition("?>")[2]).iterfind(
            "properties/com.cloudbees.hudson.plugins.folder.properties"
            ".FolderCredentialsProvider_-FolderCredentialsProperty/domainCredentialsMap"
            "/entry/java.util.concurrent.CopyOnWriteArrayList/*"
        )
        secrets = {
            one.findtext("id", ""): one.findtext("secret") or one.findtext("password", "")
            for one in kept
        }
        made[job["name"]] = Job(job["lines"], secrets)
    return made


def text(job: str) -> str:
    return (JENKINS / f"{job}.Jenkinsfile").read_text()


def test_every_file_is_compiled_by_the_groovy_of_jenkins(tmp_path: Path) -> None:
    files = [JENKINS / "jobs.groovy", *sorted(JENKINS.glob("*.Jenkinsfile"))]
    compiler = groovy("org.codehaus.groovy.tools.FileSystemCompiler", "-d", tmp_path)
    done = subprocess.run(
        [*compiler, *map(str, files)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    made = {path.name for path in tmp_path.glob("*.class")}
    assert made >= {"ci.class", "promote.class", "deploy.class", "jobs.class"}
    broken = tmp_path / "broken.Jenkinsfile"
    broken.write_text(text("ci").replace("stages {", "stages"))
    done = subprocess.run([*compiler, str(broken)], capture_output=True, text=True, check=False)
    assert done.returncode == 1


def test_logic_is_in_commands_and_nothing_is_pasted_into_a_shell() -> None:
    for job in JENKINSFILES:
        for line in text(job).splitlines():
            assert not re.search(r"(?<![\w.])sh[( ]+(script: *)?\"", line), (
                f"{job}: a value would become code"
            )
            assert not re.search(r"\b(if|for|while|def|try)\b *[({]", line), f"{job}: {line}"


def test_steps_are_programs_that_exist() -> None:
    named = {
        step for job in JENKINSFILES for step in re.findall(r"jenkins/steps/\S+\.sh", text(job))
    }
    programs = sorted(JENKINS.glob("steps/*.sh"))
    assert {str(path.relative_to(ROOT)) for path in programs} == named
    called = "".join(path.read_text() for path in programs)
    for path in JENKINS.glob("steps/*.py"):
        assert f"python jenkins/steps/{path.name} " in called
    for step in named:
        assert (ROOT / step).stat().st_mode & 0o111, step
        checked = subprocess.run(["sh", "-n", str(ROOT / step)], check=False)
        assert checked.returncode == 0, step


def test_credentials_are_those_that_are_configured(jobs: dict[str, Job]) -> None:
    """And each job finds those that its Jenkinsfile names, which is the point of the folders."""
    (domain,) = CONFIGURATION["credentials"]["system"]["domainCredentials"]
    (everywhere,) = [next(iter(one.values())) for one in domain["credentials"]]
    assert (everywhere["id"], everywhere["password"]) == ("repository", "${REPOSITORY_PASSWORD}")
    used = {
        job: set(re.findall(r"credentials(?:Id)?[:(] ?'([\w-]+)'", text(job)))
        for job in JENKINSFILES
    }
    found = {name: set(job.credentials) for name, job in jobs.items()}
    assert found["learnloop"] == set(), "a branch's Jenkinsfile is anybody's"
    assert found["packages"] == used["ci"] == {"package-repository"}
    assert found["release"] == used["promote"] | used["deploy"]
    assert found["release"] == {"learnloop-ledger", "learnloop-mlflow", "learnloop-serving-token"}
    assert {name for name in jobs if "/" in name} == {"release/promote", "release/deploy"}
    given = CONFIGURATION["jobs"][0]["providedEnv"]
    for job in jobs.values():
        for secret in job.credentials.values():
            assert re.fullmatch(r"sealed [A-Z_]+", secret), "Jenkins encrypts what is kept"
            assert re.fullmatch(r"\$\{[A-Z_]+\}", given[secret.removeprefix("sealed ")])


def test_jobs_of_a_branch_are_not_those_of_a_tag(jobs: dict[str, Job]) -> None:
    assert jobs["learnloop"].said("gitBranchDiscovery", "gitTagDiscovery") == ["gitBranchDiscovery"]
    assert jobs["packages"].said("gitBranchDiscovery", "gitTagDiscovery") == ["gitTagDiscovery"]
    for name in ("release/promote", "release/deploy"):
        assert jobs[name].said("branch") == ["branch refs/heads/main"]


def test_agents_that_reach_something_take_the_jobs_of_release_alone(jobs: dict[str, Job]) -> None:
    branches = ["learnloop/main", "learnloop/release%2Fpromote", "packages/v0.2.0"]
    for one in CONFIGURATION["jenkins"]["nodes"]:
        agent = one["permanent"]
        properties = {
            name: value for each in agent["nodeProperties"] for name, value in each.items()
        }
        if agent["name"] == "build":
            assert set(properties) == {"envVars"}
            continue
        rule = properties["jobRestrictionProperty"]["jobRestriction"]["regexNameRestriction"]
        job = "promote" if agent["name"] == "release" else "deploy"
        assert f"{agent['labelString'].partition('-')[0]}" in text(job)
        # A stage waits in the queue under its job's name and its own.
        taken = [f"release/{job}", f"release/{job}/part of release » {job} #7"]
        asked = [*branches, *jobs, *taken, f"x/release/{job}", f"learnloop/a/part of release/{job}"]
        assert {name for name in asked if re.fullmatch(rule["regexExpression"], name)} == set(taken)


def test_every_environment_has_an_agent_and_a_state_of_its_own() -> None:
    (choices,) = re.findall(r"choices: \[(.*)\]", text("deploy"))
    environments = re.findall(r"'(\w+)'", choices)
    assert set(environments) == {path.name for path in ROOT.glob("terraform/environments/*")}
    backends = {
        agent["permanent"]["labelString"]: variable["value"]
        for agent in CONFIGURATION["jenkins"]["nodes"]
        for each in agent["permanent"]["nodeProperties"]
        for variable in each.get("envVars", {"env": []})["env"]
        if variable["key"] == "TF_CLI_ARGS_init"
    }
    assert backends == {
        f"terraform-{name}": f"${{{name.upper()}_TERRAFORM_BACKEND}}" for name in environments
    }


def test_nobody_is_let_in_by_default() -> None:
    jenkins = CONFIGURATION["jenkins"]
    assert jenkins["numExecutors"] == 0, "no build runs beside the controller's secrets"
    assert "anonymous" not in json.dumps(jenkins["authorizationStrategy"])
    assert "authenticated" not in json.dumps(jenkins["authorizationStrategy"])
    allowed = {
        entry["group"]["name"]: entry["group"]["permissions"]
        for entry in jenkins["authorizationStrategy"]["globalMatrix"]["entries"]
    }
    administer = [name for name, given in allowed.items() if "Overall/Administer" in given]
    assert administer == ["jenkins-administrators"]
    asked = set(re.findall(r"submitter '([\w-]+)'", "".join(map(text, JENKINSFILES))))
    assert asked <= set(allowed)
    assert asked == {"release-approvers"}


def test_labels_are_those_of_agents() -> None:
    agents = [one["permanent"] for one in CONFIGURATION["jenkins"]["nodes"]]
    labels = {label for one in agents for label in one["labelString"].split()}
    sources = "".join(map(text, JENKINSFILES))
    named = set(re.findall(r"(?:label |node\()['\"](.*?)['\"]", sources))
    environments = {path.name for path in ROOT.glob("terraform/environments/*")}
    of_environments = {f"terraform-{name}" for name in environments}
    assert labels == named - {"terraform-${params.ENVIRONMENT}"} | of_environments


def test_variables_of_the_configuration_are_told_in_the_guide() -> None:
    guide = (ROOT / "docs" / "delivery.md").read_text()
    for name in re.findall(r"\$\{([A-Z_]+)", json.dumps(CONFIGURATION)):
        assert f"`{name}`" in guide, name


def test_plugins_are_pinned_and_are_those_that_words_need() -> None:
    words = set()
    for job in JENKINSFILES:
        words |= set(re.findall(r"^ *(\w+)(?:\(| \{|:? '| \w+:)", text(job), re.MULTILINE))
        words |= set(re.findall(r"\b(credentials|usernamePassword)\(", text(job)))
    directives = {"pipeline", "label", "always", "unsuccessful", "message", "ok", "submitter"}
    directives |= {"description", "script"}
    directives |= {"submitterParameter", "credentialsId", "usernameVariable", "passwordVariable"}
    steps = words - directives
    assert steps - OWN - set(NEEDED) == set()
    needed = {NEEDED[word] for word in steps if word in NEEDED}
    kinds = {
        "ldap": "ldap",
        "globalMatrix": "matrix-auth",
        "jobRestrictionProperty": "job-restrictions",
    }
    configuration = (JENKINS / "casc.yaml").read_text()
    needed |= {plugin for word, plugin in kinds.items() if f"{word}:" in configuration}
    needed |= {
        "configuration-as-code",
        "workflow-aggregator",
        "job-dsl",
        "git",
        "plain-credentials",
    }
    assert set(PLUGINS) == needed
    assert all(re.fullmatch(r"[\w.]*\d[\w.]*", version) for version in PLUGINS.values())


def test_jobs_read_files_that_exist(jobs: dict[str, Job]) -> None:
    read = {name: job.said("scriptPath") for name, job in jobs.items()}
    assert read == {
        "learnloop": ["scriptPath jenkins/ci.Jenkinsfile"],
        "packages": ["scriptPath jenkins/ci.Jenkinsfile"],
        "release": [],
        "release/promote": ["scriptPath jenkins/promote.Jenkinsfile"],
        "release/deploy": ["scriptPath jenkins/deploy.Jenkinsfile"],
    }
    places = [line for job in jobs.values() for line in job.said("url", "remote")]
    assert [line.split(" ")[1] for line in places if " " in line] == ["REPOSITORY"] * 4
    assert (ROOT / "jenkins" / "jobs.groovy").is_file()
    assert "jenkins/jobs.groovy" in CONFIGURATION["jobs"][1]["file"]
    given = set(CONFIGURATION["jobs"][0]["providedEnv"])
    assert given == {"REPOSITORY", *GIVEN}


def test_rows_are_what_the_models_take() -> None:
    (row,) = json.loads((JENKINS / "rows" / "learner_outcome.json").read_text())
    assert tuple(row) == FEATURES
    assert all(isinstance(value, float) for value in row.values())
    (row,) = json.loads((JENKINS / "rows" / "knowledge_tracing.json").read_text())
    guide = (ROOT / "pipelines" / "knowledge_tracing" / "README.md").read_text()
    signature = guide.partition("## Signature of the exported model")[2].partition("\n- ")[0]
    assert list(row) == re.findall(r"^\| `(\w+)`", signature, re.MULTILINE)
    assert len(row["skills"]) == len(row["responses"])


@pytest.mark.parametrize(
    ("found", "written", "refusal"),
    [
        ("steps {", "stepps {", "'stepps' is no word of Stage."),
        ('agent { label "terraform-${params.ENVIRONMENT}" }', "agent none", "'sh' needs an agent."),
        ("TF_INPUT = '0'", "TF_INPUT = credentials('nobody')", "There is no credential 'nobody'."),
        ("choice(name: 'ENVIRONMENT'", "choice(name: 'PLACE'", "no parameter 'ENVIRONMENT'."),
    ],
)
def test_what_stands_in_for_jenkins_refuses_what_jenkins_does(
    found: str, written: str, refusal: str, tmp_path: Path
) -> None:
    agent = Agent(tmp_path / "workspace")
    file = tmp_path / "deploy.Jenkinsfile"
    assert found in text("deploy")
    file.write_text(text("deploy").replace(found, written))
    build = agent.start(file, {"ENVIRONMENT": "staging"})
    with pytest.raises(AssertionError, match="was not printed") as caught:
        build.wait_for("result: ")
    assert refusal in str(caught.value)


@pytest.mark.skipif(shutil.which("terraform") is None, reason="Terraform is not installed")
@pytest.mark.parametrize("answer", ["proceed", "abort"])
def test_the_plan_that_was_read_is_applied(answer: str, tmp_path: Path) -> None:
    """On an environment that has no cloud behind it."""
    agent = Agent(tmp_path, {"CHECKPOINT_DISABLE": "1"})
    folder = tmp_path / "terraform" / "environments" / "staging"
    folder.mkdir(parents=True)
    (folder / "main.tf").write_text('resource "terraform_data" "size" {\n  input = 3\n}\n')
    build = agent.start("deploy", {"ENVIRONMENT": "staging"})
    build.wait_for("input: Apply the plan above?")
    assert "agent: terraform-staging" in build.lines
    assert "Plan: 1 to add" in build.printed
    (folder / "main.tf").write_text('resource "terraform_data" "size" {\n  input = 9\n}\n')
    build.answer(f"{answer} grace")
    assert build.result == {"proceed": "SUCCESS", "abort": "ABORTED"}[answer], build.printed
    assert not (folder / "change.tfplan").exists()
    state = folder / "terraform.tfstate"
    made = json.loads(state.read_text())["resources"] if state.exists() else []
    inputs = [one["instances"][0]["attributes"]["input"]["value"] for one in made]
    assert inputs == ([3] if answer == "proceed" else [])
