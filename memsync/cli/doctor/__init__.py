"""``memsync doctor``: what is in the folder, who is host, what is stale, and why one cannot start.

Three steps that know little of each other: `looking` and `system` gather facts and change nothing,
`findings` judges them and is pure, `telling` prints the findings for people or machines.
"""
