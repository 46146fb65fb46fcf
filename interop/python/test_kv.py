"""Keys and values, transactions and what is refused."""

import aetcd

from case import Case


class KeyValues(Case):
    async def test_put_get_delete(self):
        put = await self.client.put(self.key('a'), b'1')
        again = await self.client.put(self.key('a'), b'2', prev_kv=True)
        self.assertEqual(again.header.revision, put.header.revision + 1)
        self.assertEqual(again.prev_kv.value, b'1')
        got = await self.client.get(self.key('a'))
        self.assertEqual((got.value, got.version), (b'2', 2))
        self.assertEqual(got.create_revision, put.header.revision)
        self.assertEqual(got.mod_revision, again.header.revision)
        stale = await self.client.get(self.key('a'), serializable=True)
        self.assertEqual(stale.value, b'2')
        gone = await self.client.delete(self.key('a'), prev_kv=True)
        self.assertEqual((gone.deleted, gone.prev_kv.value), (1, b'2'))
        self.assertIsNone(await self.client.get(self.key('a')))
        self.assertIsNone(await self.client.delete(self.key('a')))

    async def test_ranges(self):
        for name in 'cab':
            await self.client.put(self.key(name), name.encode())
        found = await self.client.get_prefix(self.key(), sort_order='ascend')
        self.assertEqual([kv.value for kv in found], [b'a', b'b', b'c'])
        found = await self.client.get_prefix(self.key(), sort_order='descend', sort_target='create')
        self.assertEqual([kv.value for kv in found], [b'b', b'a', b'c'])
        found = await self.client.get_prefix(self.key(), keys_only=True)
        self.assertEqual([(kv.key, kv.value) for kv in found], [(self.key(n), b'') for n in 'abc'])
        found = await self.client.get_range(self.key('a'), self.key('c'))
        self.assertEqual([kv.value for kv in found], [b'a', b'b'])
        gone = await self.client.delete_range(self.key('a'), self.key('c'), prev_kv=True)
        self.assertEqual([kv.value for kv in gone], [b'a', b'b'])
        self.assertEqual((await self.client.delete_prefix(self.key())).deleted, 1)

    async def test_transactions(self):
        t = self.client.transactions
        await self.client.put(self.key('a'), b'1')
        async def choose(*compare):
            done, answers = await self.client.transaction(
                compare=list(compare),
                success=[t.put(self.key('won'), b'yes'), t.get(self.key('a'))],
                failure=[t.delete(self.key('won')), t.txn([], [t.put(self.key('lost'), b'no')], [])],
            )
            return done, answers
        done, answers = await choose(t.value(self.key('a')) == b'1', t.version(self.key('a')) > 0,
                                     t.create(self.key('none')) == 0, t.mod(self.key('a')) != 1)
        self.assertTrue(done)
        self.assertEqual(answers[1][0][0], b'1')
        self.assertEqual(await self.value('won'), b'yes')
        done, answers = await choose(t.value(self.key('a')) < b'1')
        self.assertFalse(done)
        self.assertEqual(answers[0].response_delete_range.deleted, 1)
        self.assertTrue(answers[1].response_txn.succeeded)
        self.assertEqual(await self.value('lost'), b'no')
        self.assertTrue(await self.client.replace(self.key('a'), b'1', b'2'))
        self.assertFalse(await self.client.replace(self.key('a'), b'1', b'3'))
        self.assertEqual(await self.value('a'), b'2')

    async def test_what_is_refused(self):
        with self.assertRaisesRegex(aetcd.InvalidArgumentError, '^etcdserver: key is not provided$'):
            await self.client.put(b'', b'v')
        t = self.client.transactions
        twice = [t.put(self.key('k'), b'1'), t.put(self.key('k'), b'2')]
        with self.assertRaisesRegex(aetcd.InvalidArgumentError, '^etcdserver: duplicate key given in txn request$'):
            await self.client.transaction([], twice, [])
        many = [t.put(self.key(str(n)), b'v') for n in range(129)]
        with self.assertRaisesRegex(aetcd.InvalidArgumentError, '^etcdserver: too many operations in txn request$'):
            await self.client.transaction([], many, [])
        with self.assertRaisesRegex(aetcd.ClientError, '^etcdserver: requested lease not found$'):
            await self.client.put(self.key('k'), b'v', lease=123456789)
        with self.assertRaisesRegex(aetcd.InvalidArgumentError, '^etcdserver: request is too large$'):
            await self.client.put(self.key('k'), b'v' * 1_600_000)
        self.assertIsNone(await self.value('k'))

    async def test_status_and_members(self):
        status = await self.client.status()
        self.assertEqual(len(status.version.split('.')), 3)
        self.assertGreater(status.db_size, 0)
        members = [member async for member in self.client.members()]
        self.assertEqual([member.name for member in members], ['default'])


class Compaction(Case):
    own_server = True

    async def test_compaction(self):
        for value in (b'1', b'2', b'3'):
            put = await self.client.put(self.key('k'), value)
        await self.client.compact(put.header.revision)
        with self.assertRaisesRegex(aetcd.ClientError, 'required revision has been compacted'):
            await self.client.compact(put.header.revision - 1)
        # aetcd creates the watch first and raises when it hears of the compaction.
        watch = await self.client.watch(self.key('k'), start_revision=put.header.revision - 1)
        with self.assertRaises(aetcd.RevisionCompactedError) as raised:
            async for event in watch:
                self.fail(f'told of {event}')
        self.assertEqual(raised.exception.compacted_revision, put.header.revision)
