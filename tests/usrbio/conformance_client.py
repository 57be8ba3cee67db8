#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our client, through the library with the vendor's C interface, against the stub server, which shares nothing with it."""
import ctypes
import errno
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import abi
from rig import Child, RingTest, Stub, descriptors, main, shm_names, sized, take, wait_until

GRAMMAR = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.b\d+)?(\.[rw]-?\d+(\.p[hln])?\.t\d+(\.f[01]+)?)?")


class Client(RingTest):
    def setUp(self):
        super().setUp()
        self.library = abi.load()
        self.content = self.pattern("f", 300007)
        self.stub = self.start(Stub)

    def client(self, **how):
        return self.closing(abi.Client(self.library, self.point, **how))

    def register(self, name="f", flags=os.O_RDONLY):
        fd, _ = self.open(name, flags)
        self.assertLessEqual(self.library.hf3fs_reg_fd(fd, 0), 0)
        self.addCleanup(self.library.hf3fs_dereg_fd, fd)
        return fd

    def keys(self):
        return self.stub.tell("keys").split()

    # ---- Layout and names ----

    def test_UB_01_sizes_of_rings(self):
        for entries, size in ((1, 4336), (4, 4624), (16, 5776), (64, 10384), (1024, 102544)):
            self.assertEqual(self.library.hf3fs_ior_size(entries), size)

    def test_UB_02_sizes_of_structures(self):
        self.assertEqual([ctypes.sizeof(t) for t in (abi.Iov, abi.Ior, abi.Cqe)], [312, 600, 24])

    def test_UB_03_keys_match_the_grammar(self):
        self.client(entries=5, block=4096, depth=-3, timeout=7, flags=3)
        keys = self.keys()
        self.assertEqual(len(keys), 2, keys)
        for key in keys:
            self.assertTrue(GRAMMAR.fullmatch(key), key)
        self.assertTrue(any(key.endswith(".r-3.t7.f11") for key in keys), keys)
        self.assertTrue(any(key.endswith(".b4096") for key in keys), keys)
        self.assertEqual(self.stub.tell("complaints"), "")

    def test_UB_04_RG_52_links_go_whatever_the_flags(self):
        for _ in range(sized(5, 25000)):
            for flags in range(4):
                abi.Client(self.library, self.point, flags=flags).close()
        self.assertEqual(self.keys(), [])
        self.assertEqual(json.loads(self.stub.tell("state"))["unknown_unlinks"], 0)
        self.assertEqual(shm_names() - self.shm_before - self.bells(), set())

    def bells(self):
        return {name for name in shm_names() if name.startswith("sem.")}

    # ---- Mounts and files ----

    def mount_of(self, path, size=256):
        room = ctypes.create_string_buffer(b"\xa5" * 300, 300)
        return self.library.hf3fs_extract_mount_point(room, size, os.fsencode(path)), room.raw

    def test_UB_15_16_the_mount_of_a_path(self):
        real = os.path.realpath(self.point)
        length, room = self.mount_of(self.path("f"))
        self.assertEqual((length, room[:length]), (len(real) + 1, os.fsencode(real) + b"\0"))
        self.assertEqual(self.mount_of("/etc")[0], -1)
        self.assertEqual(self.mount_of(self.path("not there"))[0], -1)
        self.assertEqual(self.mount_of(self.path("f"), len(real)), (len(real) + 1, b"\xa5" * 300))

    def test_UB_19_20_RG_50_descriptors(self):
        outside = os.open("/etc/passwd", os.O_RDONLY)
        self.assertEqual(self.library.hf3fs_reg_fd(outside, 0), errno.EBADF)
        os.close(outside)
        self.make("g", b"g" * 100)
        fd = os.open(self.path("f"), os.O_RDONLY)
        self.assertLessEqual(self.library.hf3fs_reg_fd(fd, 0), 0)
        self.assertEqual(self.library.hf3fs_reg_fd(fd, 0), errno.EINVAL)
        os.close(fd)
        self.assertEqual(os.open(self.path("g"), os.O_RDONLY), fd, "the number is used again")
        self.assertEqual(self.library.hf3fs_reg_fd(fd, 0), errno.EINVAL)
        client = self.client()
        self.assertEqual(client.read(fd, 0, 100), 100)
        self.assertEqual(client.iov.bytes(0, 100), self.content[:100], "the old file")
        self.library.hf3fs_dereg_fd(fd)
        self.assertLessEqual(self.library.hf3fs_reg_fd(fd, 0), 0)
        self.assertEqual(client.read(fd, 0, 100), 100)
        self.assertEqual(client.iov.bytes(0, 100), b"g" * 100)
        self.library.hf3fs_dereg_fd(fd)
        self.library.hf3fs_dereg_fd(fd)
        self.assertEqual(client.prepare(fd, 0, 1), -errno.EBADF)
        os.close(fd)

    def test_UB_21_RG_51_what_prepare_refuses(self):
        reader, writer = self.client(), self.client(read=False)
        read_only, write_only = self.register(), self.register(flags=os.O_WRONLY)
        plain, _ = self.open("f")
        call, byref = self.library.hf3fs_prep_io, ctypes.byref
        base = reader.iov.base

        def prep(client, read, at, fd, length):
            return call(byref(client.ior), byref(client.iov), read, at, fd, 0, length, None)

        self.assertEqual(prep(writer, False, writer.iov.base, read_only, 1), -errno.EACCES)
        self.assertEqual(prep(reader, True, base, write_only, 1), -errno.EACCES)
        self.assertEqual(prep(reader, False, base, read_only, 1), -errno.EINVAL)
        self.assertEqual(prep(reader, True, base, plain, 1), -errno.EBADF)
        for at, length in ((base, 0), (base, 65537), (base + 65536, 1), (base - 1, 1), (base + 1, 65536),
                           (base, 2**64 - 1), (2**64 - 4096, 8192)):
            self.assertEqual(prep(reader, True, at, read_only, length), -errno.EINVAL, (at - base, length))
        self.assertEqual(call(None, byref(reader.iov), True, base, read_only, 0, 1, None), -errno.EINVAL)
        self.assertEqual(call(byref(reader.ior), None, True, base, read_only, 0, 1, None), -errno.EINVAL)
        for fd in (-1, 1 << 30, -(1 << 30)):
            self.assertIn(prep(reader, True, base, fd, 1), (-errno.EINVAL, -errno.EBADF))

    # ---- The ring ----

    def test_UB_22_full_means_collect(self):
        self.stub.do("hold on")
        client, fd = self.client(entries=8), self.register()
        self.assertEqual([client.prepare(fd, 0, 10) for _ in range(9)], [*range(8), -errno.EAGAIN])
        client.submit()
        self.stub.do("hold off")
        self.assertEqual(len(client.wait(8)), 8)
        self.assertEqual(client.prepare(fd, 0, 10), 0)

    def test_UB_23_one_entry(self):
        client, fd = self.client(entries=1), self.register()
        for n in range(sized(1000, 10000)):
            self.assertEqual(client.prepare(fd, n, 16, userdata=n + 1), 0)
            client.submit()
            self.assertEqual(client.wait(), [(0, 16, n + 1)])
            self.assertEqual(client.iov.bytes(0, 16), self.content[n:n + 16])

    def test_UB_24_25_random_requests_in_any_order(self):
        """Batches like the vendor's: a slow one holds sqeTail back, which is no error."""
        for batching in ("off", "on"):
            self.stub.do("batch " + batching)
            self.stub.do("jitter 1" if batching == "on" else "jitter 0")
            self.random_requests(sized(1500, 500000) if batching == "off" else sized(200, 20000))

    def random_requests(self, count):
        chance, entries = random.Random(1), 13
        client, fd = self.client(entries=entries), self.register()
        flying, done = {}, 0
        while done < count:
            while len(flying) < entries and chance.random() < 0.9:
                offset, length = chance.randrange(310000), chance.randrange(1, 4096)
                index = client.prepare(fd, offset, length, at=4096 * (len(flying) % 13), userdata=offset + 1)
                if index == -errno.EAGAIN:
                    break
                self.assertNotIn(index, flying)
                flying[index] = (offset, length)
            client.submit()
            for index, result, userdata in client.wait(1 if flying else 0):
                offset, length = flying.pop(index)
                self.assertEqual(userdata, offset + 1)
                self.assertEqual(result, max(0, min(length, len(self.content) - offset)))
                done += 1
        self.assertEqual(len(client.wait(len(flying))), len(flying))

    def test_UB_26_RG_28_one_prepares_another_collects(self):
        client, fd = self.client(entries=16), self.register()
        count, seen = sized(2000, 100000), []

        def collect():
            while len(seen) < count:
                seen.extend(client.wait())

        thread = threading.Thread(target=collect)
        thread.start()
        for n in range(count):
            while client.prepare(fd, n % 300000, 7, userdata=n + 1) == -errno.EAGAIN:
                time.sleep(0.0001)
            client.submit()
        thread.join(60)
        self.assertEqual(sorted(userdata for _, _, userdata in seen), list(range(1, count + 1)))

    def test_UB_27_a_real_wait_does_not_spin(self):
        client, fd = self.client(entries=16), self.register()
        for _ in range(1000):
            client.prepare(fd, 0, 8)
            client.submit()
            self.assertTrue(wait_until(lambda: client.wait(0, 1), every=0.0002))
        self.stub.do("fault delay 100")
        client.prepare(fd, 0, 8)
        client.submit()
        before = time.thread_time()
        self.assertEqual(len(client.wait()), 1)
        self.assertLess(time.thread_time() - before, 0.02)

    def test_UB_28_RG_46_times(self):
        client, fd = self.client(), self.register()
        self.stub.do("hold on")
        client.prepare(fd, 0, 8)
        client.submit()
        for seconds, least, most in ((-5, 0, 0.04), (0.05, 0.045, 0.3)):
            start = time.monotonic()
            self.assertEqual(client.wait(1, seconds=seconds), [])
            self.assertTrue(least <= time.monotonic() - start <= most, seconds)
        start = time.monotonic()
        self.assertEqual(client.wait(0, seconds=None), [])
        self.assertLess(time.monotonic() - start, 0.05)
        self.assertEqual(client.wait_raw(0), -errno.EINVAL)
        odd = abi.TimeSpec(int(time.time()), 10**9)
        self.assertEqual(self.library.hf3fs_wait_for_ios(ctypes.byref(client.ior), client.cqes, 4, 1, ctypes.byref(odd)),
                         -errno.EINVAL)
        self.stub.do("hold off")
        self.assertEqual(len(client.wait(100, most=1, seconds=None)), 1, "min is cut to the array")

    # ---- Hostile servers ----

    def one(self, fault, expected):
        client, fd = self.client(), self.register()
        self.stub.do("fault " + fault)
        self.assertEqual(client.prepare(fd, 0, 100, userdata=7), 0)
        client.submit()
        try:
            return client.wait(seconds=2)
        except OSError as error:
            self.assertEqual(error.errno, expected, fault)
            self.assertEqual(client.prepare(fd, 0, 1), -errno.EPROTO, "the ring is dead")
            return None

    def test_RG_40_wrong_indices(self):
        for fault in ("index 5", "index -1", "index 8", "index 2147483647", "index -2147483648"):
            self.assertIsNone(self.one(fault, errno.EPROTO), fault)

    def test_RG_40_twice(self):
        client, fd = self.client(), self.register()
        self.stub.do("fault twice 0")
        for n in range(2):
            client.prepare(fd, n, 10, userdata=n + 1)
        client.submit()
        with self.assertRaises(OSError) as raised:
            while client.wait(seconds=2):
                pass
        self.assertEqual(raised.exception.errno, errno.EPROTO)

    def test_UB_37_RG_41_results_too_large(self):
        self.assertEqual(self.one("add 50", 0), [(0, 100, 7)], "clamped")
        self.assertIsNone(self.one("result 65537", errno.EPROTO))
        self.assertIsNone(self.one("result 4294967296", errno.EPROTO))

    def test_RG_42_heads(self):
        for head in (-1, 9, 1 << 30):
            self.assertIsNone(self.one(f"head {head}", errno.EPROTO), head)

    def test_RG_44_userdata_is_our_own(self):
        self.assertIsNone(self.one("userdata 1", errno.EPROTO))

    def test_RG_48_doorbells(self):
        for text in ("/dev/shm/sem." + "x" * 300, "/etc/passwd", "/dev/shm/hf3fs-iov-x", "/dev/shm/sem.", "x"):
            self.stub.do("doorbell " + text)
            with self.assertRaises(OSError):
                abi.Client(self.library, self.point)
        self.stub.do("doorbell")
        self.client()
        iov = abi.Iov()
        self.assertEqual(self.library.hf3fs_iovcreate(ctypes.byref(iov), b"/" + b"x" * 255, 4096, 0, -1), -errno.EINVAL)

    def test_refused_registration_leaves_nothing(self):
        before = descriptors(os.getpid())
        for number in (errno.EACCES, errno.EMFILE, errno.EINVAL, errno.EIO):
            self.stub.do(f"refuse {number}")
            iov = abi.Iov()
            self.assertEqual(self.library.hf3fs_iovcreate(ctypes.byref(iov), os.fsencode(self.point), 4096, 0, -1),
                             -number)
            self.library.hf3fs_iovdestroy(ctypes.byref(iov))
        self.stub.do("refuse 0")
        self.assertEqual(shm_names() - self.shm_before - self.bells(), set())
        self.assertLessEqual(descriptors(os.getpid()), before + 4)

    def test_C_73_hostile_callers(self):
        client, byref = self.client(), ctypes.byref
        for _ in range(3):
            client.close()
        self.library.hf3fs_dereg_fd(-1)
        self.library.hf3fs_dereg_fd(12345)
        self.library.hf3fs_iovdestroy(None)
        self.library.hf3fs_iordestroy(None)
        iov, ior = abi.Iov(), abi.Ior()
        for size, block in ((0, 0), (4096, 4097)):
            self.assertEqual(self.library.hf3fs_iovcreate(byref(iov), os.fsencode(self.point), size, block, -1),
                             -errno.EINVAL)
        self.assertLess(self.library.hf3fs_iovcreate(byref(iov), b"/not/there", 4096, 0, -1), 0)
        for entries, timeout in ((0, 0), (-1, 0), (1 << 30, 0), (4, -1)):
            self.assertEqual(self.library.hf3fs_iorcreate3(byref(ior), os.fsencode(self.point), entries, True, 0, 0,
                                                           timeout, -1), -errno.EINVAL)
        self.assertEqual(self.library.hf3fs_submit_ios(byref(ior)), -errno.EINVAL)

    def test_another_process_opens_and_wraps(self):
        client, fd = self.client(), self.register()
        key = bytes(client.iov.id)

        def other():
            iov = abi.Iov()
            library = abi.load()
            code = library.hf3fs_iovopen(ctypes.byref(iov), key, os.fsencode(self.point), 1 << 16, 0, -1)
            if code:
                return code
            ctypes.memmove(iov.base, b"from another", 12)
            return iov.size

        self.assertEqual(Child(lambda _: other()).result(), 1 << 16)
        self.assertEqual(client.iov.bytes(0, 12), b"from another")
        wrapped = abi.Iov()
        self.assertEqual(self.library.hf3fs_iovwrap(ctypes.byref(wrapped), client.iov.base, key,
                                                    os.fsencode(self.point), 1 << 16, 0, -1), 0)
        self.assertEqual(self.library.hf3fs_prep_io(ctypes.byref(client.ior), ctypes.byref(wrapped), True,
                                                    wrapped.base + 500, fd, 9, 20, None), 0)
        client.submit()
        self.assertEqual(client.wait(), [(0, 20, 0)])
        self.assertEqual(client.iov.bytes(500, 20), self.content[9:29])
        self.library.hf3fs_iovdestroy(ctypes.byref(wrapped))
        self.assertEqual(client.read(fd, 0, 10), 10, "what was wrapped is the caller's")

    # ---- Dead servers ----

    def flying(self, entries=4, **how):
        client, fd = self.client(entries=entries, **how), self.register()
        self.stub.do("hold on")
        for n in range(entries):
            client.prepare(fd, n, 10, userdata=n + 1)
        client.submit()
        return client, fd

    def gone(self, client, entries=4):
        start = time.monotonic()
        seen = []
        while len(seen) < entries:
            seen += client.wait(entries - len(seen), seconds=None)
        self.assertLess(time.monotonic() - start, 2.5)
        self.assertEqual({result for _, result, _ in seen}, {-errno.ENOTCONN})
        self.assertEqual(sorted(userdata for _, _, userdata in seen), list(range(1, entries + 1)))

    def test_UB_48_RG_37_killed(self):
        client, fd = self.flying()
        threading.Timer(0.2, self.stub.kill).start()
        self.gone(client)
        self.assertEqual(client.prepare(fd, 0, 1), -errno.ENOTCONN)

    def test_UB_48_RG_37_killed_halfway(self):
        client, fd = self.client(entries=8), self.register()
        self.stub.do("fault die 0 1 4")
        for n in range(8):
            client.prepare(fd, n, 10, userdata=n + 1)
        client.submit()
        seen = []
        while len(seen) < 8:
            seen += client.wait(8 - len(seen), seconds=None)
        self.assertEqual(sorted(userdata for _, _, userdata in seen), list(range(1, 9)))
        self.assertEqual({result for _, result, _ in seen}, {10, -errno.ENOTCONN})

    def test_UB_48_RG_39_restarted(self):
        client, fd = self.flying()
        self.stub.do("restart")
        self.gone(client)
        self.stub.do("hold off")
        again = self.client()
        self.assertEqual(again.read(fd, 3, 10), 10)
        self.assertEqual(again.iov.bytes(0, 10), self.content[3:13])

    def test_RG_38_stopped_with_a_time_limit(self):
        client, _ = self.flying()
        self.stub.kill(signal.SIGSTOP)
        start = time.monotonic()
        self.assertEqual(client.wait(4, seconds=2.5), [], "nothing yet, as the interface says it")
        self.assertLess(time.monotonic() - start, 2.8)
        self.stub.kill(signal.SIGCONT)
        self.stub.do("hold off")
        self.assertEqual(len(client.wait(4)), 4, "what was in flight came after all")

    def test_UB_47_C_77_killed_clients_leave_nothing_that_we_could_take_away(self):
        """The drop-in keeps the name of an iov, for others may open it by that; rings have none."""
        def victim(connection):
            mine = abi.Client(abi.load(), self.point)
            connection.send("made")
            time.sleep(60)
            return mine

        child = Child(victim)
        child.receive()
        child.kill()
        left = [name for name in shm_names() - self.shm_before if name.startswith("hf3fs-iov-")]
        self.assertEqual(len(left), 1, "its buffer's; our daemon removes it")
        os.unlink("/dev/shm/" + left[0])

    def test_a_forked_child_touches_nothing(self):
        client, fd = self.client(), self.register()

        def child(_):
            answers = client.prepare(fd, 0, 10), client.submit(), client.wait_raw(least=0)
            client.close()
            return answers

        self.assertEqual(Child(child).result(), (-errno.EPERM,) * 3)
        self.assertEqual(len(self.keys()), 2)
        self.assertEqual(client.read(fd, 0, 10), 10)

    def test_UB_50_no_room(self):
        def full():
            subprocess.run(["unshare", "--help"], stdout=subprocess.DEVNULL, check=True)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(0x20000) or libc.mount(b"none", b"/", None, 0x44000, None):
                return "not permitted"
            if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=1m"):
                return "not permitted"
            iov, library = abi.Iov(), abi.load()
            return [library.hf3fs_iovcreate(ctypes.byref(iov), os.fsencode(self.point), size, 0, -1)
                    for size in (4 << 20, 3 << 30)] + [os.listdir("/dev/shm")]

        answer = Child(lambda _: full()).result()
        self.assertEqual(answer, [-errno.ENOSPC, -errno.ENOSPC, []])


class Loading(RingTest):
    def test_C_70_the_library_itself(self):
        lines = subprocess.run(["readelf", "-dW", abi.PATH], capture_output=True, text=True, check=True).stdout
        self.assertIn("soname: [libhf3fs_api_shared.so]", lines)
        self.assertEqual(re.findall(r"Shared library: \[(.*)\]", lines), ["libc.so.6"])
        names = subprocess.run(["nm", "-D", "--defined-only", abi.PATH], capture_output=True, text=True,
                               check=True).stdout
        self.assertEqual({line.split()[2] for line in names.splitlines()}, set(abi.SIGNATURES))

    def test_it_loads_in_no_time(self):
        """A millisecond of processor time at most, the dynamic linker's included."""
        best = min(self.seconds() for _ in range(20))
        self.assertLess(best, 0.001)

    @staticmethod
    def seconds():
        code = (f"import ctypes, time; ctypes.CDLL(None); t = time.process_time(); ctypes.CDLL({abi.PATH!r}); "
                "print(time.process_time() - t)")
        return float(subprocess.run(["python3", "-Sc", code], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
