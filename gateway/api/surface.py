"""Every route of the data listener, put together once for workers and for tests."""

from collections.abc import Callable, Sequence

import msgspec
from litestar.handlers import HTTPRouteHandler

from gateway.api.account import account_routes
from gateway.api.chat import Authenticate, chat_routes
from gateway.api.cors import Cors
from gateway.api.direct import DirectApp
from gateway.api.docs import docs_routes
from gateway.api.embeddings import embedding_routes
from gateway.api.explain import explain_routes
from gateway.api.failures import answer_exception
from gateway.api.front import Front
from gateway.api.generations import generation_routes
from gateway.api.health import Readiness, health_routes
from gateway.api.messages import message_routes
from gateway.api.models import model_routes
from gateway.api.select_model import select_model_routes
from gateway.api.traffic import Traffic
from gateway.execution.health import HealthBoard
from gateway.pipeline import Pipeline
from gateway.storage.asking import Asker
from pricing.catalogue import Catalogue


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes need of the rooms behind them."""

    chat: Pipeline
    embeddings: Pipeline
    messages: Pipeline
    authenticate: Authenticate
    traffic: Traffic
    catalogue: Callable[[], Catalogue]
    health: HealthBoard
    readiness: Callable[[], Readiness]
    ask: Asker
    """Of Postgres, for what an account was used for; never for chat."""
    body_limit: int
    """Bytes of a body, images and audio included."""
    text_limit: int | None = None
    """Bytes of text in messages and tools; None is the body's limit."""
    cors_origins: tuple[str, ...] = ()
    """Empty lets no page of another origin in."""
    more_routes: Sequence[HTTPRouteHandler] = ()
    """What an operator wants beside the API."""


def data_app(around: Surroundings) -> Front:
    """The application that clients of the gateway talk to."""
    app = DirectApp(
        [
            *chat_routes(
                around.chat,
                around.authenticate,
                around.traffic,
                body_limit=around.body_limit,
                text_limit=around.text_limit,
            ),
            *message_routes(
                around.messages,
                around.authenticate,
                around.traffic,
                body_limit=around.body_limit,
                text_limit=around.text_limit,
            ),
            *select_model_routes(
                around.chat,
                around.authenticate,
                around.traffic,
                body_limit=around.body_limit,
            ),
            *explain_routes(
                around.chat,
                around.messages,
                around.authenticate,
                around.traffic,
                body_limit=around.body_limit,
            ),
            *model_routes(around.authenticate, around.catalogue, around.health),
            *embedding_routes(
                around.embeddings,
                around.authenticate,
                around.traffic,
                body_limit=around.body_limit,
            ),
            *account_routes(around.authenticate, around.ask, around.catalogue),
            *generation_routes(around.authenticate, around.ask, around.catalogue),
            *health_routes(around.readiness),
            *docs_routes(),
            *around.more_routes,
        ],
        openapi_config=None,
        exception_handlers={Exception: answer_exception},
        request_max_body_size=around.body_limit,
        logging_config=None,
    )
    return Front(app, Cors(around.cors_origins) if around.cors_origins else None)
