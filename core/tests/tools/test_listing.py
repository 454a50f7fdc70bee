"""Lists of plugins and devices; drivers that cannot be used are reported beside the others."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


def test_target_backends(thalweg, plugins):
    plugins("doubling_plugin")
    for spelling in ("--list-target-backends", "--list_target_backends"):
        outcome = thalweg("compile", spelling)
        assert outcome.out == "Registered target backends:\n  doubling\n"


def test_drivers(thalweg, plugins):
    plugins("paper_drivers")
    lines = thalweg("run", "--list-drivers").out.splitlines()
    assert lines[0].startswith("# Registered HAL drivers")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["absent", "paper", "torn", "wet"]


def test_devices_one_uri_a_line(thalweg, plugins):
    plugins("paper_drivers")
    outcome = thalweg("run", "--list-devices=paper")
    assert (outcome.status, outcome.out, outcome.err) == (0, "paper://A4\npaper://B%205\n", "")


def test_devices_of_all_drivers_go_on_after_those_that_fail(thalweg, plugins):
    plugins("paper_drivers")
    outcome = thalweg("run", "--list_devices")
    assert (outcome.status, outcome.out) == (0, "paper://A4\npaper://B%205\n")
    absent, torn, wet = outcome.err.splitlines()
    assert absent.startswith("thalweg: warning: HAL driver 'absent'")
    assert absent.endswith("is not available: no pencil; apt install pencil")
    assert torn.endswith("failed to start: RuntimeError: torn in two")
    assert wet.endswith("failed to list its devices: ZeroDivisionError: division by zero")


@pytest.mark.parametrize(
    "driver, reason", [("absent", "no pencil"), ("torn", "torn in two"), ("papr", "'paper'?")]
)
def test_devices_of_one_driver_that_fails(thalweg, plugins, driver, reason):
    plugins("paper_drivers")
    outcome = thalweg("run", f"--list-devices={driver}")
    assert (outcome.status, outcome.out) == (1, "")
    assert reason in outcome.err


def test_device_details(thalweg, plugins):
    plugins("paper_drivers")
    outcome = thalweg("run", "--dump-devices")
    assert (outcome.status, outcome.err) == (0, "")
    assert "# --device=paper://B%205\n#   another sheet\n" in outcome.out
    assert "- device_id: 1\n- format: B 5\n- colours: black, white\n" in outcome.out
    assert "not usable: HAL driver 'absent'" in outcome.out
    assert "failed to start: RuntimeError: torn in two" in outcome.out
    assert "# Devices of HAL driver 'wet'" in outcome.out


def test_plugins_as_a_table(thalweg, plugins):
    plugins("paper_drivers", "doubling_plugin")
    outcome = thalweg("plugins")
    lines = outcome.out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "DISTRIBUTION", "VERSION", "API", "STATE"]
    (absent,) = [line for line in lines if line.startswith("absent")]
    assert absent.endswith("not available: no pencil; apt install pencil")
    assert [line.split()[0] for line in lines[1:]] == [
        "doubling",
        "absent",
        "paper",
        "torn",
        "wet",
        "doubling",
    ]


def test_plugins_as_json(thalweg, plugins):
    plugins("paper_drivers")
    records = {record["name"]: record for record in json.loads(thalweg("plugins", "--json").out)}
    assert records["paper"] == {
        "name": "paper",
        "kind": "HAL driver",
        "group": "thalweg.hal_drivers",
        "distribution": "",
        "version": "",
        "module": "paper_drivers",
        "api": "1.0",
        "summary": "Paper",
        "available": True,
        "reason": "",
    }
    assert records["absent"]["available"] is False


class TestImports:
    """Listing names imports no plugin and nothing slow, as ``python -X importtime`` shows."""

    forbidden = ("numpy", "xdsl", "rich", "ml_dtypes", "llvmlite", "onnx", "thalweg_", "trap_plugin")

    def imported(self, tmp_path, *command: str) -> tuple[str, list[str]]:
        (tmp_path / "trap_plugin.py").write_text("raise SystemExit('a plugin was imported')")
        info = tmp_path / "trap-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trap\nVersion: 1.0\nSummary: A trap\n")
        (info / "entry_points.txt").write_text(
            "[thalweg.target_backends]\ntrap = trap_plugin\n[thalweg.hal_drivers]\ntrap = trap_plugin\n"
        )
        environment = {key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")}
        environment["PYTHONPATH"] = str(tmp_path)
        done = subprocess.run(
            [sys.executable, "-X", "importtime", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
        return done.stdout, [line.rpartition("|")[2].strip() for line in lines]

    def assert_light(self, modules: list[str]) -> None:
        assert "thalweg.plugin.registry" in modules
        assert [name for name in modules if name.startswith(self.forbidden)] == []

    def test_target_backends(self, tmp_path):
        out, modules = self.imported(tmp_path, "-m", "thalweg", "compile", "--list-target-backends")
        assert "\n  trap\n" in out
        self.assert_light(modules)

    def test_drivers(self, tmp_path):
        out, modules = self.imported(tmp_path, "-m", "thalweg", "run", "--list-drivers")
        assert " trap: A trap (trap 1.0)\n" in out
        self.assert_light(modules)

    def test_python_api(self, tmp_path):
        code = "import thalweg; print(thalweg.query_available_targets(), thalweg.query_available_drivers())"
        out, modules = self.imported(tmp_path, "-c", code)
        assert out.count("'trap'") == 2
        self.assert_light(modules)
