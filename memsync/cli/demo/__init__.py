"""``memsync demo``: worker processes share one counter, the host is killed, nothing is lost.

The workers are real processes in a private rendezvous folder. `worker` is what each of them runs;
`run` starts them, kills the host halfway through and compares the counter with the tallies.
"""
