"""memsync measured beside what users would pick instead: ``python -m benchmarks``.

`systems` holds memsync and its alternatives behind one interface, `workloads` one file per row of
the report, `report` the Markdown table and the charts, `results` the kept result of each release,
and `studies` longer measurements of memsync alone.
"""
