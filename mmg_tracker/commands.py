"""The commands of tracking/ by their installed names, `mmg-train` and so on."""

from typing import NoReturn

from lib.config.cli import run

# Each imports only its own command: none needs what the others do.


def train() -> NoReturn:
    from tracking.train import main

    run(main)


def test() -> NoReturn:
    from tracking.test import main

    run(main)


def analyze() -> NoReturn:
    from tracking.analyze import main

    run(main)


def demo() -> NoReturn:
    from tracking.demo import main

    run(main)


def prepare() -> NoReturn:
    from tracking.prepare import main

    run(main)
