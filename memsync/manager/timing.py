"""Every tuning constant of the engine: its unit, its reason, and how it relates to the others.

Times are in seconds. What users may tune is an option (see `memsync.options`); what is here follows
from how the engine works. `Timing` asserts the relations, so that a change of one number shows
which others it concerns.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """The constants of one peer; the simulator runs with some of its own."""

    # -- the driver --
    short_link: float = 1.0
    """A link that breaks sooner is not made again at once."""
    first_pause: float = 0.01
    """Before a link that broke soon is made again; doubled each time."""
    longest_pause: float = 0.1
    """The most that such a pause grows to."""
    retry: float = 0.5
    """Between attempts after an error that a running peer may outlive."""

    # -- elections --
    first_look: float = 0.0005
    """A killed host's lock is freed an instant after its sockets; doubled each time."""
    longest_look: float = 0.1
    """The most that a peer without a role waits before it checks the folder again."""
    dial: float = 5.0
    """One attempt of a newcomer to connect and authenticate."""
    precedence: float = 0.1
    """What others leave to a dedicated host, which needs milliseconds."""

    # -- recovery --
    report_check: float = 0.005
    """Between two checks for dead peers while reports are awaited."""
    repair_check: float = 0.1
    """Between two repairs of a candidate's files."""
    survivors: float = 0.25
    """What a newcomer waits for survivors that are making their deleted files again."""
    awake: float = 0.05
    """A candidate that did not run for longer was frozen, and that time proves nothing."""
    breaks: int = 4
    """How often a source that broke off is waited for again."""
    fetch: float = 5.0
    """Without a byte for so long, a source is given up."""

    # -- the host --
    suspicion: float = 1.0
    """How long a host checks often for the dead, after a link broke."""
    suspicious_check: float = 0.01
    """Between two such checks."""
    blink: float = 0.1
    """A host that made no step for longer waited, or was frozen."""
    coalesced_rounds: int = 16
    """How many rounds of the loop a push may wait while more input is there."""
    stall: float = 1.0
    """A peer that takes nothing for longer is slow, and is brought up by a snapshot later."""
    missing_grace: float = 3.0
    """How long the file of a living peer may be missing."""
    close: float = 2.0
    """For the last bytes to leave when a host stops."""

    # -- handing over --
    handover: float = 1.0
    """For some successor to take over."""
    successor: float = 0.3
    """For one successor to take over, before another one is asked."""
    handover_check: float = 0.01
    """Between two checks for whether it has."""
    step_down_pause: float = 10.0
    """Between two hand-overs of hosts that go on as clients."""
    step_down_pings: int = 5
    """How many pings one search for a successor sends."""
    step_down_answers: int = 2
    """How many of them a peer must answer in time; one, a busy peer may happen to answer."""
    step_down_rhythm: float = 0.04
    """Between two such pings."""
    quick_answer: float = 0.004
    """A message waits at least 5 ms for the interpreter of a busy process."""
    interest: float = 5.0
    """How long a host measures its lag after a peer has sent something."""
    lag_step: float = 0.02
    """Between two moments at which the loop's lag is measured."""
    lag_moments: int = 12
    """How many moments are remembered; a busy process is late at a third of them."""
    late: float = 0.001
    """A thread that burns CPU gives the interpreter away after five times that."""

    # -- the client --
    fence: float = 5.0
    """For a reader that was woken to leave its role."""
    fence_check: float = 0.1
    """Between two checks for whether the reader has left."""
    packet: int = 1 << 14
    """Bytes of writes that nobody waits for which are sent at once."""

    # -- connections --
    receive: float = 1.0
    """A blocking read of a link lasts no longer."""
    accept_poll: float = 1.0
    """The accept loop looks at its stop event at least so often."""
    accept_pause: float = 0.1
    """After an error of the system in the accept loop."""
    refusal_lines: float = 1.0
    """Between two lines of the log about refused connections."""
    crowded_pause: float = 0.001
    """After each connection for which there is no place."""
    backlog: int = 128
    """Connections that wait to be accepted."""
    cut_notice: float = 0.1
    """For a handshake's thread to notice that its connection was cut."""
    handshake_grace: float = 0.1
    """A handshake takes milliseconds; it is not cut before."""
    receive_bytes: int = 1 << 18
    """Bytes that one read of a link takes at most."""
    send_bytes: int = 1 << 18
    """Bytes that are gathered for one write to a link."""
    descriptors: float = 1.0
    """For a descriptor to become free where none is left; a group with a short lease waits less."""
    descriptor_retry: float = 0.02
    """Between two attempts to get a descriptor where none is left."""

    # -- the folder --
    poll_watch: float = 0.2
    """Between two looks of an observer that polls."""
    observer_stop: float = 5.0
    """For an observer's thread to end."""
    folder_attempts: int = 5
    """How often a peer tries to take a place in a folder that is deleted at the same time."""
    lock_reads: int = 1000
    """How often a lock is read that is removed between listing and reading."""
    file_bytes: int = 1 << 16
    """Bytes of a file in the folder that are read."""
    temporary_age: float = 60.0
    """A temporary file older than that belongs to nobody."""
    thread_stop: float = 5.0
    """For the accept loop's thread to end."""

    def __post_init__(self) -> None:
        for holds, why in self.relations():
            assert holds, why

    def relations(self) -> list[tuple[bool, str]]:
        """What must hold between the numbers, and why."""
        return [
            (
                self.longest_pause < self.survivors,
                "a peer that is about to dial has made its file again before a newcomer founds",
            ),
            (
                self.longest_look < self.survivors,
                "a peer that searches makes its file again before a newcomer founds",
            ),
            (self.successor < self.handover, "a second successor can be asked"),
            (self.handover_check < self.successor, "a take-over is noticed in time"),
            (self.handover < self.close, "a host that stops outlives its hand-over"),
            (self.report_check < self.awake, "checking for reports is no sleep"),
            (self.suspicious_check < self.blink, "a checking host does not look frozen"),
            (
                self.step_down_answers <= self.step_down_pings,
                "a peer can answer often enough to be chosen",
            ),
            (
                self.step_down_pings * self.step_down_rhythm < self.step_down_pause,
                "a search ends before the next one may begin",
            ),
            (self.quick_answer < self.step_down_rhythm, "a ping is judged before the next one"),
            (self.lag_moments * self.lag_step < self.interest, "a busy host is found out"),
            (self.late < self.lag_step, "moments do not overlap"),
            (self.descriptor_retry < self.descriptors, "a second attempt is made"),
            (self.handshake_grace <= self.dial / 10, "a crowd does not keep a dialling peer out"),
            (self.fence_check < self.fence, "a reader that leaves is noticed"),
            (self.first_look < self.longest_look, "pauses grow"),
            (self.first_pause < self.longest_pause, "pauses grow"),
        ]


TIMING = Timing()
"""What a peer runs with, unless a test gives it something else."""
