"""Leases, locks and elections."""

import asyncio
import contextlib
import time

import aetcd

from case import Case


@contextlib.asynccontextmanager
async def kept_alive(lease, seconds):
    """Renews a lease in the background. aetcd has one renewal at a time and leaves the rest, over
    a server that is away as well, to its users."""
    async def renew():
        while True:
            with contextlib.suppress(aetcd.ClientError):
                await lease.refresh()
            await asyncio.sleep(seconds)
    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await renewing


class Leases(Case):
    async def test_keys_go_with_their_lease(self):
        lease = await self.client.lease(60)
        self.assertEqual((await lease.granted_ttl(), lease.ttl), (60, 60))
        self.assertGreater(await lease.remaining_ttl(), 50)
        await self.client.put(self.key('k'), b'v', lease=lease)
        self.assertEqual(list(await lease.keys()), [self.key('k')])
        self.assertEqual((await lease.refresh()).TTL, 60)
        await lease.revoke()
        self.assertIsNone(await self.value('k'))
        self.assertEqual(await lease.remaining_ttl(), -1)
        self.assertEqual((await lease.refresh()).TTL, 0)
        with self.assertRaisesRegex(aetcd.ClientError, '^etcdserver: requested lease not found$'):
            await lease.revoke()

    async def test_chosen_ids(self):
        lease = await self.client.lease(60, lease_id=4711)
        self.assertEqual(lease.id, 4711)
        with self.assertRaises(aetcd.DuplicateLeaseError):
            await self.client.lease(60, lease_id=4711)
        with self.assertRaisesRegex(aetcd.ClientError, '^etcdserver: too large lease TTL$'):
            await self.client.lease(9_000_000_001)
        self.assertEqual((await self.client.lease(-1)).ttl, 2)

    async def test_leases_end_in_time(self):
        began = time.monotonic()
        lease = await self.client.lease(2)
        await self.client.put(self.key('k'), b'v', lease=lease)
        async def gone():
            return await self.value('k') is None
        await self.until('the key is gone', gone)
        self.assertGreater(time.monotonic() - began, 1.9)


class LeasesOverRestarts(Case):
    own_server = True

    async def test_kept_alive_over_a_restart(self):
        lease = await self.client.lease(2)
        await self.client.put(self.key('k'), b'v', lease=lease)
        async with kept_alive(lease, 0.5):
            await asyncio.sleep(3)
            self.assertEqual(await self.value('k'), b'v')
            await self.server.restart()
            await asyncio.sleep(3)
            async def answers():
                with contextlib.suppress(aetcd.ClientError):
                    return await lease.remaining_ttl() > 0
            await self.until('the lease lives', answers)
            self.assertEqual(await self.value('k'), b'v')
        async def gone():
            return await self.value('k') is None
        await self.until('it ends when nobody renews it', gone)


class Locks(Case):
    async def test_one_holds_it_at_a_time(self):
        inside, entered = 0, 0
        async def enter(client):
            nonlocal inside, entered
            for _ in range(5):
                async with client.lock(self.key('lock'), ttl=10):
                    inside += 1
                    entered += 1
                    self.assertEqual(inside, 1)
                    await asyncio.sleep(0.005)
                    inside -= 1
        await asyncio.gather(*[enter(await self.connect()) for _ in range(5)])
        self.assertEqual(entered, 25)
        self.assertIsNone(await self.value('lock'))

    async def test_a_lock_follows_its_lease(self):
        mine = self.client.lock(self.key('lock'), ttl=60)
        other = (await self.connect()).lock(self.key('lock'), ttl=60)
        self.assertTrue(await mine.acquire())
        self.assertTrue(await mine.is_acquired())
        self.assertFalse(await other.acquire(timeout=1))
        self.assertEqual((await mine.refresh()).TTL, 60)
        await mine.lease.revoke()
        self.assertTrue(await other.acquire(timeout=10))
        self.assertFalse(await mine.release())
        self.assertTrue(await other.release())


class Elections(Case):
    """aetcd has no elections. Its users make them of what it has: the key is put with a lease if it
    is not there, and who does not get it waits until it is deleted."""

    async def campaign(self, client, value):
        t = client.transactions
        lease = await client.lease(5)
        while True:
            won, answers = await client.transaction(
                compare=[t.create(self.key('head')) == 0],
                success=[t.put(self.key('head'), value, lease=lease)],
                failure=[t.get(self.key('head'))],
            )
            if won:
                return lease
            revision = answers[0][0][1].mod_revision
            with contextlib.suppress(aetcd.WatchTimeoutError):
                await client.watch_once(self.key('head'), timeout=1, start_revision=revision + 1,
                                        kind=aetcd.EventKind.DELETE)
            await lease.refresh()

    async def test_one_leads_after_the_other(self):
        observed = []
        watch = await self.client.watch(self.key('head'))
        async def observe():
            async for event in watch:
                observed.append((event.kind, event.kv.value))
        observing = asyncio.create_task(observe())
        async def lead(client, value):
            lease = await self.campaign(client, value)
            self.assertEqual(await self.value('head'), value)
            await lease.revoke()
        names = [b'one', b'two', b'three']
        await asyncio.gather(*[lead(await self.connect(), name) for name in names])
        async def all_told():
            return len(observed) == 6
        await self.until('all changes are told', all_told)
        await watch.cancel()
        await observing
        self.assertEqual([kind for kind, _ in observed], ['PUT', 'DELETE'] * 3)
        self.assertEqual(sorted(value for kind, value in observed if kind == 'PUT'), sorted(names))
