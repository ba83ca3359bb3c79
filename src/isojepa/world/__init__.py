"""Frames and actions in, control out."""

from typing import TYPE_CHECKING

from isojepa.faces import lazily

if TYPE_CHECKING:
    from isojepa.world.agent.agent import Agent, AgentSpec, load_agent
    from isojepa.world.agent.config import LearnConfig, parse_options
    from isojepa.world.agent.evaluation import evaluate_agent
    from isojepa.world.agent.experience import stacked
    from isojepa.world.agent.learn import train_agent as learn
    from isojepa.world.analysis.probes import fit_probe
    from isojepa.world.analysis.study import Study, embed_rows, open_study, sampled
    from isojepa.world.collection.collect import collect
    from isojepa.world.collection.record import CollectConfig
    from isojepa.world.control.config import Control, PlanConfig, open_control
    from isojepa.world.control.control import plan
    from isojepa.world.control.direct import DirectGoalPolicy, StepsTo
    from isojepa.world.control.evaluation import evaluate_policy, success_of
    from isojepa.world.control.frames import encode_frames
    from isojepa.world.control.pairs import draw_pairs
    from isojepa.world.control.planning import (
        PlanningPolicy,
        load_policy,
        open_policy,
        planning_policy,
    )
    from isojepa.world.control.policy import Observation, Policy, VectorPolicy
    from isojepa.world.control.recipes import OURS, PUBLISHED, ControlRecipe, build_graph
    from isojepa.world.control.scripted import (
        ClonedPolicy,
        RandomPolicy,
        ScriptedPolicy,
        straight_line,
    )
    from isojepa.world.control.success import success_rate
    from isojepa.world.control.suite import plan_suite
    from isojepa.world.control.vector_env import platform_envs, run_episodes
    from isojepa.world.environments.pixel_env import PixelEnv, make_pixel_env
    from isojepa.world.episodes.action_scale import ActionScale
    from isojepa.world.episodes.clips import clip_batches, clip_index, fit_action_scale
    from isojepa.world.episodes.trajectories import (
        Clips,
        Trajectories,
        episode_rows,
        open_trajectories,
    )
    from isojepa.world.learning.config import WorldTrainConfig
    from isojepa.world.learning.direct import DirectConfig, train_direct
    from isojepa.world.learning.goal_networks import GoalNetworks, GoalSizes, load_goal_networks
    from isojepa.world.learning.measures import encode as encode_clips
    from isojepa.world.learning.train import train_world_model as train
    from isojepa.world.model.latent import LatentModel
    from isojepa.world.model.platform_model import as_platform_model
    from isojepa.world.model.platform_weights import (
        export_platform_weights,
        from_platform,
        load_platform_weights,
    )
    from isojepa.world.model.presets import (
        IMAGENET_MEAN,
        IMAGENET_STD,
        PRESETS,
        WorldModelSpec,
        preset,
    )
    from isojepa.world.model.world_model import WorldModel, export_world_model, load_world_model
    from isojepa.world.planners.cem import CEM, ICEM
    from isojepa.world.planners.costs import (
        ModelRollout,
        Term,
        WeightedCost,
        action_penalty,
        any_step,
        last_step,
        path_distance,
        reward,
        value,
    )
    from isojepa.world.planners.distances import EmbeddingGraph, Euclidean, SquaredEuclidean
    from isojepa.world.planners.mppi import MPPI
    from isojepa.world.planners.planners import PLANNERS, GradientPlanner, RandomShooting
    from isojepa.world.planners.problem import Plan, Planner, Problem, shifted

