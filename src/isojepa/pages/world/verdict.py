"""What a world model's run amounts to: one sentence, why, what to change, and findings."""

import math
from collections.abc import Iterator

from isojepa.embeddings.monitor import findings_of, read_alarms
from isojepa.pages.world.world_run import FilmedControl, WorldRun
from isojepa.theme.findings import Finding, Level, Verdict, gravest_first
from isojepa.theme.wording import chance, fixed, listed, number

COLLAPSED_RANK = 1.5
"""Effective rank around 0 below which all frames lie in one direction from the origin."""
READABLE, HALF_READABLE = 0.95, 0.8  # r of a linear probe
SURPRISED = 0.01  # p of the paired test


def judge_world_model(world: WorldRun) -> Verdict:
    """Weigh the evidence: collapse condemns; else control decides; else prediction."""
    state, level, summary = _state(world)
    return Verdict(
        states=(state,),
        level=level,
        summary=summary,
        why=_why(world),
        remedies=tuple(_remedies(world)),
        findings=tuple(gravest_first(_findings(world))),
    )


def _state(world: WorldRun) -> tuple[str, Level, str]:
    if _diverged(world):
        return "diverged", "problem", "The loss is no longer a number."
    if _collapsed(world):
        return (
            "collapsed",
            "problem",
            f"All frames have nearly the same embedding: its effective rank is "
            f"{world.last('effective_rank'):.1f} of {world.embedding_dim}.",
        )
    if world.controls:
        return _control_state(world.controls)
    ratio = _over_copy(world)
    if ratio is None:
        return "not judged", "note", "Nothing was measured on held-out episodes yet."
    untested = "Whether that is enough to act on is not tested yet."
    if ratio[0] >= 1:
        return (
            "predicts no better than a copy",
            "warning",
            "To say that nothing will change is as good a guess as the model's.",
        )
    return "predicts its world", "note", untested


def _control_state(controls: tuple[FilmedControl, ...]) -> tuple[str, Level, str]:
    result = controls[0].result
    low, high = result.rate.interval
    against = [f"{name} {percentage(other.success)}" for name, other in result.baselines.items()]
    summary = (
        f"95 % interval {_range(low, high)}, over {result.rate.pairs:,} pairs of "
        f"the {result.protocol} protocol" + (f"; beside it, {listed(against)}." if against else ".")
    )
    others = [one.result for one in controls[1:] if one.result.protocol == result.protocol]
    if others:
        each = [f"{percentage(one.rate.success)} of {one.goals}" for one in others]
        summary += f" It reaches {listed(each)}."
    level: Level = "good"
    if random := result.baselines.get("random"):
        random_low, random_high = random.interval
        level = "good" if low > random_high else "problem" if high < random_low else "warning"
    elif low < 0.5:
        level = "note"
    asked = "its image goals" if result.config.offset is None else result.goals
    return f"reaches {percentage(result.rate.success)} of {asked}", level, summary


def _why(world: WorldRun) -> str:
    ratio, blocks = _over_copy(world), len(world.ahead("rollout"))
    if ratio is None:
        return ""
    words = f"One block ahead its error is {percentage(ratio[0])} of that of predicting no change"
    if blocks > 1:
        words += f", and {blocks} blocks ahead, open loop, {percentage(ratio[-1])}"
    return words + "."


def _remedies(world: WorldRun) -> Iterator[str]:
    settings = world.run.settings
    if _diverged(world):
        yield f"Lower the learning rate: --lr {number(0.3 * settings.get('lr', 1e-3))}."
    elif _collapsed(world):
        if settings.get("regulariser") == "none":
            yield "Train with a regulariser: leave out --regulariser none."
        else:
            yield f"Raise the regulariser's weight, now {number(settings.get('lambd'))}: --lambd."
    else:
        ratio = _over_copy(world)
        if ratio and ratio[0] >= 1:
            yield "Train longer, and check that each action belongs to the frame it stands beside."
        if world.controls and not _beats(world.controls[0], "random"):
            yield "Look at the rollouts below: where they leave the real frames, planning fails."


