"""Two writers that two killers end at random, and four readers, all on one checkpoint: every load
must find a whole save. With the exchange of folders, and with two renames as on other systems."""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading

import process

SAVES = int(os.environ.get("MOE_STORM_SAVES", 1000))
READERS, KILLERS = 4, 2
FOREVER = 10 ** 9


class Storm:
    """Counts what writers and readers say; one writer for each killer."""

    def __init__(self, program, folder, way):
        self.program, self.folder, self.way = program, folder, way
        self.lock = threading.Lock()
        self.saved = self.loaded = self.killed = 0
        self.errors = []

    def command(self, mode):
        return [self.program, mode, self.folder, str(FOREVER), self.way]

    def done(self):
        return self.saved >= SAVES or len(self.errors) > 0

    def write_and_kill(self, seed):
        """Starts a writer, lets it save a random number of times, kills it at a random moment of
        the next save, and so on."""
        choose = random.Random(seed)
        while not self.done():
            with subprocess.Popen(self.command("write"), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) as writer:
                for _ in range(choose.randrange(1, 40)):
                    if not writer.stdout.readline():
                        self.errors.append("writer: " + writer.stderr.read())
                        break
                    with self.lock:
                        self.saved += 1
                threading.Event().wait(choose.random() * 0.004)
                writer.kill()
                self.killed += 1

    def read(self):
        with subprocess.Popen(self.command("read"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as reader:
            while not self.done():
                if not reader.stdout.readline():
                    self.errors.append("reader: " + reader.stderr.read())
                    break
                with self.lock:
                    self.loaded += 1
            reader.kill()

    def run(self):
        threads = [threading.Thread(target=self.write_and_kill, args=(i,)) for i in range(KILLERS)]
        threads += [threading.Thread(target=self.read) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


checks = process.Checks()
program = process.program("folder_storm")
for way in ("exchange", "rename"):
    with tempfile.TemporaryDirectory() as scratch:
        folder = os.path.join(scratch, "last")
        process.must(program, "write", folder, 1, way)
        storm = Storm(program, folder, way)
        storm.run()
        checks.check(storm.errors == [], f"{way}: {storm.errors[:3]}")
        checks.check(storm.saved >= SAVES, f"{way}: {storm.saved} saves")
        checks.check(storm.loaded > 0 and storm.killed > 0, f"{way}: loads and kills happened")
        process.must(program, "read", folder, 1, way)
        process.must(program, "write", folder, 1, way)  # removes what killed writers left
        left = sorted(path.name for path in pathlib.Path(scratch).iterdir())
        checks.check(left == ["last"], f"{way}: nothing is left beside it: {left}")
        print(f"{way}: {storm.saved} saves, {storm.killed} writers killed, {storm.loaded} loads, "
              f"{len(storm.errors)} unreadable", flush=True)
checks.end()