__all__ = [
    "CEM", "ICEM", "IMAGENET_MEAN", "IMAGENET_STD", "MPPI", "OURS", "PLANNERS", "PRESETS",
    "PUBLISHED", "ActionScale", "Agent", "AgentSpec", "Clips", "ClonedPolicy", "CollectConfig",
    "Control", "ControlRecipe", "DirectConfig", "DirectGoalPolicy", "EmbeddingGraph", "Euclidean",
    "GoalNetworks", "GoalSizes", "GradientPlanner", "LatentModel", "LearnConfig", "ModelRollout",
    "Observation", "PixelEnv", "Plan", "PlanConfig", "Planner", "PlanningPolicy", "Policy",
    "Problem", "RandomPolicy", "RandomShooting", "ScriptedPolicy", "SquaredEuclidean", "StepsTo",
    "Study", "Term", "Trajectories", "VectorPolicy", "WeightedCost", "WorldModel", "WorldModelSpec",
    "WorldTrainConfig", "action_penalty", "any_step", "as_platform_model", "build_graph",
    "clip_batches", "clip_index", "collect", "draw_pairs", "embed_rows", "encode_clips",
    "encode_frames", "episode_rows", "evaluate_agent", "evaluate_policy", "export_platform_weights",
    "export_world_model", "fit_action_scale", "fit_probe", "from_platform", "last_step", "learn",
    "load_agent", "load_goal_networks", "load_platform_weights", "load_policy", "load_world_model",
    "make_pixel_env", "open_control", "open_policy", "open_study", "open_trajectories",
    "parse_options", "path_distance", "plan", "plan_suite", "planning_policy", "platform_envs",
    "preset", "reward", "run_episodes", "sampled", "shifted", "stacked", "straight_line",
    "success_of", "success_rate", "train", "train_direct", "value",
]  # fmt: skip

_HOMES = {
    "agent.agent": "Agent AgentSpec load_agent",
    "agent.config": "LearnConfig parse_options",
    "agent.evaluation": "evaluate_agent",
    "agent.experience": "stacked",
    "analysis.probes": "fit_probe",
    "analysis.study": "Study embed_rows open_study sampled",
    "collection.collect": "collect",
    "collection.record": "CollectConfig",
    "control.config": "Control PlanConfig open_control",
    "control.control": "plan",
    "control.direct": "DirectGoalPolicy StepsTo",
    "control.evaluation": "evaluate_policy success_of",
    "control.frames": "encode_frames",
    "control.pairs": "draw_pairs",
    "control.planning": "PlanningPolicy load_policy open_policy planning_policy",
    "control.policy": "Observation Policy VectorPolicy",
    "control.recipes": "OURS PUBLISHED ControlRecipe build_graph",
    "control.scripted": "ClonedPolicy RandomPolicy ScriptedPolicy straight_line",
    "control.success": "success_rate",
    "control.suite": "plan_suite",
    "control.vector_env": "platform_envs run_episodes",
    "environments.pixel_env": "PixelEnv make_pixel_env",
    "episodes.action_scale": "ActionScale",
    "episodes.clips": "clip_batches clip_index fit_action_scale",
    "episodes.trajectories": "Clips Trajectories episode_rows open_trajectories",
    "learning.config": "WorldTrainConfig",
    "learning.direct": "DirectConfig train_direct",
    "learning.goal_networks": "GoalNetworks GoalSizes load_goal_networks",
    "model.latent": "LatentModel",
    "model.platform_model": "as_platform_model",
    "model.platform_weights": "export_platform_weights from_platform load_platform_weights",
    "model.presets": "IMAGENET_MEAN IMAGENET_STD PRESETS WorldModelSpec preset",
    "model.world_model": "WorldModel export_world_model load_world_model",
    "planners.cem": "CEM ICEM",
    "planners.costs": "ModelRollout Term WeightedCost action_penalty any_step last_step "
    "path_distance reward value",
    "planners.distances": "EmbeddingGraph Euclidean SquaredEuclidean",
    "planners.mppi": "MPPI",
    "planners.planners": "PLANNERS GradientPlanner RandomShooting",
    "planners.problem": "Plan Planner Problem shifted",
}
__getattr__ = lazily(
    __name__,
    {name: home for home, names in _HOMES.items() for name in names.split()}
    | {
        "encode_clips": "learning.measures:encode",
        "learn": "agent.learn:train_agent",
        "train": "learning.train:train_world_model",
    },
)
