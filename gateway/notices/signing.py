"""Secrets and signatures of webhooks, in the form of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the
headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is `v1,` and the base64 of
HMAC-SHA256 over `ID.TIMESTAMP.BODY`, so that its libraries can verify what we send.
"""

import base64
import hmac
from uuid import UUID

_LABEL = b"tollway/webhook/v1"
_PREFIX = "whsec_"


def secret_of(webhook_id: UUID, pepper: bytes) -> str:
    """The secret of a webhook: derived whenever it is needed, stored nowhere.

    Without the installation's own secret, which is kept outside of Postgres, nobody can derive it.
    """
    key = hmac.digest(pepper, _LABEL + webhook_id.bytes, "sha256")
    return _PREFIX + base64.b64encode(key).decode()


def sign(secret: str, *, event_id: str, unix_s: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a body, and when."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = b"%s.%d.%s" % (event_id.encode(), unix_s, body)
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(unix_s),
        "webhook-signature": f"v1,{signature}",
    }
