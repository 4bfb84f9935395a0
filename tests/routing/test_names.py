import msgspec
import pytest

from gateway.chat.dialects import Dialect
from gateway.domain.errors import InvalidRequestError, ModelNotFoundError
from gateway.routing.names import Target, resolve_names
from pricing.catalogue import Catalogue
from pricing.endpoint import Model
from tests.routing.factories import (
    make_caller,
    make_catalogue_of,
    make_endpoint,
    make_inputs,
    make_request,
)

OPENAI, OPENROUTER, FASTAPI = Dialect.OPENAI, Dialect.OPENROUTER, Dialect.FASTAPI


@pytest.fixture
def catalogue() -> Catalogue:
    return make_catalogue_of(
        make_endpoint("openai", "openai/gpt-4o"),
        make_endpoint("azure", "openai/gpt-4o", "gpt-4o-eu"),
        make_endpoint("groq", "meta/llama-3.3", "llama-3.3-70b"),
        make_endpoint("together", "meta/llama-3.3", "Llama-3.3-Turbo"),
        make_endpoint("alpha", "one/twin"),
        make_endpoint("beta", "two/twin"),
        make_endpoint("local", None, "llama3:8b"),
        make_endpoint("mock", "mock/fast"),
        make_endpoint("spare", "mock/fast"),
        make_endpoint("openrouter", "acme/gift", "acme/gift:free"),
        make_endpoint("openrouter", "openrouter/auto"),
        models=[Model(id="openai/gpt-4o", name="", author="openai", aliases=("openai/omni",))],
    )


def resolve_one(
    catalogue: Catalogue, name: str, dialect: Dialect = OPENROUTER, **inputs: object
) -> Target:
    request = make_request(name, dialect=dialect)
    (target,) = resolve_names(request, make_inputs(catalogue, **inputs))  # pyright: ignore[reportArgumentType]
    return target


@pytest.mark.parametrize(
    ("dialect", "name", "model", "provider"),
    [
        pytest.param(OPENAI, "gpt-4o", "openai/gpt-4o", None, id="bare-slug-openai"),
        pytest.param(OPENROUTER, "gpt-4o", "openai/gpt-4o", None, id="bare-slug-openrouter"),
        pytest.param(FASTAPI, "gpt-4o", "openai/gpt-4o", None, id="bare-slug-fastapi"),
        pytest.param(OPENROUTER, "openai/gpt-4o", "openai/gpt-4o", None, id="slash-names-model"),
        pytest.param(FASTAPI, "openai/gpt-4o", "openai/gpt-4o", None, id="slash-fastapi"),
        pytest.param(OPENAI, "openai/gpt-4o", "openai/gpt-4o", "openai", id="slash-pins"),
        pytest.param(OPENAI, "azure/gpt-4o-eu", "openai/gpt-4o", "azure", id="pin-by-their-id"),
        pytest.param(OPENAI, "azure/gpt-4o", "openai/gpt-4o", "azure", id="pin-by-slug"),
        pytest.param(OPENAI, "azure/openai/gpt-4o", "openai/gpt-4o", "azure", id="pin-in-full"),
        pytest.param(OPENAI, "Azure/gpt-4o", "openai/gpt-4o", "azure", id="pin-ignores-case"),
        pytest.param(OPENAI, "meta/llama-3.3", "meta/llama-3.3", None, id="author-is-no-provider"),
        pytest.param(OPENAI, "openai/omni", "openai/gpt-4o", "openai", id="pin-by-alias-of-model"),
        pytest.param(OPENROUTER, "openai/omni", "openai/gpt-4o", None, id="alias-of-model"),
        pytest.param(FASTAPI, "groq:llama-3.3", "meta/llama-3.3", "groq", id="colon-pins-slug"),
        pytest.param(FASTAPI, "groq:meta/llama-3.3", "meta/llama-3.3", "groq", id="colon-full"),
        pytest.param(FASTAPI, "openai:gpt-4o", "openai/gpt-4o", "openai", id="colon-pins"),
        pytest.param(OPENROUTER, "local/llama3:8b", "local/llama3:8b", "local", id="no-canonical"),
        pytest.param(OPENAI, "local/llama3:8b", "local/llama3:8b", "local", id="no-canonical-v1"),
        pytest.param(OPENAI, "  gpt-4o ", "openai/gpt-4o", None, id="stripped"),
    ],
)
def test_a_name_stands_for_its_model(
    catalogue: Catalogue, dialect: Dialect, name: str, model: str, provider: str | None
) -> None:
    target = resolve_one(catalogue, name, dialect)

    assert (target.model, target.provider, target.variant) == (model, provider, None)
    assert provider is None or {e.provider for e in target.endpoints} == {provider}


