"""An adapter that answers with what it was asked."""
import os
import sys

sys.path.insert(0, os.environ["LIBRARY"])
import numpy as np
from squishspec_adapter import Refused, serve


class Echo:
    offers = ("echo", "echo/shout")

    def __init__(self, greeting="hello"):
        if greeting == "":
            raise Refused("range", "greeting: want a word, got none")
        self.greeting = greeting

    def echo(self, value=None):
        return {"value": value, "greeting": self.greeting}

    def double(self, x):
        return {"twice": 2 * x}

    def next(self, pos):
        return {"pos": pos + 1}

    def limits(self):
        return {"nan": float("nan"), "least": -np.inf, "single": np.float32(np.inf), "zero": -0.0}

    def shout(self):
        print("shouted")
        os.write(1, b"shouted louder\n")

    def fail(self):
        raise KeyError("failed")

    def unsendable(self):
        return {"value": object()}

    def lacks(self):
        raise Refused("unsupported", "lacking")


serve("echo", "1.0", [Echo], unit_roundoff=0.25)
