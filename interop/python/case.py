"""What the tests have in common: one server for all, clients, keys of their own, waiting."""

import asyncio
import atexit
import time
import unittest

import aetcd

import server

WAIT_SECONDS = 20

_shared = None


def shared_server():
    """The server that most tests share; it is started with the first of them."""
    global _shared
    if _shared is None:
        _shared = server.Server()
        atexit.register(_shared.close)
        _shared.start()
    return _shared


class Case(unittest.IsolatedAsyncioTestCase):
    """A test with a client, on the shared server unless it asks for its own."""

    own_server = False

    async def asyncSetUp(self):
        if self.own_server:
            self.server = server.Server()
            self.addCleanup(self.server.close)
            await asyncio.to_thread(self.server.start)
        else:
            self.server = await asyncio.to_thread(shared_server)
        self.client = await self.connect()

    async def connect(self):
        client = self.server.client()
        await client.connect()
        self.addAsyncCleanup(client.close)
        return client

    def key(self, name=''):
        return f'{self.id()}/{name}'.encode()

    async def until(self, what, holds):
        """Waits for a condition, with a bound."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not await holds():
            if time.monotonic() > deadline:
                self.fail(f'within {WAIT_SECONDS} s it did not come true that {what}')
            await asyncio.sleep(0.02)

    async def value(self, name):
        """What is under a key, None if nothing."""
        got = await self.client.get(self.key(name))
        return None if got is None else got.value

    async def exactly_once(self, attempt, was_done):
        """Does something over a server that goes and comes back. aetcd does not try again by
        itself, and who tries again has to look first whether it was done after all."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return await attempt()
            except aetcd.ClientError:
                if time.monotonic() > deadline:
                    raise
            while True:
                await asyncio.sleep(0.05)
                try:
                    if await was_done():
                        return None
                    break
                except aetcd.ClientError:
                    if time.monotonic() > deadline:
                        raise