def _findings(world: WorldRun) -> Iterator[Finding]:
    yield from _about_control(world)
    yield from _about_prediction(world)
    yield from _about_rank(world)
    yield from _about_probes(world)
    yield from _about_distances(world)
    yield from _about_surprise(world)
    yield from _about_straightness(world)
    yield from _about_decoder(world)
    yield from findings_of(read_alarms(world.run.path))


def _about_control(world: WorldRun) -> Iterator[Finding]:
    for control in world.controls[:1]:
        straight = control.result.baselines.get("straight line")
        if straight is None:
            continue
        line, ours = percentage(straight.success), percentage(control.result.rate.success)
        if _beats(control, "straight line"):
            yield Finding(
                "good", "Plans around things", f"{ours} of the goals, a straight line {line}."
            )
        elif control.result.rate.success < straight.success:
            yield Finding(
                "warning",
                "A straight line does better",
                f"It reaches {line} of the goals and the planner {ours}: these goals do not need a "
                "model, or the model misleads.",
            )
        else:
            yield Finding(
                "note",
                "Not told apart from a straight line",
                f"It reaches {line} of the goals and the planner {ours}; take more --pairs, or "
                "goals further away (--offset).",
            )


def _about_prediction(world: WorldRun) -> Iterator[Finding]:
    ratio, errors = _over_copy(world), world.ahead("rollout")
    if ratio is None:
        return
    detail = (
        f"{percentage(errors[0])} of the embeddings' variance is missed one block ahead"
        + (f" and {percentage(errors[-1])} after {len(errors)}" if len(errors) > 1 else "")
        + ", on held-out episodes."
    )
    if ratio[0] >= 1:
        yield Finding("problem", "Prediction is no better than a copy", detail)
    elif errors[-1] >= 1:
        yield Finding("warning", "Long rollouts are worse than the mean", detail)
    else:
        level: Level = "good" if ratio[-1] < 0.5 else "note"
        title = "Prediction holds" if level == "good" else "Prediction wears out"
        yield Finding(level, title, detail)


def _about_rank(world: WorldRun) -> Iterator[Finding]:
    rank, d = world.last("effective_rank"), world.embedding_dim
    if rank is None or d is None:
        return
    if _collapsed(world):
        yield Finding("problem", "Collapsed", f"Effective rank {rank:.1f} of {d}.")
    else:
        used = "A world of few factors cannot fill more." if rank < 0.5 * d else ""
        title = f"The embedding uses {rank:.1f} of {d} directions"
        yield Finding("note" if rank < 0.1 * d else "good", title, used)


def _about_probes(world: WorldRun) -> Iterator[Finding]:
    if world.probes is None or not world.probes.quantities:
        return
    r = {one.quantity.name: one.scores.model.linear.r or 0.0 for one in world.probes.quantities}
    worst = min(world.probes.quantities, key=lambda one: r[one.quantity.name])
    name, before = worst.quantity.name, worst.scores.untrained
    detail = f"Least so {name}, at r = {r[name]:.3f}"
    detail += f"; from the untrained model {fixed(before.linear.r)}." if before else "."
    if r[name] > READABLE:
        yield Finding("good", "The physical state can be read off by a straight line", detail)
    else:
        level: Level = "note" if r[name] > HALF_READABLE else "warning"
        lost = [name for name, value in r.items() if value <= READABLE]
        yield Finding(level, f"Not all of the state is linear: {listed(lost[:4])}", detail)
    if not world.probes.unseen:
        yield Finding(
            "warning",
            "Nothing was held out in training",
            "What follows was measured on episodes that the model has seen.",
        )


