"""The search: what it leaves, that it goes on, that it keeps to its budget, and wrong input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from isojepa.cli import main
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.pretrain import train_encoder
from isojepa.encoders.selection import criteria, trials, tune
from isojepa.encoders.selection.criteria import Candidate
from isojepa.encoders.selection.halving import Hyperparameters
from isojepa.encoders.selection.trials import OutOfTime, Trial, TrialOutcome, train_one
from isojepa.encoders.selection.tune import TuneConfig, search
from isojepa.encoders.selection.tuned import SearchPlan, Tuned, settle_search, show_search
from isojepa.errors import UserError
from isojepa.runs.record import read_run
from isojepa.runs.settings import only_said, said
from isojepa.runs.typed import read_result, to_json
from isojepa.training.interrupted import Interrupted

WORDS = [
    "--model", "resnet_nano", "--image-size", "16", "--batch-size", "16", "--projector-hidden",
    "32", "--projection-dim", "8", "--slices", "16", "--device", "cpu",
]  # fmt: skip


def made_small(patch: pytest.MonkeyPatch) -> None:
    """Few updates are enough to see that it works, though running means have not settled."""
    patch.setattr(tune, "TRIED", 4)
    patch.setattr(tune, "SHORTEST", 2)
    patch.setattr(criteria, "POINT", 0.0)
    patch.setattr(criteria, "LINE", 0.0)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    made_small(monkeypatch)


@pytest.fixture(scope="module")
def tuned(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search by the command line, over the learning rate, of 3 runs and 1."""
    out = tmp_path_factory.mktemp("tune") / "t"
    words = ["tune", "--data", str(pictures), "--out", str(out), "--recipe", "glyph", *WORDS]
    words += ["--lambd", "0.2"]
    with pytest.MonkeyPatch.context() as patch:
        made_small(patch)
        assert main([*words, "--steps", "6", "--candidates", "3"]) == 0
    return out


def test_it_leaves_its_runs_a_table_a_page_and_settings(tuned: Path) -> None:
    found = read_result(Tuned, tuned / "tuned.json")
    assert found.whole
    assert [(one.rung, one.steps) for one in found.trials] == [(1, 2)] * 3 + [(2, 6)]
    assert found.trials[-1].settings == found.best
    assert (tuned / found.run / "report.html").is_file()
    assert read_run(tuned / found.run).config["lr"] == found.best.lr
    assert "3 runs of 2 updates, then 1 run of 6 updates" in (tuned / "log.txt").read_text()


def test_the_better_go_on(tuned: Path) -> None:
    found = read_result(Tuned, tuned / "tuned.json")
    first = {one.settings: one.outcome.candidate.loss for one in found.trials if one.rung == 1}
    second = {one.settings for one in found.trials if one.rung == 2}
    assert second == {min(first, key=lambda one: first[one])}
    assert {one.lambd for one in first} == {0.2}
    assert len({one.lr for one in first}) == 3


def test_pretrain_takes_what_was_found(tuned: Path, pictures: Path, tmp_path: Path) -> None:
    best = json.loads((tuned / "best.json").read_text())
    assert best["model"] == "resnet_nano"
    assert not {"steps", "data", "out", "seed"} & best.keys()
    config = PretrainConfig(
        data=pictures, out=tmp_path / "run", like=tuned / "best.json", steps=2, slices=8
    )
    made = read_run(train_encoder(config)).config
    assert {name: made[name] for name in best if name != "slices"} == {
        name: value for name, value in best.items() if name != "slices"
    }
    assert made["slices"] == 8
    again = PretrainConfig(data=pictures, out=tmp_path / "again", like=tmp_path / "run", seed=3)
    now = read_run(train_encoder(again)).config
    assert now | {"like": 0, "out": 0, "seed": 0} == made | {"like": 0, "out": 0, "seed": 0}


