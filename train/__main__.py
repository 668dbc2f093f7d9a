"""python -m edgecolor.train CONFIG ...: the same as `edgecolor train`, in a form that torchrun can start."""

import sys

from edgecolor.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
