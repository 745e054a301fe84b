"""One round: make a group, hurt it as the plan says, heal it, and look at what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memsync import MemSync
from memsync.testing import Cluster, Peer, until

from . import leftovers
from .checkers import violations
from .history import NEVER, Calm, History, Hurt, Writer, read_notes
from .plan import Step, draw
from .writer import FOUNDING, STOP, Task, be_calm, log_into, make_child, restart, take_part

NAME = "chaos"
MOST = 7  # members at a time
_ENOUGH = 3  # that are well, before one of them is hurt: two are left
_LONG = 60.0  # seconds that writers have to come to an end; writes have 20
_MENDING = 2.5  # seconds without a freeze after a deletion: the files are repaired


@dataclass(eq=False)
class Member:
    """A peer of the group; without a pipe it is a child process of another one."""

    writer: Writer
    process: leftovers.Process
    peer: Peer | None
    ticket: int = 0
    frozen_at: float | None = None
    is_leaving: bool = False
    calms: int = 0

    @property
    def name(self) -> str:
        return self.writer.name

    @property
    def pid(self) -> int:
        return self.process.pid


class Round:
    """A round of one seed; `violations` says what was wrong with it."""

    def __init__(self, seed: int, method: str | None = None) -> None:
        self.plan = draw(seed, method)
        self.history = History(fewest=self.plan.members)
        self.counts: Counter[str] = Counter()
        # A socket's path has little room, so the folder of the notes is another one.
        self.root = Path(tempfile.mkdtemp(prefix="ms-", dir=_short_place()))
        self.notes = Path(tempfile.mkdtemp(prefix="memsync-chaos-"))
        self._seed = seed
        self._place = self.root / f"{NAME}.d"
        self._cluster = Cluster(method=self.plan.method)
        self._members: list[Member] = []
        self._stops: list[tuple[Member, int]] = []
        self._processes: set[leftovers.Process] = set()
        self._mended_at = 0.0
        self._story: list[str] = []

    # -- the course of a round -------------------------------------------------------------------

    def run(self) -> list[str]:
        """What is wrong, if anything; then the notes stay for whoever wants to know why."""
        try:
            with self._cluster, self._killing_children():
                self._try(self._all)
            if not self.history.trouble:
                self._try(self._look_for_leftovers)
            for writer in self.history.writers.values():
                read_notes(self.notes / writer.name, writer)
            found = violations(self.history)
        except BaseException:  # somebody ended it, so there is nothing to look into
            shutil.rmtree(self.notes)
            raise
        finally:
            leftovers.remove(self.root)
        if not found:
            shutil.rmtree(self.notes)
        else:
            (self.notes / "story").write_text("\n".join(self._story) + "\n")
        return found

    def _all(self) -> None:
        for _ in range(self.plan.members):
            self._join(random.Random(len(self._members)))
            until(lambda: self._has_started(self._members[-1]))
        for step in self.plan.steps:
            self._do(step)
        self._heal()
        self._look()
        self._end()

    def _do(self, step: Step) -> None:
        time.sleep(step.pause)  # the rhythm of the plan; nothing is waited for
        rnd = random.Random(step.seed)
        self.counts[step.fault] += 1
        fault: Callable[[random.Random], None] = getattr(self, f"_{step.fault}")
        fault(rnd)
        living = [member for member in self._members if self._is_there(member)]
        self.history.fewest = min(self.history.fewest, len(living))

    def _try(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # whatever it is, the round has failed
            self._tell(traceback.format_exc())
            self.history.trouble.append(f"{type(error).__name__}: {error}")
            for member in self._members:
                # Those that are dead have given their numbers back, perhaps to somebody else.
                if member.process.is_running():
                    os.kill(member.pid, signal.SIGCONT)
                    os.kill(member.pid, signal.SIGUSR1)  # the stacks of its threads, into its log
            time.sleep(0.5)  # for them to be written; nobody tells when

    @contextmanager
    def _killing_children(self) -> Iterator[None]:
        """What the cluster does for its peers."""
        try:
            yield
        finally:
            for member in self._members:
                if member.peer is None and member.process.is_running():
                    os.kill(member.pid, signal.SIGKILL)

    # -- who is there ----------------------------------------------------------------------------

    def _is_there(self, member: Member) -> bool:
        if member.is_leaving or member.writer.gone < NEVER:
            return False
        return member.process.is_running()

    def _has_started(self, member: Member) -> bool:
        path = self.notes / member.name
        if not path.exists():
            return False
        with path.open() as file:
            line = file.readline()
        assert " failed " not in line, f"{member.name} could not start: {line}"
        return " started " in line

    def _well(self) -> list[Member]:
        """Those that can be asked, and hold the object."""
        return [
            member
            for member in self._members
            if member.peer is not None
            and member.frozen_at is None
            and self._is_there(member)
            and self._has_started(member)
        ]

    def _host(self) -> Member | None:
        pid = leftovers.host_pid(self._place)
        members = [each for each in self._members if each.pid == pid and self._is_there(each)]
        return members[0] if members else None

    def _frozen(self) -> Member | None:
        return next((each for each in self._members if each.frozen_at is not None), None)

    # -- joining ---------------------------------------------------------------------------------

    def _join(self, rnd: random.Random) -> None:
        if self._is_full():
            return
        peer = self._cluster.peer(
            FOUNDING, self.plan.options, name=NAME, start=False, folder=self.root
        )
        writer = self._new_writer()
        peer.run(log_into, str(self.notes / f"{writer.name}.log"))
        self._begin(writer, peer, take_part, rnd)

    def _restart(self, rnd: random.Random) -> None:
        well = self._well()
        if len(well) < _ENOUGH:
            return self._join(rnd)
        old = rnd.choice(well)
        assert old.peer is not None
        self._leave(old)
        self._begin(self._new_writer(), old.peer, restart, rnd)

    def _begin(
        self, writer: Writer, peer: Peer, how: Callable[..., None], rnd: random.Random
    ) -> None:
        ticket = peer.begin(how, self._task(writer, rnd))
        self._add(Member(writer, leftovers.process(peer.pid), peer, ticket), how.__name__)

    def _child(self, rnd: random.Random) -> None:
        well = self._well()
        if self._is_full() or not well:
            return
        mother, writer = rnd.choice(well), self._new_writer()
        assert mother.peer is not None
        task = self._task(writer, rnd)
        pid = mother.peer.run(make_child, self.plan.method, task)
        self._add(Member(writer, leftovers.process(pid), None), f"child of {mother.name}")

    def _new_writer(self) -> Writer:
        writer = Writer(f"w{len(self._members)}")
        self.history.writers[writer.name] = writer
        return writer

    def _task(self, writer: Writer, rnd: random.Random) -> Task:
        seed, goodbye = rnd.getrandbits(32), rnd.random() < 0.5
        driver = leftovers.process(os.getpid())
        return Task(str(self.notes), writer.name, seed, driver, self.plan.pace, goodbye)

    def _add(self, member: Member, how: str) -> None:
        self._members.append(member)
        self._note_processes(member.pid)
        self._say(member, how)

    def _is_full(self) -> bool:
        return len([member for member in self._members if self._is_there(member)]) >= MOST

    # -- hurting ---------------------------------------------------------------------------------

    def _kill_host(self, rnd: random.Random) -> None:
        self._kill(self._host(), rnd)

    def _kill_any(self, rnd: random.Random) -> None:
        self._kill(rnd.choice([each for each in self._members if self._is_there(each)]), rnd)

    def _kill(self, member: Member | None, rnd: random.Random) -> None:
        if len(self._well()) < _ENOUGH:
            return self._join(rnd)
        if member is None:
            return
        self._note_processes(member.pid)
        begin = time.monotonic()
        os.kill(member.pid, signal.SIGKILL)
        # Not `Peer.kill`: it waits for the end of a pipe, which forked children hold as well.
        until(lambda: not self._is_there(member) and not (member.peer and member.peer.alive))
        member.writer.gone = time.monotonic()
        self._note_thaw(member)
        self.history.hurts.append(Hurt(member.name, begin, begin))
        self._say(member, "is killed")

    def _freeze_host(self, rnd: random.Random) -> None:
        self._freeze(self._host(), rnd)

    def _freeze_any(self, rnd: random.Random) -> None:
        well = self._well()
        self._freeze(rnd.choice(well) if well else None, rnd)

    def _freeze(self, member: Member | None, rnd: random.Random) -> None:
        self._thaw(rnd)
        if len(self._well()) < _ENOUGH:
            return self._join(rnd)
        if member is None or member.peer is None or time.monotonic() < self._mended_at:
            return
        member.frozen_at = time.monotonic()
        member.peer.pause()
        self._say(member, "is frozen")

    def _thaw(self, _: random.Random) -> None:
        member = self._frozen()
        if member is None:
            return
        assert member.peer is not None
        member.peer.resume()
        self._note_thaw(member)
        self._say(member, "is thawed")

    def _note_thaw(self, member: Member) -> None:
        if member.frozen_at is not None:
            self.history.hurts.append(Hurt(member.name, member.frozen_at, time.monotonic()))
            member.frozen_at = None

    def _stop_host(self, rnd: random.Random) -> None:
        self._stop(self._host(), rnd)

    def _stop_any(self, rnd: random.Random) -> None:
        well = self._well()
        self._stop(rnd.choice(well) if well else None, rnd)

    def _stop(self, member: Member | None, rnd: random.Random) -> None:
        if len(self._well()) < _ENOUGH:
            return self._join(rnd)
        if member is None or member.peer is None or member.frozen_at is not None:
            return
        self._leave(member)
        self._stops.append((member, member.peer.begin(MemSync.stop)))
        self._say(member, "is stopped")

    def _leave(self, member: Member) -> None:
        member.is_leaving = member.writer.was_stopped = True
        member.writer.gone = time.monotonic()

    def _delete_one(self, rnd: random.Random) -> None:
        """A file of those that are in use, or a folder of witnesses."""
        files = sorted(
            path
            for path in [*self._place.glob("*"), self.root / "authkey"]
            if not path.name.startswith(leftovers.TEMPORARY)
        )
        self._delete(rnd.choice([*files, *leftovers.witnesses(self._place)]), rnd)

    def _delete_all(self, rnd: random.Random) -> None:
        self._delete(self._place, rnd)
        (self.root / "authkey").unlink(missing_ok=True)

    def _delete(self, path: Path, rnd: random.Random) -> None:
        self._thaw(rnd)  # nobody knows of a process that is frozen and has no file
        if time.monotonic() < self._mended_at or not path.exists():
            return
        self._mended_at = time.monotonic() + _MENDING
        if path.is_dir():  # it is made again at once, so it is first moved away
            away = path.rename(path.parent / "deleted")
            shutil.rmtree(away)
        else:
            path.unlink(missing_ok=True)
        self._tell(f"{path} is deleted")

    # -- healing and looking ---------------------------------------------------------------------

    def _calm(self, rnd: random.Random) -> None:
        """Let all that are well confirm what each of them has written."""
        self._thaw(rnd)
        begin, members = time.monotonic(), self._well()
        tickets = [(each, _pipe(each).begin(be_calm, each.name)) for each in members]
        for member, ticket in tickets:
            _pipe(member).result(ticket)
            member.calms += 1
        expected = {member.name: member.calms for member in members}
        for member in members:
            self._wait_for_calms(member, expected)
        names = frozenset(member.name for member in members)
        self.history.calms.append(Calm(names, begin, time.monotonic()))
        self._tell(f"it is calm since {begin:.3f}: {sorted(names)}")

    def _heal(self) -> None:
        rnd = random.Random(self._seed)
        self._thaw(rnd)
        (self.notes / STOP).touch()
        for member in self._members:
            if member.peer is not None and member.peer.alive:
                member.peer.result(member.ticket, _LONG)
        for member, ticket in self._stops:
            if _pipe(member).alive:
                _pipe(member).result(ticket, _LONG)
        for member in self._members:
            if member.peer is None:
                self._wait_for_the_end_of(member)
        self._calm(rnd)
        until(self._files_are_whole, message=lambda: f"only {sorted(self._place.glob('*'))}")

    def _wait_for_calms(self, member: Member, expected: dict[str, int]) -> None:
        message = f"{member.name} does not get what the others have written"
        until(
            lambda: expected.items() <= _pipe(member).snapshot("calm").items(),
            message=message,
        )

    def _wait_for_the_end_of(self, child: Member) -> None:
        message = f"the child {child.name} does not end"
        until(lambda: not self._is_there(child), _LONG, message)

    def _files_are_whole(self) -> bool:
        statuses = [_pipe(member).status() for member in self._well()]
        names = {path.name for path in self._place.glob("*")}
        own = {f"peer-{status['id']}.json" for status in statuses}
        lock = f"epoch-{statuses[0]['epoch']}.lock"
        witnesses = [folder / lock for folder in leftovers.witnesses(self._place)]
        return (
            own | {"rendezvous.json", lock} <= names
            and all(path.exists() for path in witnesses)
            and (self.root / "authkey").exists()
        )

    def _look(self) -> None:
        members = self._well()
        until(
            lambda: len({_position(member) for member in members}) == 1,
            message=lambda: f"not level: {[(m.name, _pipe(m).status()) for m in members]}",
        )
        for member in members:
            self.history.replicas[member.name] = repr(_pipe(member).snapshot())
            if _pipe(member).status()["status"] == "host":
                self.history.hosts.append(member.name)
        self.history.document = _pipe(members[0]).snapshot()

    def _end(self) -> None:
        """All leave at once: some stop, some just come to the end of their program."""
        rnd = random.Random(self._seed)
        peers = {member.peer for member in self._members if member.peer and member.peer.alive}
        ordered = sorted(peers, key=lambda peer: peer.pid)
        for peer in ordered:
            self._note_processes(peer.pid)
        stops = [(peer, peer.begin(MemSync.stop)) for peer in ordered if rnd.random() < 0.5]
        for peer, ticket in stops:
            peer.result(ticket)
        for peer in ordered:
            peer.end()
        for peer in ordered:
            peer.join()
            assert peer.exitcode == 0, f"process {peer.pid} ended with {peer.exitcode}"

    def _look_for_leftovers(self) -> None:
        kills = sum(1 for hurt in self.history.hurts if hurt.begin == hurt.end)

        def left() -> list[str]:
            processes = [f"{each} runs on" for each in self._processes if each.is_running()]
            sockets = leftovers.sockets(self.root)
            return [*processes, *sockets, *leftovers.files_left(self.root, kills)]

        with suppress(AssertionError):
            until(lambda: not left(), 5)
        self.history.leftovers += left()

    # -- telling ---------------------------------------------------------------------------------

    def _tell(self, line: str) -> None:
        self._story.append(f"{time.monotonic():.3f} {line}")

    def _note_processes(self, pid: int) -> None:
        """Remember a process and its children, which nobody can list when it is dead."""
        self._processes |= {leftovers.process(pid), *leftovers.below(pid)}

    def _say(self, member: Member, what: str) -> None:
        host = leftovers.host_pid(self._place)
        role = "host" if member.pid == host else "client"
        self._tell(f"{member.name} ({member.pid}, {role}) {what}")


def _short_place() -> str | None:
    base = tempfile.gettempdir()
    return base if len(os.fsencode(base)) < 25 else "/tmp"


def _pipe(member: Member) -> Peer:
    assert member.peer is not None
    return member.peer


def _position(member: Member) -> tuple[Any, ...]:
    status = _pipe(member).status()
    return status["epoch"], status["version"], status["pending"]
