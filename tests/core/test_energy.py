"""Energy: measured where there is a meter, estimated where a power is stated, else not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid_site.monitoring.energy import Energy, EnergyMeter


def set_counter(folder: Path, name: str, value: int) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{value}\n")
    (folder / name / "max_energy_range_uj").write_text("9000000\n")


def test_processors_are_added_and_their_parts_are_not_counted_twice(tmp_path: Path) -> None:
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        set_counter(tmp_path, name, 1_000_000)
    meter = EnergyMeter(powercap=tmp_path)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        set_counter(tmp_path, name, 3_500_000)
    assert meter.take() == Energy(5.0, "measured")
    assert meter.take() == Energy(0.0, "measured")


def test_a_counter_that_begins_anew_is_carried_on(tmp_path: Path) -> None:
    set_counter(tmp_path, "intel-rapl:0", 8_000_000)
    meter = EnergyMeter(powercap=tmp_path)
    set_counter(tmp_path, "intel-rapl:0", 500_000)
    assert meter.take() == Energy(1.5, "measured")


def test_without_a_meter_it_is_estimated_by_a_stated_power_or_not_known(tmp_path: Path) -> None:
    assert EnergyMeter(powercap=tmp_path).take() == Energy(None, "")
    meter = EnergyMeter(powercap=tmp_path, watts_per_core=10.0)
    assert sum(i * i for i in range(300_000)) > 0
    used = meter.take()
    assert used.source == "estimated"
    # the loop takes between no time and ten seconds of one core
    assert used.joules == pytest.approx(50.0, abs=50.0)
