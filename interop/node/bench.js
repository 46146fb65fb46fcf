'use strict';
// What the tests have in common: a server for each file, clients, keys of their own, waiting.

const assert = require('node:assert/strict');
const { after, before } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { Server } = require('./server');

const WAIT_MS = 20_000;

// Starts the server that the tests of a file share, and ends it after them.
function sharedServer() {
  const shared = {};
  before(async () => {
    shared.server = await Server.start();
  });
  after(() => shared.server?.close());
  return shared;
}

// A client whose keys begin with the name of the test; it is closed after it.
function clientOf(t, server) {
  const client = server.client();
  t.after(() => client.close());
  return client.namespace(`${t.name}/`);
}

// Waits for a condition, with a bound.
async function until(what, holds) {
  for (const deadline = Date.now() + WAIT_MS; !(await holds()); await sleep(20)) {
    assert.ok(Date.now() < deadline, `within ${WAIT_MS} ms it did not come true that ${what}`);
  }
}

// Waits for a promise, with a bound.
async function within(what, promise) {
  const late = new AbortController();
  const bound = sleep(WAIT_MS, undefined, { signal: late.signal }).then(
    () => assert.fail(`within ${WAIT_MS} ms: ${what}`),
    () => undefined,
  );
  try {
    return await Promise.race([promise, bound]);
  } finally {
    late.abort();
  }
}

// Puts a key that is not there, over a server that goes and comes back. The client tries a put
// again by itself, whether or not it was done before, so who cares makes it a transaction.
async function putOnce(client, key, value) {
  for (const deadline = Date.now() + WAIT_MS; ; await sleep(50)) {
    try {
      await client.if(key, 'Create', '==', 0).then(client.put(key).value(value)).commit();
      return;
    } catch (error) {
      if (Date.now() > deadline) {
        throw error;
      }
    }
  }
}

module.exports = { clientOf, putOnce, sharedServer, until, within };
