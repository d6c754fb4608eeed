"""What is proposed: for ever the same, from exact arithmetic alone, and better than what is drawn at random."""

import ast
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repro.scheduler.configs.draws import Draws
from repro.scheduler.configs.variations import Span
from repro.scheduler.search import engine, parzen
from repro.scheduler.search.parzen import Parzen
from repro.scheduler.search.random_sampler import Random
from repro.scheduler.search.search_config import Search
from repro.scheduler.search.space import Axis, Space
from repro.scheduler.search.spread import Spread
from repro.scheduler.search.tpe import START, Tpe
from repro.scheduler.search.trials import Trial

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).with_name("proposals.json")
SPACE = Space.of({"x": Span(0.0, 1.0), "y": Span(1, 6), "z": ["a", "b", "c"], "w": [1, 2, 4]})


@pytest.mark.parametrize("hash_seed", ["0", "1", "4294967295"])
def test_the_golden_proposals(hash_seed):
    done = subprocess.run(
        [sys.executable, "-m", "tests.scheduler.search.proposals"],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == GOLDEN.read_text()


SOURCES = [*(ROOT / "scheduler" / "search").glob("*.py"), ROOT / "scheduler" / "configs" / "draws.py"]
EXACT = {"fsum", "sqrt", "ceil", "prod", "isfinite", "nan"}  # rounded correctly, or of integers


def inexact(tree):
    """What may differ in its last bit: functions of the C library, powers, and `sum`, which 3.12 made more exact."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="math"), attr=name) if name not in EXACT:
                yield name
            case ast.ImportFrom(module="math", names=names):
                yield from (alias.name for alias in names if alias.name not in EXACT)
            case ast.BinOp(op=ast.Pow(), left=left) if not isinstance(left, ast.Constant):
                yield "**"
            case ast.Call(func=ast.Name(id="sum" | "hash" as name)):
                yield name
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_arithmetic_that_is_the_same_everywhere(path):
    assert list(inexact(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("code", ["math.exp(1)", "from math import log", "x ** 0.5", "sum(x)", "random.gauss(0, 1)"])
def test_other_arithmetic_is_caught(code):
    assert list(inexact(ast.parse(code)))


@given(st.integers(-300, 300))
def test_the_spline_is_a_density_and_its_area_the_integral(hundredths):
    """Simpson's rule is exact for cubics."""
    at, step = hundredths / 100, 0.01
    simpson = (parzen._spline(at) + 4 * parzen._spline(at + step / 2) + parzen._spline(at + step)) * step / 6
    assert parzen._area(at + step) - parzen._area(at) == pytest.approx(simpson, abs=1e-12)
    assert parzen._spline(at) == pytest.approx(parzen._spline(-at))
    assert (parzen._area(-2), parzen._area(0), parzen._area(2)) == (0, 0.5, 1)


def test_the_spline_is_nearly_a_gauss_curve():
    knot = parzen.KNOT
    for tenths in range(-40, 41):
        at = tenths / 10
        gauss = math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
        assert parzen._spline(at / knot) / knot == pytest.approx(gauss, abs=0.02)


POINTS = [(0.1, 0.25, 0.5, 0.5), (0.9, 0.75, 0.5, 0.5), (0.95, 0.75, 1 / 6, 1 / 6)]


@pytest.mark.parametrize("points", [[], POINTS[:1], POINTS])
def test_a_density_has_an_area_of_one(points):
    space = Space.of({"x": Span(0.0, 1.0), "y": Span(1, 6), "z": ["a", "b", "c"]})
    found = Parzen(space, [space.rounded(point[:3]) for point in points])
    steps, total = 400, 0.0
    for y in range(1, 7):
        for z in "abc":
            for x in range(steps):
                total += found.density(space.point({"x": (x + 0.5) / steps, "y": y, "z": z})) / steps / 18
    assert total == pytest.approx(1, abs=1e-4)


def test_what_is_drawn_is_as_dense_as_the_density():
    space = Space.of({"y": Span(1, 6), "z": ["a", "b", "c"]})
    points = [space.point({"y": 2, "z": "a"}), space.point({"y": 2, "z": "b"})]
    found, source, drawn = Parzen(space, points), Draws("drawn"), {}
    for _ in range(20_000):
        point = found.draw(source)
        drawn[point] = drawn.get(point, 0) + 1
    for y in range(1, 7):
        for z in "abc":
            point = space.point({"y": y, "z": z})
            assert drawn.get(point, 0) / 20_000 == pytest.approx(found.density(point) / 18, abs=0.012)


def test_the_first_points_are_spread_evenly():
    """Each of ten equal parts of every axis has its share of forty points."""
    for seed in range(20):
        spread = Spread(4, seed)
        points = [spread.at(number) for number in range(1, 41)]
        for axis in range(4):
            shares = [sum(int(point[axis] * 10) == part for point in points) for part in range(10)]
            assert all(1 <= share <= 8 for share in shares), (seed, axis, shares)
    assert Spread(1, 0).at(5) != Spread(1, 1).at(5)


def trials(count, score=lambda values: abs(values["x"] - 0.3)):
    sampler = Random(SPACE, 5)
    found = list[Trial]()
    for number in range(1, count + 1):
        found.append(Trial(number, sampler.propose(number, found, [])))
    return sorted(found, key=lambda trial: (score(trial.values), trial.number))


@given(st.integers(), st.integers(0, 40), st.integers(0, 8), st.sampled_from([Tpe, Random]))
def test_a_proposal_follows_from_what_is_told_alone(seed, count, flying, kind):
    known = trials(count)
    ranked, in_flight = known[flying:], sorted(known[:flying])
    fresh, used = kind(SPACE, seed), kind(SPACE, seed)
    used.propose(999, ranked[::-1], [])
    found = fresh.propose(count + 1, ranked, in_flight)
    assert found == used.propose(count + 1, ranked, in_flight)
    assert SPACE.point(found) is not None
    assert found not in [trial.values for trial in known]


def test_it_looks_where_the_best_are():
    ranked = trials(60)
    found = [Tpe(SPACE, seed).propose(61, ranked, [])["x"] for seed in range(40)]
    assert sum(abs(x - 0.3) < 0.15 for x in found) > 30


def test_those_in_flight_keep_others_away():
    space = Space.of({"x": Span(0.0, 1.0)})
    ranked = [Trial(n, {"x": x}) for n, x in enumerate([0.3, 0.31, 0.9, 0.7, 0.1, 0.5, 0.6, 0.8, 0.0, 1.0, 0.75, 0.85])]
    flying = [Trial(20 + n, {"x": 0.26 + n * 0.01}) for n in range(8)]
    near = [abs(Tpe(space, seed).propose(40, ranked, [])["x"] - 0.3) < 0.06 for seed in range(60)]
    nearer = [abs(Tpe(space, seed).propose(40, ranked, flying)["x"] - 0.3) < 0.06 for seed in range(60)]
    assert sum(nearer) < sum(near) / 2


def test_who_has_failed_is_no_example():
    ranked = [trial._replace(is_fit=False) for trial in trials(60)]
    spread = Tpe(SPACE, 0).propose(61, [], [])
    assert Tpe(SPACE, 0).propose(61, ranked, []) == spread  # of those that have all failed nothing is learnt
    only = [Trial(99, {"x": 0.9, "y": 6, "z": "c", "w": 4}), *ranked]
    found = [Tpe(SPACE, seed).propose(61, only, [])["x"] for seed in range(20)]
    assert sum(x > 0.5 for x in found) > 14


def test_a_source_that_lies_outside_is_no_point():
    ranked = [Trial(0, {"x": 7.0, "y": 1, "z": "a", "w": 1}), *trials(START)]
    assert Tpe(SPACE, 0).propose(50, ranked, []) == Tpe(SPACE, 0).propose(50, ranked[1:], [])


def test_it_finds_more_than_chance():
    """A ball in six dimensions, ten seeds: after sixty trials its best is several times as near."""
    choices = {f"x{number}": Span(0.0, 1.0) for number in range(6)}

    def best(sampler, seed):
        search = Search("model", "loss", choices, minimize=True, trials=60, sampler=sampler, seed=seed)
        results, known = {engine.SOURCE: 9.0}, {}
        while not (found := engine.replay(search, {}, results, known)).over:
            known |= {job.trial: job.values for job in found.jobs}
            results |= {job.key: math.fsum((x - 0.4) ** 2 for x in job.values.values()) for job in found.waits}
        return results[found.winner.key]

    tpe, chance = (sorted(best(sampler, seed) for seed in range(10)) for sampler in ("tpe", "random"))
    assert tpe[5] < chance[5] / 2


def test_very_many_axes_and_choices_stay_finite():
    space = Space.of(
        {f"x{number}": Span(0.0, 1.0) for number in range(25)}
        | {f"c{number}": [str(choice) for choice in range(200)] for number in range(25)}
    )
    point = space.rounded([0.5] * 50)
    assert math.isfinite(Parzen(space, [point] * 200).density(point))
    assert all(axis.size in (None, 200) for axis in space.axes)
    assert Axis("x", Span(0.0, 1.0)).size is None
