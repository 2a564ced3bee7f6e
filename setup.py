"""The distribution ``learnloop``: the library packages, the command, and extras.

Direct dependencies are named in ``requirements.in``, a section per extra; their versions come from
``requirements.lock``, the one place that holds any.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "learnloop" / "__init__.py").read_text())[1]
LIBRARY_PACKAGES = (
    "learnloop",
    "components",
    "simulator",
    "messaging",
    "feature_store",
    "serving",
    "privacy",
)


def pinned_requirements() -> dict[str, list[str]]:
    """Read the direct dependencies, pinned, by section."""
    lock = (HERE / "requirements.lock").read_text()
    pins = dict(line.split("==") for line in lock.splitlines() if "==" in line)
    sections: dict[str, list[str]] = {}
    for line in (HERE / "requirements.in").read_text().splitlines():
        if section := re.match(r"# \[(\w+)\]", line):
            current = sections.setdefault(section[1], [])
        elif requirement := re.match(r"([\w.-]+)(\[[\w,]+\])?", line):
            name, extras = requirement[1], requirement[2] or ""
            current.append(f"{name}{extras}=={pins[name]}")
    return sections


requirements = pinned_requirements()
core = requirements.pop("core")
extras = {
    **requirements,
    "all": sorted(
        {
            requirement
            for section, pinned in requirements.items()
            if section != "dev"
            for requirement in pinned
        }
    ),
}

setup(
    name="learnloop",
    version=VERSION,
    description="Personalised-learning models, kept good while the platform runs.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.12",
    packages=[
        package for package in find_packages(HERE) if package.partition(".")[0] in LIBRARY_PACKAGES
    ],
    package_data={
        "learnloop": ["py.typed", "**/*.html", "**/*.css", "**/*.js", "**/*.txt", "**/*.cfg"],
        "messaging": ["schemas/**/*.json"],
        "feature_store": ["**/*.html", "**/*.css"],
    },
    include_package_data=True,
    install_requires=core,
    extras_require=extras,
    entry_points={
        "console_scripts": ["learnloop = learnloop.cli.main:main"],
        "learnloop.commands": [
            "erase = privacy.command:erase",
            "events = messaging.events.command:events_commands",
            "features = feature_store.command:features_commands",
            "hold = privacy.command:hold",
            "listen = messaging.listener.command:listen_command",
            "predict = serving.client.command:predict_command",
            "retrain = messaging.command:retrain_commands",
            "retention = privacy.command:retention",
            "serve = serving.server.command:serve_command",
            "serving = serving.command:serving_commands",
            "simulate = simulator.command:simulate_command",
        ],
        "learnloop.metrics": [
            "features = feature_store.freshness:describe_freshness",
            "serving = serving.rollout_metrics:describe_rollout",
        ],
        "learnloop.kept_runs": ["holds = privacy.retention:runs_of_held_people"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
