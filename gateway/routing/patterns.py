"""How people name many things at once: ``*`` in patterns, provider slugs that cover variants."""

from pricing.endpoint import Endpoint


def matches(pattern: str, text: str) -> bool:
    """Whether ``text`` fits ``pattern``, in which ``*`` stands for any run of characters.

    Every other character means itself. Never backtracks: each piece between stars is looked for
    once, from where the one before it ended.
    """
    first, *pieces = pattern.split("*")
    if not pieces:
        return pattern == text
    last = pieces.pop()
    if not text.startswith(first):
        return False
    position = len(first)
    for piece in pieces:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return len(text) - len(last) >= position and text.endswith(last)


def is_named_by(endpoint: Endpoint, slug: str) -> bool:
    """Whether a lower-case provider slug of ``order``, ``only`` or ``ignore`` means this endpoint.

    ``deepinfra`` covers provider ``deepinfra`` and its variants (``deepinfra/turbo``); a full tag
    covers one variant, one quantization (``deepinfra/fp8``) or one endpoint by its id.
    """
    provider = endpoint.provider
    if provider == slug:
        return True
    if len(slug) < len(provider):
        return provider.startswith(slug) and provider[len(slug)] == "/"
    if not slug.startswith(provider) or slug[len(provider)] != "/":
        return False
    tag = slug[len(provider) + 1 :]
    return tag in {endpoint.quantization, endpoint.provider_model.lower()}
