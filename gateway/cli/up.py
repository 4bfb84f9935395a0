"""``tollway up``: everything on this machine, ready for the first request."""

import shlex
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.options import AsJson, Config, DataDir
from gateway.cli.printing import print_json, say
from gateway.cli.running import Installation
from gateway.demo.scenario import REQUESTS
from gateway.settings.load import load_settings
from gateway.settings.values import Flags


def up(
    *,
    config: Config = None,
    data_dir: DataDir = None,
    port: int | None = None,
    admin_port: int | None = None,
    dashboard_port: int | None = None,
    workers: int | None = None,
    demo: Annotated[bool, Parameter(negative="")] = False,
    demo_requests: Annotated[int, Parameter(validator=Number(gte=0))] = REQUESTS,
    as_json: AsJson = False,
) -> None:
    """Start PostgreSQL, the gateway and the dashboard on 127.0.0.1, and print a first key.

    Args:
        config: the tollway.toml to read.
        data_dir: where data lies.
        port: of the gateway; default 8080; 0 picks one.
        admin_port: default 8081; 0 picks one.
        dashboard_port: default 8501; 0 picks one.
        workers: gateway processes; default 1.
        demo: let simulated providers serve beside real ones, write two weeks of traffic that never
            was into the database (once), and send some that is.
        demo_requests: how many requests the past of the demo has.
        as_json: print one line of JSON when everything is ready.
    """
    settings = load_settings(
        Flags(
            config=config,
            data_dir=data_dir,
            host="127.0.0.1",
            port=port,
            admin_port=admin_port,
            dashboard_port=dashboard_port,
            workers=workers,
        )
    )
    with Installation(settings, purpose="tollway up", quiet=as_json) as installation:
        installation.prepare(with_dashboard=True)
        installation.start_dashboard()
        if demo or not installation.has_providers:
            installation.start_simulator()
        key = installation.make_first_key()
        if demo:
            installation.make_past(demo_requests)
        # Nobody balances load to a desk: there is no reason to go on listening after Ctrl-C.
        installation.start_workers(drain_listen_s=0.0)
        installation.await_dashboard()
        if demo:
            installation.start_traffic()
        told = installation.told()
        if key is not None:
            told["api_key"] = key
        if as_json:
            print_json(told)
        else:
            _welcome(told, model=installation.example_model())
        installation.run()


def _welcome(told: dict[str, Any], *, model: str) -> None:
    key = told.get("api_key")
    say()
    say(f"  Gateway    {told['gateway_url']}")
    say(f"  Dashboard  {told['dashboard_url']}")
    say(f"  Admin      {told['admin_url']}")
    say(f"  Providers  {', '.join(told['providers']) or 'none'}")
    if key is not None:
        say(f"  API key    {key}   (shown once; keep it)")
    say()
    say("Try it:")
    say()
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    shown_key = key or "$TOLLWAY_API_KEY"
    say(f"curl {told['gateway_url']}/v1/chat/completions \\")
    say(f'  -H "Authorization: Bearer {shown_key}" -H "Content-Type: application/json" \\')
    say(f"  -d {shlex.quote(body)}")
    say()
    say("Ctrl-C ends it.")
