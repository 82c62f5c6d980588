"""Another network beside ours, which can go away; needs root and ip."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000


class NoNetworks(Exception):
    """None can be made here."""


class Elsewhere:
    """A network namespace, joined to ours by one cable, which can be pulled."""

    def __init__(self):
        self.ip = shutil.which("ip", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        self.name = f"rw{os.getpid()}"
        # Of the block for tests between networks (RFC 2544), four addresses for each process.
        third, fourth = divmod(os.getpid() % 16_000, 64)
        self.here, self.there = (f"198.18.{third}.{fourth * 4 + host}" for host in (1, 2))

    def run(self, *words: str) -> None:
        done = subprocess.run([self.ip, *words], capture_output=True, text=True)
        if done.returncode:
            raise NoNetworks(done.stderr.strip())

    def __enter__(self) -> "Elsewhere":
        if self.ip is None or os.geteuid() != 0:
            raise NoNetworks("a network of one's own needs root and ip (Debian's package iproute2)")
        near, far = f"{self.name}a", f"{self.name}b"
        try:
            self.run("netns", "add", self.name)
            self.run("link", "add", near, "type", "veth", "peer", "name", far, "netns", self.name)
            self.run("addr", "add", f"{self.here}/30", "dev", near)
            self.run("link", "set", near, "up")
            self.run("-n", self.name, "addr", "add", f"{self.there}/30", "dev", far)
            self.run("-n", self.name, "link", "set", far, "up")
        except NoNetworks:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for words in (("link", "del", f"{self.name}a"), ("netns", "del", self.name)):
            subprocess.run([self.ip, *words], capture_output=True)

    def pull(self) -> None:
        """From now on nothing arrives, in either direction, and nobody is told."""
        self.run("-n", self.name, "link", "set", f"{self.name}b", "down")

    def connect(self, address, count: int) -> list[socket.socket]:
        """Connections made over there: a socket stays in the network it was made in."""
        made: list[socket.socket] = []
        failed: list[OSError] = []

        def there():
            try:
                with open(f"/run/netns/{self.name}") as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                made.extend(socket.create_connection(address, 10) for _ in range(count))
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made
