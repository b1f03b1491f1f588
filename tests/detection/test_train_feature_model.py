"""The training command refuses what cannot be trained before it simulates anything."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.parametrize("option", ["--pairs", "--held-out"])
def test_without_pairs_there_is_no_training(option: str, tmp_path) -> None:
    output = tmp_path / "model.json"
    with pytest.raises(CommandError, match=option):
        call_command("train_feature_model", option, "0", "--output", str(output))
    assert not output.exists()
