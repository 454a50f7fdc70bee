"""``thalweg-conformance`` as it is called: what it prints, writes and exits with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from thalweg_conformance import Report
from thalweg_conformance.command_line import main


@pytest.mark.parametrize("driver", ["local-sync", "local-task"])
def test_the_local_drivers_pass(driver: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    status = main(["run", "--driver", driver, "--level", "standard", "--report", str(tmp_path)])
    said = capsys.readouterr().out
    assert status == 0, said
    reports = [Report.read(path) for path in sorted(tmp_path.rglob("report.json"))]
    assert len(reports) == (1 if driver == "local-sync" else 2)
    for report in reports:
        assert f"{report.device['uri']}: level standard, seed 0" in said
        assert set(report.totals) == {"supported", "not-run"}
        assert report.plugin["distribution"] == "thalweg-driver-local"
        assert report.device["runs_on"] == "hardware"
        assert report.kernels == "thalweg-vmvx-1, shipped with the suite"


def test_a_target_backend_makes_the_kernels(tmp_path: Path):
    arguments = [
        "run",
        "--driver",
        "local-sync",
        "--target",
        "llvm-cpu",
        "-k",
        "HAL-DSP",
        "--report",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    report = Report.read(tmp_path)
    assert report.target == "llvm-cpu"
    assert report.kernels.startswith("thalweg-elf-") and report.kernels.endswith(
        "by target backend 'llvm-cpu'"
    )


def test_one_device_in_this_process(capsys: pytest.CaptureFixture[str]):
    arguments = [
        "run",
        "--driver",
        "local-task",
        "--device",
        "local-task://?threads=3",
        "-k",
        "HAL-SEM-2",
        "-v",
    ]
    assert main([*arguments, "--in-process"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "local-task://?threads=3: level core, seed 0"
    assert lines[1:3] == [
        "  supported        HAL-SEM-2 semaphore/advances",
        "  supported        HAL-DRV-11 driver/ends",
    ]
    assert lines[3].startswith("local-task://?threads=3 (hardware): 2 supported, ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--driver", "local-tusk"], "no HAL driver named 'local-tusk'; installed: "),
        (["--driver", "local-sync", "--target", "none"], "no target backend named 'none'; installed: "),
        (
            ["--driver", "local-sync", "--device", "local-task://"],
            "device 'local-task://' is of driver 'local-task', not of 'local-sync'",
        ),
        (["--driver", "local-sync", "-k", "tides"], "no test of level core matches 'tides'"),
        (["--driver", "local-sync", "-k", "HAL-SEM-2", "--report", "/dev/null/x"], "cannot write /dev/null"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["run", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"thalweg-conformance: error: {message}")
    assert said.count("\n") == 1


def test_a_device_that_is_not_there_is_said_once(capsys: pytest.CaptureFixture[str]):
    assert main(["run", "--driver", "local-sync", "--device", "local-sync://attic", "-k", "HAL-SEM"]) == 3
    said = capsys.readouterr().out
    assert said.count("local-sync has no device 'attic'") == 1


def test_the_matrix_is_made_from_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", "--driver", "local-sync", "-k", "HAL-SEM", "--report", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["matrix", str(tmp_path)]) == 0
    assert "| semaphore | 14 of 14 |" in capsys.readouterr().out
    assert main(["matrix", str(tmp_path / "none")]) == 2
    assert "cannot read report" in capsys.readouterr().err


def test_pytest_pointed_at_the_rules_says_how_they_are_run():
    rules = Path(__file__).parents[1] / "src" / "thalweg_conformance" / "suite" / "test_queue.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(rules)], capture_output=True, text=True, cwd=rules.parent
    )
    assert done.returncode == 4
    assert "thalweg-conformance run --driver NAME" in done.stderr
