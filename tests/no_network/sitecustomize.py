"""Cuts a Python process off from every network but its own machine (put this folder on PYTHONPATH).

The tests run the notebooks this way: what needs a network fails at once, with this message.
"""

import ipaddress
import socket

_connect, _connect_ex, _getaddrinfo = (
    socket.socket.connect,
    socket.socket.connect_ex,
    socket.getaddrinfo,
)


def _refuse(host: object) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        if ipaddress.ip_address(str(name).partition("%")[0]).is_loopback:
            return
    except ValueError:
        pass
    raise ConnectionRefusedError(f"the network is cut off in this test: {name}")


def _guard(method):
    def guarded(self, address, *rest):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse(address[0])
        return method(self, address, *rest)

    return guarded


def _guarded_getaddrinfo(host, *rest, **named):
    _refuse(host)
    return _getaddrinfo(host, *rest, **named)


socket.socket.connect = _guard(_connect)
socket.socket.connect_ex = _guard(_connect_ex)
socket.getaddrinfo = _guarded_getaddrinfo
