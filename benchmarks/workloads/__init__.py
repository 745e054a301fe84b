"""The workloads, one file each, in the order of the report."""

from __future__ import annotations

from ..model import Workload
from .big_value import BigValue
from .cpu_of_increment import CpuOfIncrement
from .fan_out import FanOut
from .fill import Fill
from .host_killed import HostKilled
from .idle import Idle
from .import_time import ImportTime
from .increment import Increment
from .increment_with_replicas import IncrementWithReplicas
from .join import Join
from .limits import Limits
from .many_peers import ManyPeers
from .memory import Memory
from .propagation import Propagation
from .read import Read
from .spin import Spin
from .stall import Stall
from .writers_pipelined import WritersPipelined
from .writers_waiting import WritersWaiting

_CLASSES: tuple[type[Workload], ...] = (
    Read,
    Increment,
    IncrementWithReplicas,
    CpuOfIncrement,
    WritersWaiting,
    WritersPipelined,
    FanOut,
    Propagation,
    ManyPeers,
    Fill,
    Join,
    Memory,
    BigValue,
    Stall,
    HostKilled,
    Idle,
    ImportTime,
    Spin,
    Limits,
)
ALL: dict[str, Workload] = {chosen.name: chosen() for chosen in _CLASSES}
