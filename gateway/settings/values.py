"""The configuration as values: what ``tollway.toml`` may hold, and everything joined."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
Milliseconds: TypeAlias = Annotated[int, Meta(ge=1, le=86_400_000)]
MaybeNone: TypeAlias = Annotated[int, Meta(ge=0)]
CredentialReferences: TypeAlias = Annotated[tuple[str, ...], Meta(max_length=31)]
MaybeNoSeconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]
Weight: TypeAlias = Annotated[float, Meta(ge=0, le=1_000)]
Origin: TypeAlias = Annotated[
    str, Meta(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[a-z0-9._\-\[\]:]+)$", max_length=256)
]
"""As browsers write it: ``https://app.example.com`` in lower case, without a path."""


HttpOrigin: TypeAlias = Annotated[
    str, Meta(pattern=r"^https?://[a-z0-9._\-\[\]:]+$", max_length=256)
]


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[providers.NAME]``: a provider of the catalogue, or one of the operator's own."""

    enabled: bool = True
    protocol: Literal["openai", "anthropic", "gemini", "bedrock"] | None = None
    base_url: str | None = None
    api_key: str | None = None
    """``env:NAME`` or ``file:PATH``; never the key itself."""
    api_keys: CredentialReferences = ()
    """Several, used in turn, ``api_key`` first if it is there too."""
    aws_region: str | None = None
    """For the protocol ``bedrock``; else ``AWS_REGION``."""
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_session_token: str | None = None
    """``env:NAME`` or ``file:PATH`` each: requests are signed where there is no ``api_key``."""
    google_credentials_file: str | None = None
    """Key file of a service account, for Vertex AI; else ``GOOGLE_APPLICATION_CREDENTIALS``."""
    google_project: str | None = None
    """Else ``GOOGLE_CLOUD_PROJECT``, or the service account's own."""
    google_region: str | None = None
    """``global`` or one such as ``europe-west1``; else ``GOOGLE_CLOUD_LOCATION``."""
    region: str | None = None
    """Where it processes, as the prices call it (``region_multiplier``), when its address does not
    tell: ``us`` for a workspace of Anthropic's that stays in the US."""
    allow_private: bool = False
    """The address may be private or loopback."""
    usage_flavour: str | None = None
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    connect_s: Seconds | None = None
    first_token_s: Seconds | None = None
    whole_answer_s: Seconds | None = None
    idle_s: Seconds | None = None
    endpoints: list[dict[str, Any]] = []
    """Endpoints beside those of the shipped tables; validated by the catalogue."""


class BalanceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[routing.balance]``: how much each part counts in the strategy ``balanced``."""

    price: Weight = 0.6
    uptime: Weight = 0.5
    throughput: Weight = 0.05
    latency: Weight = 0.025

    def __post_init__(self) -> None:
        """Refuse weights that decide nothing.

        Raises:
            ValueError: all of them are zero.
        """
        if not (self.price or self.uptime or self.throughput or self.latency):
            raise ValueError("at least one weight must be above zero")


class RoutingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[routing]``."""

    slash_pins_provider: bool = True
    """On ``/v1``, ``a/b`` pins provider ``a`` when it is enabled and serves ``b``."""
    max_attempts: Count = 3
    expected_output_tokens: Count = 500
    strategy: Literal["price-weighted", "balanced"] = "price-weighted"
    """How endpoints are ordered when a request does not say."""
    balance: BalanceSettings = BalanceSettings()
    auto_models: tuple[str, ...] = ()
    """Models that ``auto`` chooses between; empty: those marked in the shipped tables."""
    hedge_after_ms: Milliseconds | None = None
    """How long an endpoint may be silent before a second one is asked too; None: never."""


class DeadlineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[deadlines]``, in seconds."""

    connect_s: Seconds = 3.0
    first_token_s: Seconds = 60.0
    first_token_reasoning_s: Seconds = 300.0
    whole_answer_s: Seconds = 300.0
    idle_s: Seconds = 30.0
    total_s: Seconds = 600.0
    stalled_client_s: Seconds = 30.0
    drain_listen_s: MaybeNoSeconds = 5.0
    """After SIGTERM: how long new requests are still taken while load balancers look away."""
    drain_streams_s: MaybeNoSeconds = 120.0
    """After that: how long open requests may take before they end with an explicit error."""


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[breaker]``: when an endpoint is left alone, and how it comes back."""

    local_failures: Count = 3
    """In a row, before the provider answered: connecting, TLS, name resolution."""
    consecutive_failures: Count = 5
    failure_rate: Annotated[float, Meta(gt=0, le=1)] = 0.5
    minimum_volume: Count = 10
    window_s: Seconds = 60.0
    open_s: Seconds = 10.0
    open_max_s: Seconds = 300.0
    slow_start_s: Seconds = 30.0

    def __post_init__(self) -> None:
        """Refuse a longest time that is shorter than the first.

        Raises:
            ValueError: it is.
        """
        if self.open_max_s < self.open_s:
            raise ValueError("`open_max_s` must be at least `open_s`")


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[retention]``: for how many days what is kept."""

    rows_days: Count = 90
    """Requests and attempts, one by one."""
    minutes_days: Count = 30
    """Sums by the minute, for charts of hours."""
    sums_days: Count = 1_096
    """Sums by the quarter of an hour, for everything else."""

    def __post_init__(self) -> None:
        """Refuse to forget sums before what they are made from.

        Raises:
            ValueError: they would be.
        """
        if self.sums_days < max(self.rows_days, self.minutes_days):
            raise ValueError("`sums_days` must be at least `rows_days` and `minutes_days`")


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[limits]``."""

    body_bytes: Count = 20 * 1024 * 1024
    text_bytes: Count = 4 * 1024 * 1024
    in_flight_per_worker: Count = 2_000
    spool_bytes: Count | None = None
    """None: 10 GiB or a quarter of the free disk, whichever is less."""
    shadows_per_worker: MaybeNone = 20
    """Mirrored requests under way; more are dropped, and counted."""


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[budgets]``: how budgets are enforced."""

    mode: Literal["enforce", "shadow"] = "enforce"
    """``shadow``: what budgets and limits of keys would refuse is counted, and let through."""
    answer_tokens: Count = 4_096
    """Reserved at most for an answer, except by strict budgets."""
    wait_ms: Annotated[int, Meta(ge=0, le=10_000)] = 50
    """How long a request waits where its worker's share of a budget is used up."""
    lease_s: Seconds = 3_600.0
    """After so long without a sign of life what a worker holds counts as expired."""
    expired: Literal["hold", "release"] = "hold"
    """What becomes of it: it goes on counting until its records are stored, or until an operator
    releases it; or it is given back at once, although some of it may have been spent."""


class MediaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[media]``: images and files that requests name by their address."""

    fetch: bool = False
    """The gateway fetches them for providers that do not do so themselves."""
    max_bytes: Count = 20 * 1024 * 1024
    """Of all that one request names, together."""
    within_s: Seconds = 10.0
    private_origins: tuple[HttpOrigin, ...] = ()
    """File servers of the operator's own, whose address may be private and without TLS."""


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[webhooks]``: where operators are told of budgets, providers, prices and the spool."""

    private_origins: tuple[HttpOrigin, ...] = ()
    """Receivers of the operator's own, whose address may be private and without TLS."""
    spool_lag_s: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """Records of this age that PostgreSQL does not have are told of."""


class CorsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[cors]``."""

    origins: tuple[Origin, ...] = ()
    """Web pages that may call the gateway from a browser; ``*`` is every page."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[metrics]``."""

    on_data_port: bool = False
    """Serve ``/metrics`` beside the API, to whoever reaches it; the admin listener always does."""


class SavingsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[savings]``."""

    baseline: str | None = None
    """What costs are compared with: an endpoint (``openai/gpt-4o``), or ``dearest``, the dearest of
    those that might have answered. None: nothing."""


class FileSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of ``tollway.toml``."""

    host: str | None = None
    port: int | None = None
    admin_port: int | None = None
    dashboard_port: int | None = None
    dashboard_host: str | None = None
    dashboard_sign_in: bool = False
    """Ask everybody to sign in, even where only this machine is served."""
    workers: int | None = None
    data_dir: str | None = None
    database_url: str | None = None
    """``env:NAME`` or ``file:PATH``, or an address without a password."""
    rules: str | None = None
    """A file of rules; with one, the rule sets in the database are not used."""
    providers: dict[str, ProviderSettings] = {}
    aliases: dict[str, str] = {}
    routing: RoutingSettings = RoutingSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    breaker: BreakerSettings = BreakerSettings()
    retention: RetentionSettings = RetentionSettings()
    limits: LimitSettings = LimitSettings()
    budgets: BudgetSettings = BudgetSettings()
    media: MediaSettings = MediaSettings()
    webhooks: WebhookSettings = WebhookSettings()
    cors: CorsSettings = CorsSettings()
    metrics: MetricsSettings = MetricsSettings()
    savings: SavingsSettings = SavingsSettings()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was configured. ``database_url`` and ``secret`` are secrets."""

    config_path: Path | None
    data_dir: Path
    database_url: str | None
    """None: the embedded PostgreSQL."""
    host: str
    port: int
    admin_port: int
    dashboard_port: int
    dashboard_host: str = "127.0.0.1"
    """Of `tollway dashboard`; `tollway up` always serves this machine alone."""
    dashboard_sign_in: bool = False
    workers: int
    secret: str | None
    """Peppers key hashes; None: the file in the data directory."""
    rules_path: Path | None
    """A file of rules; None: the rule sets in the database."""
    providers: dict[str, ProviderSettings]
    aliases: dict[str, str]
    routing: RoutingSettings
    deadlines: DeadlineSettings
    limits: LimitSettings
    budgets: BudgetSettings = BudgetSettings()
    media: MediaSettings = MediaSettings()
    webhooks: WebhookSettings = WebhookSettings()
    cors: CorsSettings
    metrics: MetricsSettings = MetricsSettings()
    breaker: BreakerSettings = BreakerSettings()
    retention: RetentionSettings = RetentionSettings()
    savings: SavingsSettings = SavingsSettings()
    environment: Mapping[str, str]
    """Where credentials are found; passed on, never printed."""

    def __repr__(self) -> str:
        return f"Settings(config={self.config_path}, data_dir={self.data_dir}, port={self.port})"


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What was given on the command line; None where nothing was."""

    config: Path | None = None
    data_dir: Path | None = None
    host: str | None = None
    port: int | None = None
    admin_port: int | None = None
    dashboard_port: int | None = None
    workers: int | None = None
