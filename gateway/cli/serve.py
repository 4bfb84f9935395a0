"""``tollway serve``: the gateway alone, as it runs in production."""

from gateway.cli.options import AsJson, Config, DataDir
from gateway.cli.printing import print_json, say
from gateway.cli.running import Installation
from gateway.settings.load import load_settings
from gateway.settings.values import Flags


def serve(
    *,
    config: Config = None,
    data_dir: DataDir = None,
    host: str | None = None,
    port: int | None = None,
    admin_port: int | None = None,
    workers: int | None = None,
    as_json: AsJson = False,
) -> None:
    """Serve the gateway until it is told to end (SIGTERM drains it).

    Args:
        config: the tollway.toml to read.
        data_dir: where data lies.
        host: address to listen on; default 127.0.0.1.
        port: default 8080; 0 picks one.
        admin_port: default 8081, always on 127.0.0.1; 0 picks one.
        workers: processes; default 1, at most one per core is useful.
        as_json: print one line of JSON when everything is ready.
    """
    settings = load_settings(
        Flags(
            config=config,
            data_dir=data_dir,
            host=host,
            port=port,
            admin_port=admin_port,
            workers=workers,
        )
    )
    with Installation(settings, purpose="tollway serve", quiet=as_json) as installation:
        installation.prepare()
        installation.start_workers(drain_listen_s=settings.deadlines.drain_listen_s)
        told = installation.told()
        if as_json:
            print_json(told)
        else:
            served = ", ".join(told["providers"]) or "none; set a credential such as OPENAI_API_KEY"
            say(f"Gateway:   {told['gateway_url']}  (providers: {served})")
            say(f"Admin:     {told['admin_url']}")
            if not installation.has_keys:
                say("There is no API key yet; make one with: tollway keys create NAME")
        installation.run()
