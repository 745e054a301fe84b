"""At the caller: the exception that a `Twin` describes, with the frames of the callee.

What cannot be rebuilt here becomes an `RpcError` with the text of the twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ..errors import RpcError
from ..runtime import forks
from .bare import Bare, assemble, raw
from .messages import Frame, Payload, Twin
from .pickles import Pickles, UnpackError, text_of
from .twin import WHOLE


def rebuild(twin: Twin, pickles: Pickles, raiser: str) -> BaseException:
    """The exception, or an `RpcError` which says that `raiser` has raised it."""
    members = None
    if twin.members is not None:
        members = [rebuild(member, pickles, raiser) for member in twin.members]
    try:
        error = _rebuilt(twin.rebuild, pickles, members)
    except UnpackError as failed:
        error = _rpc_error(twin, raiser, str(failed))
    if twin.notes:
        _set(error, "__notes__", [*twin.notes, *raw(error, "__dict__").get("__notes__", [])])
    if twin.cause is not None:
        _set(error, "__cause__", rebuild(twin.cause, pickles, raiser))
    if twin.context is not None:
        _set(error, "__context__", rebuild(twin.context, pickles, raiser))
    _set(error, "__suppress_context__", twin.suppress_context)
    return BaseException.with_traceback(error, _traceback(twin.frames))


def _rebuilt(
    payload: Payload | None, pickles: Pickles, members: list[BaseException] | None
) -> BaseException:
    if payload is None:
        raise UnpackError("its class does not survive a pickle, or rpc.pickles is false there")
    pair = pickles.unpack(payload)
    try:
        form, content = pair
        if form == WHOLE:
            error: BaseException = content
            raw(error, "__dict__").pop("__notes__", None)  # the twin has them
        else:
            bare = Bare(*content)
            error = assemble(bare, members)
            if bare.left_out:
                names = ", ".join(bare.left_out)
                note = f"memsync: left at the callee, as it cannot be pickled: {names}"
                _set(error, "__notes__", [note])
        if not issubclass(type(error), BaseException):
            raise UnpackError("the pickle holds no exception")
    except (UnpackError, KeyboardInterrupt):
        raise
    except Exception as failed:
        raise UnpackError(
            f"putting it together raised {type(failed).__name__}: {text_of(failed)}"
        ) from failed
    return error


def _rpc_error(twin: Twin, raiser: str, why: str) -> RpcError:
    error = RpcError(
        f"{raiser} raised {twin.type}: {twin.message}",
        remote_type=twin.type,
        remote_traceback=twin.text or None,
    )
    error.add_note(f"memsync: it is an RpcError because {why}")
    return error


def _set(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute although the class may refuse it, as frozen dataclasses do."""
    object.__setattr__(error, name, value)


def _traceback(frames: Sequence[Frame]) -> TracebackType | None:
    """Real frames of the callee's lines, so that debuggers and loggers show them."""
    if not frames:
        return None
    with forks.importing:
        import tblib  # type: ignore[import-untyped]  # it has no types

    inner: dict[str, Any] | None = None
    for frame in reversed(frames):
        inner = {
            "tb_frame": {
                "f_globals": {"__name__": "?", "__file__": frame.file},
                "f_locals": {},
                "f_code": {"co_filename": frame.file, "co_name": frame.function},
                "f_lineno": frame.line,
            },
            "tb_lineno": frame.line,
            "tb_next": inner,
        }
    trace: TracebackType | None = tblib.Traceback.from_dict(inner).as_traceback()
    return trace
