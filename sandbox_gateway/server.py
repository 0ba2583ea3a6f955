"""`serve`: the sandbox gateway from its store to its socket."""

import asyncio
import contextlib
import signal
from collections.abc import Callable

from sandbox_gateway.gateway import SandboxGateway
from sandbox_gateway.http import Connections
from sandbox_gateway.settings import SandboxServerSettings
from sandbox_gateway.store import Store
from sandbox_gateway.webhooks import WebhookSender


async def serve(
    settings: SandboxServerSettings, *, on_ready: Callable[[int], None] | None = None, stop: asyncio.Event | None = None
) -> None:
    """Serve until SIGTERM or SIGINT (or until `stop` is set, when one is given), then stop in order.

    `on_ready` is called with the port once requests are taken. Raises OSError when the port is taken, and
    StoreNotReadable when the file is not a store or another gateway has it open.
    """
    loop = asyncio.get_running_loop()
    ending = stop or asyncio.Event()
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
    store = Store(
        settings.store_path, cache_bytes=settings.store_cache_bytes, checkpoint_pages=settings.store_checkpoint_pages
    )
    try:
        gateway = SandboxGateway(settings, store)
        connections = Connections(
            gateway.handle,
            connections_max=settings.connections_max,
            body_bytes_max=settings.body_bytes_max,
            head_bytes_max=settings.head_bytes_max,
            pipelined_max=settings.pipelined_max,
        )
        server = await loop.create_server(connections.new, settings.host, settings.port, backlog=1_024)
        gateway.start()
        sending: asyncio.Task[None] | None = None
        if settings.webhook_url is not None:
            sender = WebhookSender(settings, store, gateway, settings.webhook_url)
            sending = asyncio.create_task(sender.run())
        if on_ready is not None:
            on_ready(int(server.sockets[0].getsockname()[1]))
        await ending.wait()
        server.close()
        await connections.stop(settings.stop_ms)
        if sending is not None:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
        gateway.commit()
    finally:
        store.close()
