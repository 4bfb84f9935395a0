"""What the published document allows is answered as it says, by a gateway as it is installed."""

# Schemathesis has generic classes without their arguments.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import (
    CoveragePhaseConfig,
    GenerationConfig,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.api.openapi import make_document
from gateway.api.operations import OPERATIONS
from gateway.simulator.running import simulator_in_thread
from tests.installation import installation, provider_toml
from tests.properties import IS_EXPLORING, many

EXAMPLES = many(15)
"""For each operation on each path; what the document shows as examples comes first."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
"""Not whether wrong keys are refused: so many are guessing, which is a 429 (`test_guessing`)."""
SERVED = "openai/gpt-4o-mini"
"""The model of the document's examples."""
EMBEDDING = """
[[providers.alpha.endpoints]]
model = "openai/text-embedding-3-small"
id = "text-embedding-3-small"
mode = "embedding"
input_usd_per_mtok = 0.02
"""

schema: Any = schemathesis.openapi.from_dict(
    make_document(),
    config=SchemathesisConfig(
        projects=ProjectsConfig(
            default=ProjectConfig(
                # Every boundary of every member takes minutes; `test_any_body` is cheaper.
                phases=PhasesConfig(coverage=CoveragePhaseConfig(enabled=False)),
                generation=GenerationConfig(
                    max_examples=EXAMPLES,
                    deterministic=not IS_EXPLORING,
                    with_security_parameters=False,
                ),
            )
        )
    ),
)
SIBLINGS: dict[str, tuple[str, ...]] = {
    operation.paths[0]: operation.paths[1:] for operation in OPERATIONS if operation.reads
}
"""The same operation in other dialects: sent what its first path is sent.

Making requests of a large schema takes seconds for each path; sending them takes milliseconds.
"""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway, and a key for it."""

    url: str
    key: str


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    with simulator_in_thread(speed=0) as simulator:
        endpoints = {SERVED: "gpt-4o-mini!tokens=3"}
        toml = provider_toml("alpha", f"{simulator.base_url}/v1", endpoints) + EMBEDDING
        home = tmp_path_factory.mktemp("document") / "home"
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve() as gateway,
        ):
            yield Site(url=gateway.url, key=gateway.make_key())


def test_the_document_that_is_served_is_the_one_that_is_tried(site: Site) -> None:
    published = httpx.get(f"{site.url}/openapi.json", trust_env=False)

    assert published.json() == make_document()


@schema.exclude(path=[path for paths in SIBLINGS.values() for path in paths]).parametrize()
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=(
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ),
)
def test_every_operation_answers_as_the_document_says(case: Any, site: Site) -> None:
    body: Any = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        # Any other name is a 404 before anything happens.
        body["model"] = SERVED
    check(case, site)
    for path in SIBLINGS.get(case.path, ()):
        check(
            schema[path][case.method].Case(
                headers=case.headers, body=case.body, media_type=case.media_type
            ),
            site,
        )


def check(case: Any, site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.key}"}
    case.call_and_validate(base_url=site.url, headers=headers, checks=CHECKS)