@pytest.mark.usefixtures("few")
def test_what_is_done_is_not_done_again(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (tuned / "tuned.json").read_bytes()
    monkeypatch.setattr(trials, "train_encoder", None)
    data = read_result(SearchPlan, tuned / "config.json").pretrain["data"]
    search(TuneConfig(pretrain=PretrainConfig(data=Path(data), out=tuned, resume=True)))
    assert (tuned / "tuned.json").read_bytes() == before


@pytest.mark.usefixtures("few")
def test_an_interrupted_search_goes_on_to_the_same(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(quick, steps=6, recipe="glyph", lambd=0.05)
    config = TuneConfig(pretrain=own, candidates=3)
    plain, made = train_encoder, []

    def interrupted(asked: PretrainConfig) -> Path:
        made.append(asked.out.name)
        if made.count("rung-1-run-2") == 1 and made[-1] == "rung-1-run-2":
            raise Interrupted(2, 1, asked.out)
        return plain(asked)

    monkeypatch.setattr(trials, "train_encoder", interrupted)
    with pytest.raises(Interrupted, match="isojepa tune --resume"):
        search(config)
    with pytest.raises(UserError, match=r"--lambd is 0\.2 but the run has 0\.05"):
        search(replace(config, pretrain=replace(own, resume=True, lambd=0.2)))
    found = search(replace(config, pretrain=replace(own, resume=True)))
    assert found.whole
    assert sorted(set(made)) == ["rung-1-run-1", "rung-1-run-2", "rung-1-run-3", "rung-2-run-1",
                                 "trial"]  # fmt: skip
    assert [made.count(name) for name in sorted(set(made))] == [1, 2, 1, 1, 1]
    assert {one.settings.lambd for one in found.trials} == {0.05}


@pytest.mark.usefixtures("few")
def test_the_cost_is_told_and_the_budget_kept(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With made-up runs of ten seconds beside one a second for each update."""

    def made_up(config: PretrainConfig, name: str, deadline: float) -> object:
        del deadline
        if name == "trial":
            config.out.mkdir(parents=True)
            (config.out / "config.json").write_text(
                json.dumps({"config": {"lambd": 0.05, "lr": 1e-3, "recipe": "small"}})
            )
        found = Candidate(run=name, loss=config.lr)
        slow = 2 if name.startswith("rung-1") else 1
        seconds = slow * (10.0 + config.steps)
        return to_json(TrialOutcome(candidate=found, seconds=seconds, training=float(config.steps)))

    monkeypatch.setattr(tune, "train_one", made_up)
    own = replace(quick, steps=None, recipe="small")
    with pytest.raises(UserError, match=r"4 settings need 3 minutes; .* fewer --candidates"):
        search(TuneConfig(pretrain=own, candidates=4, budget=0.5))
    found = search(TuneConfig(pretrain=replace(own, resume=True), candidates=4, budget=10.0))
    assert found.minutes <= 10
    by_rung = {one.rung: one.steps for one in found.trials}
    assert by_rung[1] == int((0.95 * 600 - 14 - 70) / (4 + 2 * 3 + 9))
    assert by_rung[1] < by_rung[2] < 3 * by_rung[1]  # the first rung took twice its time
    assert found.best.lr == min(one.settings.lr for one in found.trials)


def test_a_run_out_of_time_is_no_result(quick: PretrainConfig) -> None:
    with pytest.raises(OutOfTime):
        train_one(quick, "a", 0.0)
    assert not quick.out.exists()


def test_collapse_is_a_result(quick: PretrainConfig) -> None:
    made = train_one(replace(quick, lr=1e30, clip=1e6), "a", 1e12)
    assert "infinite or NaN" in made["candidate"]["collapsed"]


def test_recipes_are_compared_by_what_is_trusted_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trial(recipe: str, loss: float, lidar: float) -> Trial:
        found = Candidate(run=recipe, loss=loss, lidar=lidar, comparable=(recipe,), accuracy=0.5)
        one = Hyperparameters(lambd=0.05, lr=1e-3, recipe=recipe)
        return Trial(
            rung=1, steps=9, settings=one, outcome=TrialOutcome(candidate=found, seconds=1.0)
        )

    plan = SearchPlan(pretrain={}, candidates=2)
    made = [trial("glyph", 0.9, 12.0), trial("small", 0.1, 3.0)]
    found = settle_search(tmp_path, plan, made, seconds=60.0, whole=False)
    assert (found.best.recipe, found.trusted) == ("glyph", "lidar")
    show_search(found)
    said_words = capsys.readouterr().out
    assert "not gone by" in said_words
    assert "used up before the last rung" in said_words


def test_where_all_collapse_it_says_so(tmp_path: Path) -> None:
    found = Candidate(run="a", loss=0.1, collapsed="on a point")
    one = Hyperparameters(lambd=0.05, lr=1e-3, recipe="glyph")
    made = [
        Trial(rung=1, steps=9, settings=one, outcome=TrialOutcome(candidate=found, seconds=1.0))
    ]
    with pytest.raises(UserError, match=r"ended well \(on a point\)"):
        settle_search(
            tmp_path, SearchPlan(pretrain={}, candidates=2), made, seconds=60.0, whole=True
        )
    assert (tmp_path / "tuned.json").is_file()
    assert not (tmp_path / "best.json").exists()


def test_the_words_of_a_search_reach_its_training(quick: PretrainConfig) -> None:
    config = TuneConfig(pretrain=PretrainConfig(data=quick.data, out=quick.out, lr=0.1))
    only_said(config, ["--data", "x", "--lr=0.1", "--budget", "3"])
    assert said(config.pretrain) == {"data", "lr"}


@pytest.mark.parametrize(
    ("changes", "own", "words"),
    [
        ({"budget": 0.0}, {}, "--budget must be positive"),
        ({"candidates": 1}, {}, "at least 2"),
        ({"recipes": ("glyph",)}, {"recipe": "glyph"}, "not both"),
        ({}, {"minutes": 3.0, "steps": None}, "--budget"),
        ({}, {"preview": Path("x.png")}, "isojepa pretrain"),
        ({}, {"regulariser": "vicreg"}, "SIGReg's scale"),
    ],
)
def test_wrong_input(quick: PretrainConfig, changes: dict, own: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        TuneConfig(pretrain=replace(quick, **own), **changes)


@pytest.mark.usefixtures("few")
def test_nothing_left_to_look_for(quick: PretrainConfig) -> None:
    own = replace(quick, lambd=0.1, lr=1e-3, recipe="glyph")
    with pytest.raises(UserError, match="nothing is left"):
        search(TuneConfig(pretrain=own))
    with pytest.raises(UserError, match="--resume to go on with it, --overwrite"):
        search(TuneConfig(pretrain=own))


def test_a_file_without_settings_is_refused(quick: PretrainConfig, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(UserError, match="no settings of a run"):
        train_encoder(replace(quick, like=tmp_path / "x.json"))
    (tmp_path / "x.json").write_text('{"lambd": "much"}')
    with pytest.raises(UserError, match="lambd"):
        train_encoder(replace(quick, like=tmp_path / "x.json"))
