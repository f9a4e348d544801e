from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from perfkit.cases import wanted
from perfkit.reporting.page import health
from perfkit.reporting.page.gathering import Found
from tests.reporting.documents import cell, document

COMMAND = (
    "pytest -q --perfkit-device=gpu --perfkit-rounds=3 --perfkit-max-warmup=1 --perfkit-seed=4 "
    "--perfkit-matrix=llama2-7b --perfkit-matrix=tp2 benchmarks/test_generation.py (and 9 more)"
)


def found(*cells: Any, **more: Any) -> list[Found]:
    return [Found(Path("run.json"), document(*cells, **more))]


def test_the_command_has_the_options_that_were_recorded_and_one_case() -> None:
    name, body = cell()
    made = health.command_of(document((name, body), session={"command": COMMAND}), name)
    assert made == (
        "perfkit run --matrix llama2-7b --matrix tp2 --rounds 3 --max-warmup 1 --seed 4 "
        f"--device gpu --case {name}"
    )
    assert wanted(name, (name,))


def test_what_the_session_tells_goes_before_its_command() -> None:
    session = {"command": COMMAND, "matrices": ["mine.toml"], "rounds": 7, "seed": 0,
               "device": "cpu"}  # fmt: skip
    assert health.command_of(document(session=session), "x") == (
        "perfkit run --matrix mine.toml --rounds 7 --max-warmup 1 --seed 0 --device cpu --case x"
    )


def test_a_hostile_file_cannot_put_a_second_command_into_it() -> None:
    session = {"command": "pytest --perfkit-matrix=a;rm", "matrices": ["$(reboot)"]}
    words = shlex.split(health.command_of(document(session=session), "x; rm -rf ~ '"))
    assert words == ["perfkit", "run", "--matrix", "$(reboot)", "--case", "x; rm -rf ~ '"]


def test_health_tells_clocks_bits_tries_and_puts_trouble_first() -> None:
    good, slow, again = cell(batch=1), cell(batch=8, verdict="throttled"), cell(batch=16)
    good[1]["telemetry"] = {"sm_clock_mhz": [1700, 1800.0, 1980], "power_w": [300.4, 400, 650],
                            "temperature_c_max": 61, "throttle_bits": 4,
                            "cpu_wait_share": 0.031}  # fmt: skip
    slow[1]["telemetry"] = {"throttle_bits": 0x48}
    again[1].update(attempt=2, warmup={"rounds": 3, "steady": False, "cap": 3})
    table = health.health(found(good, slow, again))
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [row["verdict"] for row in rows] == ["throttled", "ok", "ok"]
    assert rows[0]["throttle bits"] == "hw_slowdown, hw_thermal_slowdown"
    assert (rows[1]["attempt"], rows[1]["warm-up"]) == ("2", "not steady: cap of 3 rounds hit")
    assert rows[2]["SM clock MHz"] == "1700 / 1800 / 1980"
    assert (rows[2]["throttle bits"], rows[2]["CPU wait %"]) == ("sw_power_cap", "3.1")
    assert rows[2]["hottest °C"] == "61"


def test_every_cell_that_is_not_ok_is_listed_with_its_reason() -> None:
    table = health.not_ok(found(cell(batch=1), cell(batch=8, verdict="oom")))
    assert [row[2:] for row in table.rows] == [("oom", "oom: made up for a test")]
