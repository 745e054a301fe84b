"""Every tuning constant of the engine: its unit, its reason, and how it relates to the others.

Times are in seconds. What users may tune is an option (see `memsync.options`); these constants
follow from how the engine works. `Timing` asserts their relations, so that a change of one number
shows which others it affects.
"""

from __future__ import annotations

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """The constants of one peer; the simulator runs with some of its own."""

    # -- the driver --
    short_link: float = 1.0
    """Of several links in a row that break sooner, only the first is dialled again at once."""
    first_pause: float = 0.01
    """Before the second one is dialled again; doubled each time."""
    longest_pause: float = 0.1
    """The limit of that pause."""
    retry: float = 0.5
    """Between attempts after an error that a running peer survives."""
    driver_stop: float = 0.5
    """For the driver's thread to end although the time of a `stop` is over."""

    # -- elections --
    first_check: float = 0.0005
    """The kernel frees a killed host's lock just after its sockets; doubled each time."""
    longest_check: float = 0.1
    """The longest pause of a searching peer between two checks of the folder."""
    dial: float = 5.0
    """For one attempt of a newcomer to connect and authenticate."""
    last_dial: float = 0.01
    """For an attempt that begins at the deadline of a start."""
    fair_search: float = 0.25
    """A start that has less time does not show that a host is frozen."""
    late_candidate: float = 0.02
    """How late the simulator makes some candidates."""
    precedence: float = 0.1
    """The head start of a dedicated host, which needs milliseconds."""

    # -- recovery --
    report_check: float = 0.005
    """Between two checks for dead peers while a candidate awaits reports."""
    repair_check: float = 0.1
    """Between two repairs of a candidate's files."""
    survivors: float = 0.25
    """For survivors to restore their deleted files before a newcomer founds."""
    awake: float = 0.05
    """A candidate whose loop paused longer was frozen, and that time proves nothing."""
    breaks: int = 4
    """How often recovery waits again for a source that broke off."""
    fetch: float = 5.0
    """A source that sends no byte for longer is dropped."""
    fetch_check: float = 0.5
    """Between two checks for a later epoch while a candidate awaits a source."""

    file: float = 2.0
    """The longest look of a candidate with a state at the file, which may be ahead of it."""

    # -- the host --
    suspicion: float = 1.0
    """How long a host checks often for dead members after a link broke."""
    suspicious_check: float = 0.01
    """Between two such checks."""
    blink: float = 0.1
    """A host whose loop paused longer may have been frozen."""
    wake: float = 0.0003
    """Four times what a client needs to wake and take a push: pushes to all take a quarter."""
    quiet: float = 0.001
    """Lingering pushes go when no entry came for this long."""
    flood: int = 4
    """Entries in one push that begin a flood."""
    flood_lingers: int = 4
    """How many times as long pushes linger in a flood; a wake costs as much as 20 entries."""
    stall: float = 1.0
    """A client that takes nothing for longer is slow."""
    stall_check: float = 0.25
    """Between two checks for such a client while own writes await their push."""
    standby_answer: float = 0.1
    """How long one that stands by may take to answer that it is awake, before others are let in."""
    unreported_check: float = 0.25
    """Between two checks for whether a peer has died that did not report, while some stand by."""
    pong_check: float = 0.05
    """Between two checks of a thread that awaits the answers to a ping."""
    missing_grace: float = 3.0
    """How long the file of a living member may be missing."""
    gone_file: float = 1.0
    """How long a former member's free file stays: if this host dies, the next one may not know."""
    close: float = 2.0
    """For the last bytes to leave when a host stops."""
    close_check: float = 0.05
    """Between two checks for whether they have."""

    lock_checks: int = 5
    """How often in the lease of a lock a host looks for a sign of life of its holder."""

    # -- handing over --
    handover: float = 1.0
    """For some successor to take over."""
    successor: float = 0.3
    """For one successor to take over before the host asks another one."""
    handover_check: float = 0.01
    """Between two checks for whether it has."""
    step_down_pause: float = 10.0
    """Between two handovers of hosts that stay as clients."""
    step_down_pings: int = 5
    """How many pings one search for a successor sends."""
    step_down_answers: int = 2
    """How many of them a peer must answer in time; a busy peer may answer one by chance."""
    step_down_rhythm: float = 0.04
    """Between two such pings."""
    quick_answer: float = 0.004
    """A busy process answers later: its messages wait at least 5 ms for the GIL."""
    interest: float = 5.0
    """How long a host measures its lag after a peer has sent something."""
    others_share: float = 0.1
    """Of a processor: other threads that use less do not keep the loop from the interpreter."""
    lag_step: float = 0.02
    """Between two moments at which the host measures its lag."""
    lag_moments: int = 12
    """How many moments are remembered."""
    late_moments: int = 5
    """How many of them are late in a busy process."""
    late: float = 0.001
    """A lag that counts as late; a thread that burns CPU causes five times that."""

    # -- the client --
    goodbye: float = 0.2
    """For the host to push what this peer has written, before the peer leaves."""
    fence: float = 5.0
    """For a woken reader to leave its role, unless it handles what it has read."""
    fence_check: float = 0.1
    """Between two checks for whether the reader has left."""
    packet: int = 1 << 14
    """Bytes of coalesced writes that are sent at once."""

    # -- long steps --
    step_bytes: int = 1 << 18
    """A peer states in its file that it handles at least this many bytes of writes at once."""
    step_per_byte: float = 1e-5
    """Seconds; ten times what a large write of small objects takes on a quiet machine."""
    longest_step: float = 60.0
    """The limit of what a peer states, and of what the others believe."""

    # -- waiting --
    spin_first_pause: float = 0.001
    """After a poll in vain, until a wait polls again; doubled each time."""
    spin_longest_pause: float = 0.25
    """The limit of that pause."""
    spin_preempted: float = 0.0005
    """A longer gap between two polls means that another process had the processor."""
    spin_preempted_pause: float = 0.016
    """The least pause after that."""

    # -- connections --
    receive: float = 1.0
    """The limit of a blocking read of a link."""
    accept_poll: float = 1.0
    """The accept loop checks its stop event at least this often."""
    accept_idle: float = 4.0
    """The same, where a stop wakes the loop and no handshake is under way."""
    accept_pause: float = 0.1
    """After a system error in the accept loop."""
    thread_stop: float = 5.0
    """For the accept loop's thread to end."""
    refusal_lines: float = 1.0
    """Between two log lines about refused connections."""
    crowded_pause: float = 0.001
    """After each connection for which there is no handshake slot."""
    backlog: int = 128
    """Connections that wait to be accepted."""
    cut_notice: float = 0.1
    """For a handshake's thread to notice that its connection was cut."""
    handshake_grace: float = 0.1
    """A handshake takes milliseconds, and is not cut sooner."""
    silence: float = 0.25
    """A TCP connection from which nothing came meanwhile has been drained."""
    receive_bytes: int = 1 << 16
    """The buffer of a link; one read takes no more."""
    large_bytes: int = 1 << 22
    """The buffer of a larger frame, which doubles as often as bytes come for it."""
    socket_bytes: int = 1 << 20
    """What the kernel may hold for a link. With less, a large value takes several wakes of both."""
    send_bytes: int = 1 << 18
    """The most bytes that one write to a link gathers."""
    inspection_bytes: int = 1 << 20
    """The most bytes that a host sends to a process that does not join."""
    inspection_fields: int = 1000
    """The most names of fields that it sends."""
    inspection_entries: int = 200
    """The most entries among which it searches for the last writes."""
    inspection_writes: int = 20
    """The most of those that it describes."""
    inspection_operations: int = 3
    """The most operations of one of them that it describes."""
    descriptors: float = 1.0
    """For a descriptor to become free; a peer waits at most a quarter of its lease."""
    descriptor_retry: float = 0.02
    """Between two attempts to get a descriptor."""

    # -- the folder --
    poll_watch: float = 0.2
    """Between two polls of a polling observer."""
    observer_stop: float = 5.0
    """For an observer's thread to end."""
    folder_attempts: int = 5
    """How often a peer tries to enter a folder that somebody deletes meanwhile."""
    lock_reads: int = 1000
    """How often a lock is read that disappears between listing and reading."""
    file_bytes: int = 1 << 16
    """The most bytes that are read of a file in the folder."""
    settling: float = 2.0
    """Longer than a tick of any file system's clock; until then a stamp proves nothing."""
    temporary_age: float = 60.0
    """An older temporary file was left by a killed process."""

    def __post_init__(self) -> None:
        for holds, why in self.relations():
            assert holds, why

    def relations(self) -> list[tuple[bool, str]]:
        """Conditions on the numbers, each with its reason."""
        search = self.step_down_pings * self.step_down_rhythm
        return [
            (self.longest_pause < self.survivors, "a dialling survivor restores its file in time"),
            (self.longest_check < self.survivors, "a searching survivor restores its file in time"),
            (self.successor < self.handover, "a second successor can be asked"),
            (self.handover_check < self.successor, "a takeover is noticed in time"),
            (self.handover < self.close, "a handover is the shorter part of a stop"),
            (self.report_check < self.awake, "a check for reports is not a freeze"),
            (self.suspicious_check < self.blink, "a checking host does not look frozen"),
            (self.step_down_answers <= self.step_down_pings, "a peer can answer often enough"),
            (search < self.step_down_pause, "a search is shorter than the pause after a handover"),
            (self.quick_answer < self.step_down_rhythm, "a ping is judged before the next one"),
            (self.lag_moments * self.lag_step < self.interest, "a busy host is found out"),
            (self.late < self.lag_step, "moments do not overlap"),
            (self.descriptor_retry < self.descriptors, "a second attempt is made"),
            (self.handshake_grace <= self.dial / 10, "a crowd does not keep a dialling peer out"),
            (self.fetch_check < self.fetch, "a candidate notices a later epoch in time"),
            (self.stall_check < self.stall, "a client that takes nothing is noticed in time"),
            (self.accept_idle < self.thread_stop, "an accept loop ends in time in any case"),
            (self.close_check < self.close, "the last bytes are noticed in time"),
            (self.late_moments < self.lag_moments, "a busy process can be late often enough"),
            (self.fence_check < self.fence, "the exit of a reader is noticed"),
            (self.first_check < self.longest_check, "pauses grow"),
            (self.longest_check < self.fair_search, "a fair search looks at the folder again"),
            (self.first_pause < self.longest_pause, "pauses grow"),
        ]


TIMING = Timing()
"""The constants of a real peer; tests may use others."""
