"""The workflow for the repository's host runs what a developer runs."""

import importlib.util

import yaml
from indexrules import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"


def test_the_checks_and_the_tests_run_on_three_systems():
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    assert job["strategy"]["matrix"]["system"] == ["ubuntu-latest", "windows-latest", "macos-latest"]
    assert job["runs-on"] == "${{ matrix.system }}"
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-2:] == ["python run.py check", "python run.py test --hypothesis-profile=ci"]
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})]
    assert python == "3.12"


def test_the_libraries_are_those_that_the_commands_ask_for():
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    (job,) = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    (install,) = [step for step in job["steps"] if "apt-get" in step.get("run", "")]
    installed = install["run"].partition("--no-install-recommends ")[2].split()
    assert sorted(installed) == sorted([*run.LIBRARIES.values(), "libgl1-mesa-dri", "fonts-dejavu-core"])
