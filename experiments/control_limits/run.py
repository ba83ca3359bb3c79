"""What limits image-goal control: the rollout, the metric or the planner? TwoRoom, taken apart.

    python experiments/control_limits/run.py --out control-limits --pictures docs/images

The three scripts beside this one, which can be run alone, one after the other. Some 25 minutes on
one core; results in OUT/results.json, from which `--plot-only` draws.
"""

import tyro

import distance
import planner
import prediction
from two_room import Config


def main(config: Config) -> None:
    for question in (prediction, distance, planner):
        question.main(config)


if __name__ == "__main__":
    main(tyro.cli(Config))