def _about_distances(world: WorldRun) -> Iterator[Finding]:
    if world.probes is None:
        return
    found, unit = world.probes.distances, world.probes.distance_unit
    for one, what in ((found.path, "path length"), (found.state, "distance between states")):
        if one is None or one.spearman is None:
            continue
        rho = one.spearman
        level: Level = "good" if rho > 0.8 else "note" if rho > 0.5 else "warning"
        detail = f"Rank correlation {rho:.2f}."
        if one.beyond is not None and one.beyond > 0.1:
            detail += (
                f" It levels off at {number(one.levels_off)}{f' {unit}' if unit else ''}; "
                f"{percentage(one.beyond)} of the pairs are further apart."
            )
        manner = "closely" if rho > 0.8 else "loosely" if rho > 0.5 else "hardly"
        yield Finding(level, f"Latent distance follows {what} {manner}", detail)
        return


def _about_surprise(world: WorldRun) -> Iterator[Finding]:
    if world.surprise is None:
        return
    tested = world.surprise.episodes.tested
    testable = 0.5**tested < SURPRISED  # the least p that so many episodes can have
    for name, event, unnoticed in (
        ("teleport", "A teleport", "does not surprise it"),
        ("colour", "A change of colour", "goes unnoticed"),
    ):
        one = world.surprise.conditions.get(name)
        if one is None or one.p_before is None:
            continue
        surprised = one.p_before < SURPRISED
        p = chance(one.p_before).replace(" ", "\N{NO-BREAK SPACE}")
        detail = (
            f"Median error {number(one.times_usual)} times the usual, area under the ROC curve "
            f"{one.auc:.3f}, p\N{NO-BREAK SPACE}{p}."
        )
        if surprised:
            yield Finding("good", f"{event} surprises it", detail)
        elif testable:
            level: Level = "warning" if name == "teleport" else "note"
            yield Finding(level, f"{event} {unnoticed}", detail)
        else:
            title = f"{event}: {tested} episodes are too few to test whether it surprises"
            yield Finding("note", title, detail)


def _about_straightness(world: WorldRun) -> Iterator[Finding]:
    values = world.run.curve("straightness")[1]
    if len(values) > 1 and all(map(math.isfinite, values)):
        first, last = float(values[0]), float(values[-1])
        word = (
            "rose" if last > first + 0.05 else "fell" if last < first - 0.05 else "did not change"
        )
        detail = f"Mean cosine of consecutive latent velocities, from {first:.2f} to {last:.2f}."
        yield Finding("note", f"Straightness of latent paths {word}", detail)


def _about_decoder(world: WorldRun) -> Iterator[Finding]:
    explained = world.decoder.explained if world.decoder else None
    if explained is not None:
        level: Level = "good" if explained > 0.8 else "note"
        title = f"Frames can be drawn from it: {percentage(explained)} of their variance"
        yield Finding(level, title, "On held-out frames, by a decoder that the model never saw.")


def _diverged(world: WorldRun) -> bool:
    loss = world.last("loss")
    return loss is not None and not math.isfinite(loss)


def _collapsed(world: WorldRun) -> bool:
    rank, d = world.last("effective_rank"), world.embedding_dim
    return rank is not None and d != 1 and rank < COLLAPSED_RANK


def _over_copy(world: WorldRun) -> list[float] | None:
    """Errors over those of predicting no change, one entry per block; None if not measured."""
    errors, still = world.ahead("rollout"), world.ahead("persistence")
    if not errors or not still:
        return None
    return [e / max(s, 1e-12) for e, s in zip(errors, still)]


def _beats(control: FilmedControl, name: str) -> bool:
    other = control.result.baselines.get(name)
    return other is None or control.result.rate.interval[0] > other.interval[1]


def percentage(value: float) -> str:
    """Three significant digits: 100 %, 98.3 %, 5.34 %; more above: 1,234 %."""
    return f"{number(100 * value)}\N{NO-BREAK SPACE}%"


def _range(low: float, high: float) -> str:
    return f"{100 * low:.0f} to {100 * high:.0f}\N{NO-BREAK SPACE}%"
