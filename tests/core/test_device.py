"""The device and the precision are what was asked for, or an error that says what can be."""

import pytest
import torch

from ensue.core.device import autocast, bf16_is_faster, choose_device, choose_precision

CPU = torch.device("cpu")


def test_auto_takes_the_gpu_where_there_is_one():
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="there is no device 'gpu'; use auto, cpu or cuda"):
        choose_device("gpu")


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU here; use --device cpu"):
        choose_device("cuda")


def test_a_precision_that_was_asked_for_is_kept_and_auto_follows_the_measurement(monkeypatch):
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"
    for faster in (True, False):
        monkeypatch.setattr("ensue.core.device.bf16_is_faster", lambda faster=faster: faster)
        assert choose_precision("auto", CPU) == ("bf16" if faster else "fp32")


def test_the_measurement_is_made_once():
    assert bf16_is_faster() is bf16_is_faster()
    assert bf16_is_faster.cache_info().misses == 1


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_sets_the_dtype_of_products(precision, dtype):
    layer = torch.nn.Linear(4, 4)
    with autocast(CPU, precision):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer(torch.ones(1, 4)).dtype == torch.float32