@pytest.mark.parametrize(
    ("name", "model", "variant"),
    [
        pytest.param("openai/gpt-4o:floor", "openai/gpt-4o", "floor", id="floor"),
        pytest.param("gpt-4o:nitro", "openai/gpt-4o", "nitro", id="nitro-of-a-slug"),
        pytest.param("openai/gpt-4o:free", "openai/gpt-4o", "free", id="free"),
        pytest.param("local/llama3:8b:floor", "local/llama3:8b", "floor", id="after-a-colon"),
        pytest.param("openrouter/acme/gift:free", None, None, id="not-a-canonical-name"),
        pytest.param("openai/gpt-4o:online", "openai/gpt-4o", "online", id="online"),
        pytest.param("openai/gpt-4o:exacto", "openai/gpt-4o", "exacto", id="exacto"),
        pytest.param("gpt-4o:thinking", "openai/gpt-4o", "thinking", id="thinking"),
        pytest.param("openai/gpt-4o:extended", "openai/gpt-4o", "extended", id="extended"),
        pytest.param("openai/gpt-4o:beta", None, None, id="unheard-of"),
        pytest.param("openai/gpt-4o:free:floor", None, None, id="two-variants"),
        pytest.param(":floor", None, None, id="variant-of-nothing"),
    ],
)
def test_a_variant_is_peeled_off_a_known_name_only(
    catalogue: Catalogue, name: str, model: str | None, variant: str | None
) -> None:
    if model is None:
        with pytest.raises(ModelNotFoundError):
            resolve_one(catalogue, name)
    else:
        target = resolve_one(catalogue, name)
        assert (target.model, target.variant) == (model, variant)


def test_an_id_that_ends_like_a_variant_is_pinned_as_it_stands(catalogue: Catalogue) -> None:
    target = resolve_one(catalogue, "openrouter/acme/gift:free", OPENAI)

    assert (target.model, target.provider, target.variant) == ("acme/gift", "openrouter", None)


def test_a_pin_keeps_its_variant(catalogue: Catalogue) -> None:
    target = resolve_one(catalogue, "openai/gpt-4o:floor", OPENAI)

    assert (target.provider, target.variant) == ("openai", "floor")


def test_an_alias_comes_first_and_names_a_model_on_every_dialect(catalogue: Catalogue) -> None:
    aliases = {"gpt-4o": "meta/llama-3.3", "cheap": "openai/gpt-4o:floor", "auto": "one/twin"}

    assert resolve_one(catalogue, "gpt-4o", OPENAI, aliases=aliases).model == "meta/llama-3.3"
    assert resolve_one(catalogue, "auto", OPENAI, aliases=aliases).model == "one/twin"
    cheap = resolve_one(catalogue, "cheap", OPENAI, aliases=aliases)
    assert (cheap.name, cheap.model, cheap.variant, cheap.provider) == (
        "cheap",
        "openai/gpt-4o",
        "floor",
        None,
    )


def test_an_alias_of_nothing_is_an_error_that_names_its_target(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFoundError, match=r"`best` is an alias of `no/model`"):
        resolve_one(catalogue, "best", aliases={"best": "no/model", "no/model": "openai/gpt-4o"})


def test_an_operators_own_model_comes_before_a_pin(catalogue: Catalogue) -> None:
    pinned = resolve_one(catalogue, "mock/fast", OPENAI)
    named = resolve_one(catalogue, "mock/fast", OPENAI, configured_models=frozenset({"mock/fast"}))

    assert [e.provider for e in pinned.endpoints] == ["mock"]
    assert [e.provider for e in named.endpoints] == ["mock", "spare"]


@pytest.mark.parametrize(
    ("installation", "key", "provider"),
    [
        pytest.param(True, None, "openai", id="on"),
        pytest.param(False, None, None, id="off"),
        pytest.param(True, False, None, id="key-says-no"),
        pytest.param(False, True, "openai", id="key-says-yes"),
    ],
)
def test_the_key_decides_whether_a_slash_pins(
    catalogue: Catalogue, installation: bool, key: bool | None, provider: str | None
) -> None:
    target = resolve_one(
        catalogue,
        "openai/gpt-4o",
        OPENAI,
        slash_pins_provider=installation,
        caller=make_caller(slash_pins_provider=key),
    )

    assert target.provider == provider


def test_an_ambiguous_slug_lists_the_models(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidRequestError, match=r"`one/twin`, `two/twin`") as caught:
        resolve_one(catalogue, "twin")

    assert caught.value.status == 400
    assert caught.value.metadata == {"models": ["one/twin", "two/twin"]}


def test_an_unknown_name_gets_up_to_three_nearest_and_is_never_guessed(
    catalogue: Catalogue,
) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_one(catalogue, "openai/gpt-4")

    assert caught.value.status == 404
    assert "openai/gpt-4o" in caught.value.metadata["nearest"]
    assert len(caught.value.metadata["nearest"]) <= 3


def test_a_pin_that_serves_something_else_is_an_error(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFoundError, match="`groq` does not serve `gpt-4o`"):
        resolve_one(catalogue, "groq:gpt-4o", FASTAPI)


@pytest.mark.parametrize("name", ["auto", "openrouter/auto", "intelligent-routing"])
def test_auto_without_a_pool_is_refused_rather_than_guessed(
    catalogue: Catalogue, name: str
) -> None:
    with pytest.raises(InvalidRequestError, match="auto_models"):
        resolve_one(catalogue, name)


def test_without_a_model_the_keys_default_serves(catalogue: Catalogue) -> None:
    request = msgspec.structs.replace(make_request(), models=())
    caller = make_caller(default_model="gpt-4o")

    (target,) = resolve_names(request, make_inputs(catalogue, caller=caller))
    with pytest.raises(InvalidRequestError, match="default model"):
        resolve_names(request, make_inputs(catalogue))

    assert target.model == "openai/gpt-4o"


def test_an_endless_name_is_cut_in_the_message(catalogue: Catalogue) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve_one(catalogue, "x" * 100_000)

    assert len(caught.value.message) < 400
