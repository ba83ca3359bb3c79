"""The package's own environments, which draw fast: registered with Gymnasium under their ids."""

ROOM = "isojepa.world.environments"
PREFIX = "isojepa/"
FAST = {
    "isojepa/TwoRoom-v0": (f"{ROOM}.two_room:TwoRoom", 100, {}),
    "isojepa/CartPole-v1": (f"{ROOM}.cart_pole:CartPole", 500, {}),
    "isojepa/ReacherEasy-v0": (
        f"{ROOM}.control_suite:ControlSuite",
        1000,
        {"domain": "reacher", "task": "easy"},
    ),
    "isojepa/CartpoleSwingup-v0": (
        f"{ROOM}.control_suite:ControlSuite",
        1000,
        {"domain": "cartpole", "task": "swingup"},
    ),
}
"""Where each is, its longest episode, and its constructor's arguments."""


def register_fast() -> None:
    """Register them; once is enough, and again does nothing."""
    import gymnasium as gym  # an extra, which the table above does not need

    for env_id, (place, steps, options) in FAST.items():
        if env_id not in gym.registry:
            gym.register(env_id, place, max_episode_steps=steps, kwargs=dict(options))
