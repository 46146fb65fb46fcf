'use strict';
// Watches: what is told, and that nothing is lost over a restart of the server.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { clientOf, putOnce, sharedServer, until, within } = require('./bench');
const { Server } = require('./server');

const shared = sharedServer();

// Collects what a watcher is told, as text.
function told(watcher) {
  const texts = [];
  const note = (kind, kv, before) =>
    texts.push(`${kind} ${kv.key}=${kv.value}${before ? ` before ${before.value}` : ''}`);
  watcher.on('put', (kv, before) => note('put', kv, before));
  watcher.on('delete', (kv, before) => note('delete', kv, before));
  return texts;
}

test('events', async t => {
  const client = clientOf(t, shared.server);
  const everything = told(await client.watch().prefix('').withPreviousKV().create());
  const deletes = told(await client.watch().key('a').only('delete').create());
  const first = await client.put('a').value('1');
  await client.put('b').value('1');
  await client.put('a').value('2');
  await client.delete().key('a');
  const past = told(await client.watch().key('a').startRevision(first.header.revision).create());
  await until('all is told', () => everything.length === 4 && deletes.length === 1 && past.length === 3);
  assert.deepEqual(everything, ['put a=1', 'put b=1', 'put a=2 before 1', 'delete a= before 2']);
  assert.deepEqual(deletes, ['delete a=']);
  assert.deepEqual(past, ['put a=1', 'put a=2', 'delete a=']);
});

test('cancelled watches are silent', async t => {
  const client = clientOf(t, shared.server);
  const ended = await client.watch().key('k').create();
  const goesOn = told(await client.watch().key('k').create());
  const silent = told(ended);
  await within('the cancel is answered', ended.cancel());
  await client.put('k').value('1');
  await until('the other watch is told', () => goesOn.length === 1);
  assert.deepEqual(silent, []);
});

test('many watches on one stream', async t => {
  const client = clientOf(t, shared.server);
  const watches = await Promise.all(
    Array.from({ length: 200 }, async (_, n) => told(await client.watch().key(`${n}`).create())),
  );
  for (let n = 199; n >= 0; n--) {
    await client.put(`${n}`).value('v');
  }
  await until('all are told', () => watches.every(texts => texts.length === 1));
  watches.forEach((texts, n) => assert.deepEqual(texts, [`put ${n}=v`]));
});

test('a watch below the compaction ends with an error', async t => {
  const client = clientOf(t, shared.server);
  await client.put('k').value('1');
  const { header } = await client.put('k').value('2');
  const root = shared.server.client();
  t.after(() => root.close());
  await root.kv.compact({ revision: header.revision });
  const watcher = client.watch().key('k').startRevision(header.revision - 1).watcher();
  const failed = new Promise(resolve => {
    watcher.once('error', resolve);
  });
  assert.match((await within('the watch ends', failed)).message, /Watcher canceled/);
});

test('watches resume over restarts by themselves and miss nothing', async t => {
  const puts = 150;
  const own = await Server.start();
  t.after(() => own.close());
  const client = clientOf(t, own);
  const watcher = await client.watch().prefix('').create();
  const keys = [];
  let last = 0;
  let interruptions = 0;
  watcher.on('put', kv => {
    assert.ok(Number(kv.mod_revision) > last, `revision ${kv.mod_revision} after ${last}`);
    last = Number(kv.mod_revision);
    keys.push(Number(kv.key));
  });
  watcher.on('disconnected', () => interruptions++);
  for (let n = 0; n < puts; n++) {
    await putOnce(client, `${n}`, 'v');
    if (n % 50 === 25) {
      await own.restart();
    }
  }
  await until('all is told', () => keys.length === puts);
  assert.deepEqual(keys, Array.from({ length: puts }, (_, n) => n));
  assert.ok(interruptions >= 3, `interrupted ${interruptions} times`);
});
