# SPDX-License-Identifier: Apache-2.0
"""What is measured against the yardsticks: weir, or yardsticks in its place (to try the harness, and to
see what a plain program reaches). A subject makes sides; one that it has not answers None."""
import os

from .sides import OneShot, WeirLoad, Worker


class Weir:
    def __init__(self, build, user):
        self.load = os.path.join(build, "bench", "weir-load")
        self.command = os.path.join(build, "cli", "weir")
        self.user = user

    def worker(self, name, *options, wrap=()):
        return Worker(name, [*wrap, self.load, *options], self.user)

    def kept(self, name="weir", *options, wrap=()):
        """Any range, weir's own memory, kept: its defaults unless options say otherwise."""
        return self.worker(name, "-w", "range", "-m", "kept", *options, wrap=wrap)

    def pinned(self, name="weir as root, kept memory pinned"):
        """The same as root, who may lock memory: what is kept is registered with the kernel."""
        return Worker(name, [self.load, "-w", "range", "-m", "kept", "-p", "64g"])

    def fresh(self, name="weir, fresh memory"):
        return self.worker(name, "-w", "range", "-m", "fresh")

    def into(self, name="weir, into ours", *options):
        """Into a touched destination of the caller."""
        return self.worker(name, "-w", "range", "-m", "host", *options)

    def mapped(self, name="weir, mapped and summed"):
        return self.worker(name, "-w", "load", "-m", "kept", "-M", "-s")

    def odd(self, name="weir, odd destinations"):
        return self.worker(name, "-w", "load", "-m", "odd")

    def model(self, name="weir load"):
        return WeirLoad(name, [self.command, "load", "--json", "--quiet", "{path}"], self.user)

    def opening(self, name="weir, open and plan"):
        return self.worker(name, "-w", "open")

    def inspect(self, file):
        return [self.command, "inspect", "--json", file]


class Yard:
    """Yardsticks where weir would stand."""

    def __init__(self, build, user):
        self.folder = os.path.join(build, "bench", "yard")
        self.user = user

    def worker(self, name, program, *options, wrap=()):
        return Worker(name, [*wrap, os.path.join(self.folder, "yard-" + program), *options], self.user)

    def kept(self, name="weir", *options, wrap=()):
        if wrap:
            return self.worker(name, "pread", "-d", "-t", "4", wrap=wrap)
        return self.worker(name, "uring", "-u", "-b", "512k", "-q", "32")

    def pinned(self, name="weir as root, kept memory pinned"):
        return Worker(name, [os.path.join(self.folder, "yard-uring"), "-b", "512k", "-q", "32"])

    def fresh(self, name="weir, fresh memory"):
        return self.worker(name, "uring", "-u", "-p", "fresh-huge")

    def into(self, name="weir, into ours", *options):
        return self.worker(name, "pread", "-t", options[1] if options else "1")

    def mapped(self, name="weir, mapped and summed"):
        return self.worker(name, "sum", "-m", "map")

    def odd(self, name="weir, odd destinations"):
        return None

    def model(self, name="weir load"):
        return None

    def opening(self, name="weir, open and plan"):
        return None

    def inspect(self, file):
        return None


def yardstick(build, name, program, *options, user=None):
    return Worker(name, [os.path.join(build, "bench", "yard", "yard-" + program), *options], user)


def one_shot(build, name, program, *options, user=None):
    return OneShot(name, [os.path.join(build, "bench", "yard", "yard-" + program), *options], user)
