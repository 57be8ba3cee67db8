# SPDX-License-Identifier: Apache-2.0
"""What is compared: programs that do a job and answer with one line of JSON.

A job is (path, offset, length). A Worker is one process that does many jobs and keeps its memory
between them; a OneShot is a new process each time; Fio is fio. All of them answer a dict with at
least bytes, wall_seconds and cpu_seconds, taken inside the program, for the work alone.
"""
import json
import os
import pwd
import resource
import subprocess
import sys


class Failed(Exception):
    """A side could not do its job; what it said is the message."""


class User:
    """Whom the measured programs run as: an ordinary user with the default limits."""

    MEMLOCK = 8 << 20

    def __init__(self, name=None):
        self.name = name
        self.entry = None
        if name:
            self.entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)

    def limits(self):
        hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
        most = self.MEMLOCK if hard == resource.RLIM_INFINITY else min(hard, self.MEMLOCK)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))

    def popen(self):
        if not self.entry:
            return {}
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": [], "preexec_fn": self.limits}


class Side:
    """name: how a report calls it; command: for showing."""

    def __init__(self, name, command):
        self.name = name
        self.command = command

    def run(self, job):
        raise NotImplementedError

    def close(self):
        pass


def parse(text, name):
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            answer = json.loads(line)
            if "error" in answer:
                raise Failed(f"{name}: {answer['error']}")
            return answer
    raise Failed(f"{name}: no line of JSON in its output")


class Worker(Side):
    def __init__(self, name, command, user=None, env=None):
        super().__init__(name, command)
        self.user = user or User()
        self.env = {**os.environ, **(env or {})}
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        bufsize=1, env=self.env, **self.user.popen())

    def run(self, job):
        if not self.process:
            self.start()
        path, offset, length = job
        try:
            self.process.stdin.write(f"{offset} {length} {path}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.name}: ended with status {self.process.wait()}") from None
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name}: ended with status {self.process.wait()}")
        return parse(line, self.name)

    def close(self):
        if self.process:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # it ended before it read the last job
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process = None


class OneShot(Side):
    """{path}, {offset} and {length} in the command are replaced."""

    def __init__(self, name, command, user=None, env=None):
        super().__init__(name, command)
        self.user = user or User()
        self.env = {**os.environ, **(env or {})}

    def run(self, job):
        path, offset, length = job
        command = [part.format(path=path, offset=offset, length=length) for part in self.command]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, **self.user.popen())
        if done.returncode:
            raise Failed(f"{self.name}: status {done.returncode}: {done.stderr.strip()[-300:]}")
        return self.answer(done.stdout)

    def answer(self, text):
        return parse(text, self.name)


class WeirLoad(OneShot):
    """`weir load URI --json`: the last repetition (or the first, for fresh memory) of its list."""

    def __init__(self, name, command, user=None, which=-1):
        super().__init__(name, command, user)
        self.which = which

    def answer(self, text):
        document = json.loads(text)
        if "error" in document:
            raise Failed(f"{self.name}: {document['error']}")
        load = document["loads"][self.which]
        return {**load.get("counters", {}), **load, "bytes": load.get("bytes", document["bytes"])}


SETTINGS = ("256k x 64", "512k x 8", "512k x 32")


class Fio(Side):
    """fio reading a range directly. tuned: huge pages, fixed buffers, registered files; the fixed buffers
    need more locked memory than an ordinary user has, so fio may run as root beside an ordinary weir."""

    def __init__(self, request, depth, tuned=True, hugetlb=True):
        super().__init__(f"fio {request} x {depth}" + ("" if tuned else " (its defaults)"), [])
        self.command = ["fio", "--name=yard", "--rw=read", "--direct=1", "--ioengine=io_uring", f"--bs={request}",
                        f"--iodepth={depth}", "--invalidate=0", "--thread", "--zero_buffers", "--output-format=json"]
        if tuned:
            self.command += ["--fixedbufs=1", "--registerfiles=1", "--mem=mmaphuge" if hugetlb else "--mem=malloc"]
        self.env = dict(os.environ)
        if tuned and not hugetlb:  # the C library's own way to huge pages
            self.env["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"

    def run(self, job):
        path, offset, length = job
        command = self.command + [f"--filename={path}", f"--offset={offset}", f"--size={length}",
                                  f"--io_size={length}"]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env)
        if done.returncode:
            raise Failed(f"{self.name}: status {done.returncode}: {(done.stderr + done.stdout).strip()[-300:]}")
        result = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
        wall = result["read"]["runtime"] / 1000
        cpu = (result["usr_cpu"] + result["sys_cpu"]) / 100 * result["job_runtime"] / 1000
        return {"bytes": result["read"]["io_bytes"], "wall_seconds": wall, "cpu_seconds": cpu,
                "page_faults": result["minf"] + result["majf"]}


class Several(Side):
    """Does a job as `parts` jobs one after the other and adds up: more bytes than one destination holds."""

    def __init__(self, side, parts):
        super().__init__(side.name, side.command)
        self.side = side
        self.parts = parts

    def run(self, job):
        path, offset, length = job
        share = length // self.parts
        answers = [self.side.run((path, offset + i * share, share)) for i in range(self.parts)]
        total = dict(answers[-1])
        for key in ("bytes", "wall_seconds", "cpu_seconds", "page_faults", "disk_bytes", "requests", "enters",
                    "bytes_copied", "bytes_requested"):
            if all(key in answer for answer in answers):
                total[key] = sum(answer[key] for answer in answers)
        return total

    def close(self):
        self.side.close()


def peer(venv, script, *args, name=None, user=None, env=None, worker=False):
    """A side out of bench/peers, run by the Python of its virtual environment."""
    here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers", script)
    command = [os.path.join(venv, "bin", "python"), "-B", here, *args]
    return (Worker if worker else OneShot)(name or script, command, user, env)


def warn(text):
    print(text, file=sys.stderr, flush=True)
