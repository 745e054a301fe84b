"""The object over HTTP: read it, follow it, and look at its group, from any language.

One thread per address serves all objects of the process. `ports` knows the servers, `server` is the
thread, `app` answers requests, `served` is one object as the app sees it. Starlette and uvicorn are
imported at first use.
"""
