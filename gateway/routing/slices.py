"""What kind of request it was, without a word of it: the keys by which decisions are compared."""

from hashlib import blake2b

from gateway.chat.request import ChatRequest
from gateway.routing.affinity import affinity_key, keyed_digest
from gateway.routing.plan import PlanInputs

_FORM_SIZE = 8
_MODALITIES = (
    "vision",
    "audio_input",
    "pdf_input",
    "video_input",
    "audio_output",
    "image_output",
)
"""From the lowest bit on."""


def slice_of(request: ChatRequest, inputs: PlanInputs) -> dict[str, object]:
    """Keyed hashes of what stays the same from request to request, and a few coarse numbers.

    ``system`` and ``tools`` are keyed by the installation and the caller's key, ``form`` (of the
    response format) is a plain hash; ``length`` is the bit length of the estimated prompt, so that
    11 stands for 1,024 to 2,047 tokens. What was not sent is left out.
    """
    body, caller, hash_key = request.body, inputs.caller, inputs.hash_key
    known: dict[str, object] = {"length": request.prompt_tokens_estimate.bit_length()}
    if request.system_digest is not None:
        known["system"] = keyed_digest(request.system_digest, caller, hash_key=hash_key).hex()
    tools = body.get("tools")
    if tools is not None:
        known["tools"] = keyed_digest(bytes(tools), caller, hash_key=hash_key).hex()
    choice = body.get("tool_choice")
    if choice is not None:
        word = bytes(choice)
        known["tool_choice"] = word[1:-1].decode() if word.startswith(b'"') else "named"
    form = body.get("response_format")
    if form is not None:
        known["form"] = blake2b(bytes(form), digest_size=_FORM_SIZE).hexdigest()
    session = affinity_key(request, caller, hash_key=hash_key)
    if session is not None:
        known["session"] = session.hex()
    bits = 0
    for place, need in enumerate(_MODALITIES):
        if need in request.needs:
            bits |= 1 << place
    if bits:
        known["modalities"] = bits
    return known
