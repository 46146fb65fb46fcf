"""Watches: what is told, and that nothing is lost over a restart of the server."""

import asyncio

import aetcd

from case import Case

EVENTS_WAIT_SECONDS = 20


class Watches(Case):
    async def events(self, watch, count):
        """The next events of a watch, as text."""
        told = []
        async def collect():
            async for event in watch:
                # aetcd makes an empty one of a value that was not there before.
                had = event.prev_kv is not None and event.prev_kv.version > 0
                before = f' before {event.prev_kv.value.decode()}' if had else ''
                name = event.kv.key.decode().removeprefix(self.key().decode())
                told.append(f'{event.kind} {name}={event.kv.value.decode()}{before}')
                if len(told) == count:
                    return
        await asyncio.wait_for(collect(), EVENTS_WAIT_SECONDS)
        return told

    async def test_events(self):
        everything = await self.client.watch_prefix(self.key(), prev_kv=True)
        deletes = await self.client.watch(self.key('a'), kind=aetcd.EventKind.DELETE)
        first = await self.client.put(self.key('a'), b'1')
        await self.client.put(self.key('b'), b'1')
        await self.client.put(self.key('a'), b'2')
        await self.client.delete(self.key('a'))
        self.assertEqual(
            await self.events(everything, 4),
            ['PUT a=1', 'PUT b=1', 'PUT a=2 before 1', 'DELETE a= before 2'],
        )
        self.assertEqual(await self.events(deletes, 1), ['DELETE a='])
        past = await self.client.watch(self.key('a'), start_revision=first.header.revision)
        self.assertEqual(await self.events(past, 3), ['PUT a=1', 'PUT a=2', 'DELETE a='])

    async def test_cancelled_watches_are_silent(self):
        ended = await self.client.watch(self.key('k'))
        goes_on = await self.client.watch(self.key('k'))
        await ended.cancel()
        await self.client.put(self.key('k'), b'1')
        self.assertEqual(await self.events(goes_on, 1), ['PUT k=1'])
        self.assertEqual([event async for event in ended], [])

    async def test_once(self):
        put = await self.client.put(self.key('k'), b'1')
        event = await self.client.watch_once(self.key('k'), timeout=10, start_revision=put.header.revision)
        self.assertEqual(event.kv.value, b'1')
        with self.assertRaises(aetcd.WatchTimeoutError):
            await self.client.watch_once(self.key('k'), timeout=0.2)

    async def test_many_watches_on_one_stream(self):
        watches = [await self.client.watch(self.key(str(n))) for n in range(200)]
        for n in reversed(range(200)):
            await self.client.put(self.key(str(n)), str(n).encode())
        for n, watch in enumerate(watches):
            self.assertEqual(await self.events(watch, 1), [f'PUT {n}={n}'])


class WatchesOverRestarts(Case):
    own_server = True
    puts = 150

    async def write(self):
        writer = await self.connect()
        for n in range(self.puts):
            await self.exactly_once(
                lambda: writer.put(self.key(str(n)), b'v'),
                lambda: writer.get(self.key(str(n))),
            )
            if n % 50 == 25:
                await self.server.restart()

    async def follow(self):
        """aetcd does not resume: a watch ends with an error, and whoever watches begins again at
        the revision after the last one that was told of."""
        revision = (await self.client.put(self.key('start'), b'v')).header.revision
        told, interruptions = [], 0
        while len(told) < self.puts:
            try:
                watch = await self.client.watch_prefix(self.key(), start_revision=revision + 1)
                async for event in watch:
                    self.assertGreater(event.kv.mod_revision, revision)
                    revision = event.kv.mod_revision
                    told.append(event.kv.key)
                    if len(told) == self.puts:
                        break
            except (aetcd.ClientError, ConnectionError):
                interruptions += 1
                await asyncio.sleep(0.05)
        return told, interruptions

    async def test_resumed_watches_miss_nothing(self):
        following = asyncio.create_task(self.follow())
        await self.until('the watch has begun', lambda: self.value('start'))
        await self.write()
        told, interruptions = await asyncio.wait_for(following, 30)
        self.assertEqual(told, [self.key(str(n)) for n in range(self.puts)])
        self.assertGreaterEqual(interruptions, 3)
