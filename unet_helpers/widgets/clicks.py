"""A button that can be pressed while a cell is still running.

A kernel reads its messages between two cells. What a page sends while a cell runs waits in a queue,
a click on a button as well as the next cells of "Run all". Here a running cell looks into that
queue, takes out the clicks on one button, and hands everything else on in its order. Written for
ipykernel 6 and 7 (jupyter-ui-poll 1.1 does this for 6; it calls a method that 7.4 no longer has).
JupyterLab from 4.4 with ipykernel 7 sends clicks past the queue; then nothing is found in here.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython

# asyncio itself would forget a task that nobody holds.
_waiting: set[asyncio.Future] = set()


def can_look() -> bool:
    """Whether a running cell can look for clicks here: in a Jupyter kernel, in its main thread."""
    return _inbox() is not None


def handle_clicks(button: widgets.Button) -> int:
    """Call the button's on_click functions for every click that waits; returns how many there were.

    0 where :func:`can_look` is False.
    """
    inbox = _inbox()
    if inbox is None:
        return 0
    import zmq

    kernel, stream = inbox
    clicks, others = 0, []
    while True:
        try:
            frames = stream.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            break
        if _is_click(kernel.session, frames, button.model_id):
            clicks += 1
        else:
            others.append(frames)
    for frames in others:
        _hand_on(kernel, stream, frames)
    if clicks or others:
        # The stream waits for a change that has just been read away from it; let it look again.
        kernel.io_loop.add_callback(stream.flush, zmq.POLLIN)
    for _ in range(clicks):
        button.click()
    return clicks


def _inbox() -> tuple[Any, Any] | None:
    """The kernel, and the stream on which its main thread gets messages; None if there is none."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or threading.current_thread() is not threading.main_thread():
        return None
    try:
        channel = getattr(kernel, "shell_channel_thread", None)
        if channel is not None:  # ipykernel 7: another thread reads the socket and passes on
            stream = channel.manager._shell_channel_to_main.to_stream
        else:
            stream = kernel.shell_stream
        stream.socket.recv_multipart, stream._recv_callback, kernel.session  # noqa: B018
        kernel.io_loop.asyncio_loop  # noqa: B018
    except AttributeError:  # another kind of kernel
        return None
    return kernel, stream


def _is_click(session: Any, frames: list, model_id: str) -> bool:
    try:
        _, parts = session.feed_identities(frames, copy=False)
        # Without its content a message may be read twice; with it the second time is refused.
        message = session.deserialize(parts, content=False, copy=False)
        if message["header"]["msg_type"] != "comm_msg":
            return False
        content = session.unpack(message["content"])
        data = content["data"]
        return content["comm_id"] == model_id and data["content"]["event"] == "click"
    except (ValueError, KeyError, TypeError):  # the kernel's own notes have another form
        return False


def _hand_on(kernel: Any, stream: Any, frames: list) -> None:
    """Give a message to what would have got it, to be handled after this cell.

    At once, as the stream does it: what comes later, and is read by the stream, then stays behind.
    """
    waiting = stream._recv_callback(frames)
    if inspect.isawaitable(waiting):
        task = asyncio.ensure_future(waiting, loop=kernel.io_loop.asyncio_loop)
        _waiting.add(task)
        task.add_done_callback(_waiting.discard)
