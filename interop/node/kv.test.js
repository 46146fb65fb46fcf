'use strict';
// Keys and values, transactions, transactional memory and what is refused.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { clientOf, sharedServer } = require('./bench');

const shared = sharedServer();

test('put, get and delete', async t => {
  const client = clientOf(t, shared.server);
  const first = await client.put('a').value('1');
  const before = await client.put('a').value('2').getPrevious();
  assert.equal(before.value.toString(), '1');
  const got = await client.get('a').exec();
  assert.equal(got.kvs[0].value.toString(), '2');
  assert.equal(got.kvs[0].version, '2');
  assert.equal(got.kvs[0].create_revision, first.header.revision);
  assert.equal(await client.get('a').revision(first.header.revision).string(), '1');
  assert.equal(await client.get('a').serializable(true).number(), 2);
  const gone = await client.delete().key('a').getPrevious();
  assert.deepEqual(gone.map(kv => kv.value.toString()), ['2']);
  assert.equal(await client.get('a'), null);
  assert.equal((await client.delete().key('a')).deleted, '0');
});

test('ranges', async t => {
  const client = clientOf(t, shared.server);
  for (const name of ['c', 'a', 'b', 'ab']) {
    await client.put(name).value(name);
  }
  const all = () => client.getAll().prefix('');
  assert.deepEqual(await all().strings(), { a: 'a', ab: 'ab', b: 'b', c: 'c' });
  assert.deepEqual(await all().sort('Key', 'Descend').keys(), ['c', 'b', 'ab', 'a']);
  assert.deepEqual(await all().sort('Create', 'Ascend').limit(2).keys(), ['c', 'a']);
  assert.equal(await all().count(), 4);
  assert.deepEqual(await client.getAll().prefix('a').keys(), ['a', 'ab']);
  assert.deepEqual(await client.getAll().inRange({ start: 'ab', end: 'c' }).keys(), ['ab', 'b']);
  assert.equal((await client.delete().prefix('a')).deleted, '2');
  assert.deepEqual(await all().keys(), ['b', 'c']);
});

test('transactions', async t => {
  const client = clientOf(t, shared.server);
  await client.put('a').value('1');
  const choose = compare =>
    compare
      .then(client.put('won').value('yes'), client.get('a'))
      .else(client.delete().key('won'), client.put('lost').value('no'))
      .commit();
  const won = await choose(
    client.if('a', 'Value', '==', '1').and('a', 'Version', '>', 0).and('none', 'Create', '==', 0).and('a', 'Mod', '!=', 1),
  );
  assert.equal(won.succeeded, true);
  assert.equal(won.responses[1].response_range.kvs[0].value.toString(), '1');
  assert.equal(await client.get('won'), 'yes');
  const lost = await choose(client.if('a', 'Value', '<', '1'));
  assert.equal(lost.succeeded, false);
  assert.equal(lost.responses[0].response_delete_range.deleted, '1');
  assert.equal(await client.get('lost'), 'no');
});

test('transactional memory counts right under contention', async t => {
  const client = clientOf(t, shared.server);
  const add = () =>
    client.stm({ retries: 1000 }).transact(async tx => {
      const had = await tx.get('n').number();
      await tx.put('n').value((had || 0) + 1);
    });
  await Promise.all(
    Array.from({ length: 5 }, async () => {
      for (let turn = 0; turn < 10; turn++) {
        await add();
      }
    }),
  );
  assert.equal(await client.get('n').number(), 50);
});

test('what is refused', async t => {
  const client = clientOf(t, shared.server);
  const twice = client.if('k', 'Version', '==', 0).then(client.put('k').value('1'), client.put('k').value('2'));
  await assert.rejects(twice.commit(), /etcdserver: duplicate key given in txn request/);
  const many = Array.from({ length: 129 }, (_, n) => client.put(`${n}`).value('v'));
  await assert.rejects(client.if('k', 'Version', '==', 0).then(...many).commit(), /etcdserver: too many operations in txn request/);
  await assert.rejects(client.put('k').value('v').lease('123456789').exec(), /etcdserver: requested lease not found/);
  await assert.rejects(client.put('k').value(Buffer.alloc(1_600_000)).exec(), /etcdserver: request is too large/);
  await assert.rejects(client.get('k').revision(1 << 30).exec(), /etcdserver: mvcc: required revision is a future revision/);
  assert.equal(await client.get('k'), null);
});

test('status and members', async t => {
  const client = shared.server.client();
  t.after(() => client.close());
  const status = await client.maintenance.status();
  assert.equal(status.version.split('.').length, 3);
  const members = await client.cluster.memberList({});
  assert.deepEqual(members.members.map(member => member.name), ['default']);
});
