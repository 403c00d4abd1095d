"""The original client, told by lines of JSON what to call, answering with lines of JSON.

Bytes travel as Latin-1 text. The client is as it was installed; only the name of the test server is resolved here,
because the client refuses loopback addresses, rightly, whatever its settings.
"""

import asyncio
import importlib.metadata
import json
import socket
import sys

from cachekit import cache
from cachekit.backends.cachekitio import CachekitIOBackend
from cachekit.backends.errors import BackendError

resolve = socket.getaddrinfo


def resolve_test_names(host, *args, **kwargs):
    return resolve("127.0.0.1" if host == "cachekit.test" else host, *args, **kwargs)


socket.getaddrinfo = resolve_test_names

backend = CachekitIOBackend()
loop = asyncio.new_event_loop()
locks = {}
computed = []


@cache.io(namespace="squares", ttl=60)
def square(number):
    computed.append(number)
    return {"square": number * number}


def lock(key, hold, wait):
    """Takes a lock and keeps it."""
    manager = backend.acquire_lock(key, hold, wait)
    locks[key] = manager
    return loop.run_until_complete(manager.__aenter__())


def unlock(key):
    loop.run_until_complete(locks.pop(key).__aexit__(None, None, None))


def as_bytes(text):
    return text.encode("latin-1")


def as_text(value):
    return None if value is None else value.decode("latin-1")


def get_with_freshness(key):
    found = backend.get_with_freshness(key)
    return found and [as_text(found[0]), *found[1:]]


calls = {
    "version": lambda: importlib.metadata.version("cachekit"),
    "get": lambda key: as_text(backend.get(key)),
    "get_with_freshness": get_with_freshness,
    "set": lambda key, value, *times: backend.set(key, as_bytes(value), *times),
    "delete": backend.delete,
    "exists": backend.exists,
    "ttl": lambda key: loop.run_until_complete(backend.get_ttl(key)),
    "refresh": lambda key, ttl: loop.run_until_complete(backend.refresh_ttl(key, ttl)),
    "health": backend.health_check,
    "lock": lock,
    "unlock": unlock,
    "square": lambda number: [square(number), len(computed)],
}

for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = {"value": calls[name](*arguments)}
    except BackendError as error:
        answer = {"error": error.error_type.value, "message": str(error)}
    print(json.dumps(answer), flush=True)
