"""Starts, kills and watches one server process, whichever program it is.

SERVER in the environment is the program, TRANSPORT is how clients reach it: "tcp", which is also
what is meant if it is not set, or "unix". Nothing here knows which server it is.
"""

import asyncio
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import aetcd

START_SECONDS = 60
STOP_SECONDS = 30


def transport():
    name = os.environ.get('TRANSPORT') or 'tcp'
    if name not in ('tcp', 'unix'):
        raise ValueError(f'TRANSPORT={name} is not known: tcp or unix')
    return name


class Server:
    """One process with its addresses, which stay the same when it is started again."""

    def __init__(self):
        program = os.environ.get('SERVER')
        if not program:
            raise RuntimeError('SERVER is not set: give the path of the server to test, etcd or tenet')
        self.program = str(pathlib.Path(program).resolve())
        # A short name: the path of a unix socket has room for about a hundred bytes.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='interop'))
        self.port, self.peer_port = free_port(), free_port()
        self.socket = self.folder / 'socket'
        self.process = None

    def start(self):
        """Starts the process, again if it had been there before, and waits until it serves."""
        client, peer = f'http://127.0.0.1:{self.port}', f'http://127.0.0.1:{self.peer_port}'
        listen = client if transport() == 'tcp' else f'{client},unix://{self.socket}'
        with open(self.folder / 'log', 'ab') as log:
            self.process = subprocess.Popen(
                [
                    self.program,
                    '--data-dir', str(self.folder / 'data'),
                    '--listen-client-urls', listen,
                    '--advertise-client-urls', client,
                    '--listen-peer-urls', peer,
                    '--initial-advertise-peer-urls', peer,
                    '--initial-cluster', f'default={peer}',
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready(client):
            if self.process.poll() is not None:
                raise RuntimeError(f'the server ended before it served: {self.log_tail()}')
            if time.monotonic() > deadline:
                raise RuntimeError(f'the server did not serve within {START_SECONDS} s: {self.log_tail()}')
            time.sleep(0.01)

    @staticmethod
    def _ready(client):
        try:
            with urllib.request.urlopen(f'{client}/readyz', timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        """Ends the process without letting it do anything more."""
        if self.process.poll() is not None:
            raise RuntimeError(f'the server had ended by itself: {self.log_tail()}')
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    async def restart(self):
        """Kills the process and starts it again while the caller's event loop goes on."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self):
        """A client of this server. aetcd knows a host and a port only; put together they are a
        name for gRPC, and "unix" with a path is one too."""
        if transport() == 'unix':
            return aetcd.Client(host='unix', port=str(self.socket), timeout=10)
        return aetcd.Client(host='127.0.0.1', port=self.port, timeout=10)

    def log_tail(self):
        return (self.folder / 'log').read_text(errors='replace')[-1500:]


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
