"""The scenario's side of the stage: where the server is, how to ask for trouble, how to say that a step went well.

Invariant: a step's name is printed only after everything in it held.
"""
import os
import socket
import sys
import time
import traceback

SERVER = os.environ["ZK_SERVER"]
PROXY = os.environ["ZK_PROXY"]

_control = None


def ask(what):
    """One command to the control port: cut, hold, release, stop, start or restart."""
    global _control
    if _control is None:
        host, port = os.environ["ZK_CONTROL"].split(":")
        _control = socket.create_connection((host, int(port))).makefile("rw")
    _control.write(what + "\n")
    _control.flush()
    answer = _control.readline().strip()
    assert answer == "ok", (what, answer)


def play(steps):
    """Runs the functions in order; their names, with dashes, are the steps' names."""
    for step in steps:
        try:
            step()
        except BaseException:
            traceback.print_exc()
            sys.stdout.flush()
            os._exit(1)
        print("ok", step.__name__.replace("_", "-"), flush=True)
    os._exit(0)


def until(holds, seconds=20):
    """Waits for a condition that another thread or server brings about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain for %s" % (holds,)
        time.sleep(0.02)


def raises(error, call, *args, **kwargs):
    """The very exception class, not one of its parents."""
    try:
        value = call(*args, **kwargs)
    except Exception as raised:
        assert type(raised) is error, "%r instead of %s" % (raised, error)
        return raised
    raise AssertionError("%r instead of %s" % (value, error))
