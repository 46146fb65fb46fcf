'use strict';
// Starts, kills and watches one server process, whichever program it is.
//
// SERVER in the environment is the program, TRANSPORT is how clients reach it: "tcp", which is also
// what is meant if it is not set, or "unix". Nothing here knows which server it is.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { Etcd3 } = require('etcd3');

const START_MS = 60_000;
const STOP_MS = 30_000;
const ASK_MS = 10;

function transport() {
  const name = process.env.TRANSPORT || 'tcp';
  if (name !== 'tcp' && name !== 'unix') {
    throw new Error(`TRANSPORT=${name} is not known: tcp or unix`);
  }
  return name;
}

async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

// One process with its addresses, which stay the same when it is started again.
class Server {
  static async start() {
    if (!process.env.SERVER) {
      throw new Error('SERVER is not set: give the path of the server to test, etcd or tenet');
    }
    const server = new Server();
    server.program = path.resolve(process.env.SERVER);
    // A short name: the path of a unix socket has room for about a hundred bytes.
    server.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'interop'));
    server.socket = path.join(server.folder, 'socket');
    server.url = `http://127.0.0.1:${await freePort()}`;
    server.peer = `http://127.0.0.1:${await freePort()}`;
    await server.launch();
    return server;
  }

  // Starts the process, again if it had been there before, and waits until it serves.
  async launch() {
    const log = fs.openSync(path.join(this.folder, 'log'), 'a');
    const listen = transport() === 'tcp' ? this.url : `${this.url},unix://${this.socket}`;
    this.process = spawn(
      this.program,
      [
        ['--data-dir', path.join(this.folder, 'data')],
        ['--listen-client-urls', listen],
        ['--advertise-client-urls', this.url],
        ['--listen-peer-urls', this.peer],
        ['--initial-advertise-peer-urls', this.peer],
        ['--initial-cluster', `default=${this.peer}`],
      ].flat(),
      { stdio: ['ignore', log, log] },
    );
    fs.closeSync(log);
    this.ended = once(this.process, 'exit');
    for (const deadline = Date.now() + START_MS; !(await this.ready()); await sleep(ASK_MS)) {
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        throw new Error(`the server ended before it served: ${this.logTail()}`);
      }
      if (Date.now() > deadline) {
        throw new Error(`the server did not serve within ${START_MS} ms: ${this.logTail()}`);
      }
    }
  }

  async ready() {
    try {
      const answer = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(1000) });
      await answer.text();
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  // Ends the process without letting it do anything more.
  async kill() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) {
      throw new Error(`the server had ended by itself: ${this.logTail()}`);
    }
    this.process.kill('SIGKILL');
    const late = new AbortController();
    const bound = sleep(STOP_MS, undefined, { signal: late.signal }).then(
      () => Promise.reject(new Error(`the server did not end within ${STOP_MS} ms`)),
      () => undefined,
    );
    await Promise.race([this.ended, bound]);
    late.abort();
  }

  async restart() {
    await this.kill();
    await this.launch();
  }

  close() {
    this.process.kill('SIGKILL');
    fs.rmSync(this.folder, { recursive: true, force: true });
  }

  // A client of this server.
  client(options = {}) {
    const hosts = transport() === 'tcp' ? this.url : `unix://${this.socket}`;
    return new Etcd3({ hosts, ...options });
  }

  logTail() {
    return fs.readFileSync(path.join(this.folder, 'log'), 'utf8').slice(-1500);
  }
}

module.exports = { Server };
