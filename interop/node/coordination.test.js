'use strict';
// Leases, locks and elections.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { EtcdLockFailedError } = require('etcd3');
const { clientOf, sharedServer, until, within } = require('./bench');
const { Server } = require('./server');

const shared = sharedServer();

test('keys go with their lease', async t => {
  const client = clientOf(t, shared.server);
  const lease = client.lease(60);
  const id = await lease.grant();
  await lease.put('k').value('v');
  assert.equal((await lease.keepaliveOnce()).TTL, '60');
  const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  assert.equal(left.grantedTTL, '60');
  assert.deepEqual(left.keys.map(String), [`${t.name}/k`]);
  await lease.revoke();
  assert.equal(await client.get('k'), null);
  assert.equal((await client.leaseClient.leaseTimeToLive({ ID: id })).TTL, '-1');
});

test('a lease that is revoked elsewhere is lost', async t => {
  const client = clientOf(t, shared.server);
  const lease = client.lease(2);
  const lost = once(lease, 'lost');
  const id = await lease.grant();
  await client.leaseClient.leaseRevoke({ ID: id });
  await within('the client learns of it', lost);
  assert.equal(lease.revoked(), true);
});

test('a lease is kept alive over a restart, and ends when it is left alone', async t => {
  const own = await Server.start();
  t.after(() => own.close());
  const client = clientOf(t, own);
  const lease = client.lease(2);
  let lost = false;
  lease.on('lost', () => (lost = true));
  await lease.put('k').value('v');
  await sleep(3000);
  assert.equal(await client.get('k'), 'v');
  await own.restart();
  await sleep(3000);
  await until('the client is back', () => client.get('k').then(value => value === 'v', () => false));
  assert.equal(lost, false);
  lease.release();
  await until('the lease ends', () => client.get('k').then(value => value === null, () => false));
});

test('one holds a lock at a time', async t => {
  let inside = 0;
  let entered = 0;
  // The client does not wait for a lock: whoever does not get it tries again.
  const enter = async client => {
    for (let turn = 0; turn < 5; ) {
      try {
        await client.lock('lock').do(async () => {
          assert.equal(++inside, 1);
          await sleep(2);
          inside--;
          entered++;
          turn++;
        });
      } catch (error) {
        if (!(error instanceof EtcdLockFailedError)) {
          throw error;
        }
        await sleep(5);
      }
    }
  };
  await within('all have had their turns', Promise.all(Array.from({ length: 5 }, () => enter(clientOf(t, shared.server)))));
  assert.equal(entered, 25);
});

test('a lock follows its lease', async t => {
  const client = clientOf(t, shared.server);
  const mine = await client.lock('lock').ttl(60).acquire();
  await assert.rejects(client.lock('lock').acquire(), EtcdLockFailedError);
  await client.leaseClient.leaseRevoke({ ID: await mine.leaseId() });
  const other = await client.lock('lock').acquire();
  await other.release();
});

test('one leads after the other', async t => {
  const clients = [0, 1, 2].map(() => clientOf(t, shared.server));
  const campaigns = [clients[0].election('head', 5).campaign('leader 0')];
  await within('the first is elected', campaigns[0].wait());
  // The client's observer follows whoever came last if several come while nobody leads, so it
  // begins when somebody does.
  const observer = await clients[0].election('head').observe();
  const leaders = [];
  observer.on('change', leader => leaders.push(leader));
  const elected = [Promise.resolve()];
  for (const n of [1, 2]) {
    campaigns.push(clients[n].election('head', 5).campaign(`leader ${n}`));
    elected.push(campaigns[n].wait());
    const all = () => clients[0].getAll().prefix('election/head/').count();
    await until(`candidate ${n} is there`, async () => (await all()) === n + 1);
  }
  for (const n of [0, 1, 2]) {
    await within(`leader ${n} is elected`, elected[n]);
    assert.equal(await clients[2].election('head').leader(), `leader ${n}`);
    await campaigns[n].proclaim(`leader ${n} again`);
    await until('the proclamation is told', () => leaders.includes(`leader ${n} again`));
    await campaigns[n].resign();
  }
  assert.equal(await clients[2].election('head').leader(), undefined);
  await until('the end is told', () => leaders.at(-1) === undefined);
  await observer.cancel();
});
