"""The program as a whole: exit statuses, logging, pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from thalweg.tools.arguments import comma_list, normalize_long_options
from thalweg.tools.main import COMMANDS


def test_version(thalweg):
    outcome = thalweg("--version")
    assert outcome.status == 0
    assert outcome.out.startswith("thalweg 0.")


def test_help_lists_the_commands(thalweg):
    out = thalweg("--help").out
    assert all(f"\n    {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(thalweg, command):
    outcome = thalweg(command, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"usage: thalweg {command} ")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            [],
            "a command is needed: compile, run, benchmark, compare, inspect, cache, opt, plugins, new"
            " (see thalweg --help)",
        ),
        (["comple"], "invalid choice: 'comple'"),
        (["plugins", "extra"], "unrecognized arguments: extra"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(thalweg, arguments, message):
    outcome = thalweg(*arguments)
    assert outcome.status == 2
    assert outcome.err.startswith("thalweg: error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_underscores_in_names_of_long_options_only():
    words = ["--a_b", "--c_d=e_f", "g_h", "-i_j", "--list_devices", "--", "--k_l"]
    assert normalize_long_options(words) == [
        "--a-b", "--c-d=e_f", "g_h", "-i_j", "--list-devices=", "--", "--k_l",
    ]  # fmt: skip


def test_comma_lists():
    assert comma_list(["a,b", " c ", "a", ""]) == ["a", "b", "c"]


def test_log_levels(thalweg, monkeypatch):
    monkeypatch.setenv("THALWEG_LOG", "loud")
    outcome = thalweg("plugins")
    assert (outcome.status, outcome.err) == (
        1,
        "thalweg: error: THALWEG_LOG has no level 'loud'; levels: debug, info, warning, error, critical\n",
    )


def test_a_malformed_environment_is_one_line(thalweg, monkeypatch):
    monkeypatch.setenv("THALWEG_PLUGINS_BLOCK", "driver:x")
    outcome = thalweg("run", "--list-drivers")
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "thalweg", "run", "--list-drivers"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
