"""Each example runs as its docstring says, and prints what it is to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from .doc_programs import run_program

EXAMPLES = Path(__file__).parent.parent / "examples"

OUTPUTS = {
    "event_chain.py": "order 0: sent\norder 1: sent\norder 2: sent\n",
    "job_queue.py": f"outputs: {[number**2 for number in range(12)]}\ndone: 12 = 12\n",
    "kept_in_a_file.py": "runs: 3\n",
    "observe_progress.py": "finished: 3\nsteps: 60\n",
    "only_one_at_a_time.py": "let us begin\nhad a turn: [1, 2]\nlocked: False\n",
    "remote_progress.py": "5 of 5: page 5\n5 pages converted\n"
    + "".join(f"line of page {page}\n" for page in (1, 2, 3)),
    "scheduler.py": f"due times that ran: {[*range(12)]}\nby copies: 3\n",
    "survive_the_host.py": "this process is client\nthis process is host\nn: 1000\n",
    "watch_settings.py": "seen: ['green', 'green', 'green']\n",
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(OUTPUTS)


@pytest.mark.process
@pytest.mark.parametrize("name", OUTPUTS)
def test_an_example_prints_what_it_shows(name: str, tmp_path: Path) -> None:
    assert run_program(EXAMPLES / name, tmp_path) == OUTPUTS[name]
    assert f"Run it: python examples/{name}" in (EXAMPLES / name).read_text()
