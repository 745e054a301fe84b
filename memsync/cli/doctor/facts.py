"""What the doctor has seen: plain data, all of it fit for JSON, and nothing of the key."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Process:
    """What the system tells of a process; None where it does not."""

    pid: int
    state: str | None = None  # the letter of proc_pid_stat(5)
    program: str | None = None
    open_files: int | None = None
    max_open_files: int | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether it was stopped by a signal or is held by a debugger."""
        return self.state in ("T", "t")


@dataclass(frozen=True)
class Lock:
    """An epoch's lock, in the folder or (`is_witness`) outside of it."""

    epoch: int
    held: bool
    is_witness: bool
    is_damaged: bool = False
    is_open: bool = True  # its holder is, or was, host and not only a candidate
    protocol: int | None = None
    peer: str | None = None
    process: Process | None = None
    address: str | tuple[str, int] | None = None
    since: float | None = None  # seconds since 1970
    silent_for: float = 0.0  # seconds since its holder gave a sign of life


@dataclass(frozen=True)
class PeerFile:
    """A peer's file; held by its peer while that lives."""

    id: str
    held: bool
    is_damaged: bool = False
    process: Process | None = None
    roles: tuple[str, ...] = ()
    max_writers: int | None = None
    client_only: bool = False
    server_only: bool = False
    obstacle: str | None = None  # why it has no host, in its own words


@dataclass(frozen=True)
class Rendezvous:
    """What the file for people and plain managers says."""

    peer: str
    memsync: str | None = None
    python: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a knock on the host's door."""

    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class SharedObject:
    """An object's folder; `unreadable` says what could not be looked at, and why."""

    name: str
    path: str
    unreadable: tuple[str, ...] = ()
    locks: tuple[Lock, ...] = ()
    peers: tuple[PeerFile, ...] = ()
    rendezvous: Rendezvous | None = None
    sockets: tuple[tuple[int, str], ...] = ()  # epoch, path
    temporaries: tuple[str, ...] = ()  # those that are old
    answer: Answer | None = None  # None: nobody was asked

    @property
    def highest(self) -> Lock | None:
        """The lock of the epoch in force; of lock and witness the one that is held."""
        key = lambda lock: (lock.epoch, lock.held, not lock.is_witness)  # noqa: E731  # used once
        return max(self.locks, key=key, default=None)


@dataclass(frozen=True)
class Folder:
    """The rendezvous folder; `chosen_by` is the variable that names it, None by default."""

    path: str
    chosen_by: str | None
    exists: bool
    problem: str | None = None  # why it cannot be used
    key_problem: str | None = None
    ignored: str | None = None  # a TMPDIR that cannot be used
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()  # folders of this user's, their objects


@dataclass(frozen=True)
class Limit:
    """Something of which the system has only so much; `used` is None where it does not tell."""

    name: str
    used: int | None
    most: int
    spare: int  # how many there should be left
    consequence: str
    advice: str


@dataclass(frozen=True)
class Versions:
    """What is looked at by what."""

    memsync: str
    protocol: int
    python: str
    system: str


@dataclass(frozen=True)
class Facts:
    """All of it; `failures` are errors of the doctor's own."""

    versions: Versions
    folder: Folder
    objects: tuple[SharedObject, ...] = ()
    asked_for: str | None = None
    lease: float = 3.0  # seconds
    limits: tuple[Limit, ...] = ()
    orphans: tuple[str, ...] = ()  # witnesses of folders that are gone
    deleted: tuple[tuple[str, Process], ...] = ()  # objects whose files are gone, and their hosts
    failures: tuple[str, ...] = field(default=())
