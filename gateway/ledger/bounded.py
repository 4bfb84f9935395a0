"""Keeps records within a frame: what a caller made too long is cut, what it cost never is."""

import msgspec

from gateway.domain.records import AttemptBegun, RequestRecord
from gateway.ledger.frames import MAX_PAYLOAD_BYTES, encode_payload

# What is set aside travels with the reason, in a frame of the same greatest size.
_MOST_BYTES = MAX_PAYLOAD_BYTES - 8_192
_TEXT_LENGTH = 2_000
"""Characters; no column keeps more of such a text."""
_MOST_WARNINGS = 50
_OMITTED: dict[str, object] = {"omitted": "the plan was too large to be kept"}


def encode_begun(begun: AttemptBegun) -> bytes:
    """The payload, small enough for a frame."""
    payload = encode_payload(begun)
    if len(payload) <= _MOST_BYTES:
        return payload
    return encode_payload(
        msgspec.structs.replace(begun, requested_model=begun.requested_model[:_TEXT_LENGTH])
    )


def encode_record(record: RequestRecord) -> bytes:
    """The payload, small enough for a frame."""
    payload = encode_payload(record)
    if len(payload) <= _MOST_BYTES:
        return payload
    return encode_payload(
        msgspec.structs.replace(
            record,
            requested_model=record.requested_model[:_TEXT_LENGTH],
            requested_provider=_cut(record.requested_provider),
            user=_cut(record.user),
            session_id=_cut(record.session_id),
            warnings=tuple(text[:_TEXT_LENGTH] for text in record.warnings[:_MOST_WARNINGS]),
            plan=_OMITTED,
        )
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:_TEXT_LENGTH]
