"""Meters are disjoint and add up."""

import msgspec

from pricing.usage import METERS, Usage


def test_prompt_counts_every_input_meter_once_and_completion_every_output_meter_once() -> None:
    usage = Usage(**{meter: 2**power for power, meter in enumerate(METERS)})
    outputs = {"output_tokens", "reasoning_tokens", "audio_output_tokens", "image_output_tokens"}
    neither = {"citation_tokens", "requests", "web_searches", "images"}
    sizes = {meter: 2**power for power, meter in enumerate(METERS)}

    assert usage.completion_tokens == sum(sizes[meter] for meter in outputs)
    assert usage.prompt_tokens == sum(sizes[m] for m in METERS if m not in outputs | neither)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_adding_usages_adds_every_meter() -> None:
    one = Usage(**{meter: number for number, meter in enumerate(METERS, start=1)})

    both = one + one

    assert both == Usage(**{meter: 2 * number for number, meter in enumerate(METERS, start=1)})


def test_usage_is_empty_until_something_was_metered() -> None:
    assert Usage().is_empty
    assert not Usage(requests=1).is_empty


def test_unused_meters_are_not_written() -> None:
    assert msgspec.json.encode(Usage(output_tokens=3)) == b'{"output_tokens":3}'
