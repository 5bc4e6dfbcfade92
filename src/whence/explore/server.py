"""The process that serves the explorer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from whence.errors import ConfigError
from whence.explore.guard import Guard
from whence.explore.make_collection import open_collection
from whence.explore.routes import Explorer

#: Ports that are tried from the first on, where none is given.
FIRST_PORT, PORTS = 8000, 100


def serve(path: Path, host: str, port: int | None, show: Callable[[str], None]) -> None:
    """Serve the pages of a folder until the process is interrupted; `show` is called with the address.

    Raises:
        ArtefactError: The folder is no ensemble, no scores and no credit, or damaged.
        ConfigError: The address can't be used, or all ports that are tried are taken.
    """
    guard = Guard(host)
    explorer = Explorer(open_collection(path), guard)
    bound = bind(host, port)
    number = bound.getsockname()[1]
    name = f"[{host}]" if ":" in host else host
    show(f"http://{name}:{number}/" + ("" if guard.is_local else f"?key={guard.key}"))
    config = uvicorn.Config(
        explorer.app(), log_level="warning", ws="none", lifespan="off", server_header=False, proxy_headers=False
    )
    try:
        uvicorn.Server(config).run(sockets=[bound])
    except KeyboardInterrupt:
        pass
    finally:
        explorer.jobs.close()
        bound.close()


def bind(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at a port, by default the first free one from 8000 on.

    Raises:
        ConfigError: The host is no address of this machine, or no port is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, number))
            bound.listen()
            return bound
        except (OSError, OverflowError) as error:
            bound.close()
            problem = error
    raise ConfigError(f"The explorer can't listen at {host}, port {number}: {problem}. Give another --host or --port.")
