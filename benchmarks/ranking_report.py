"""How good ranking is, as tables and as a picture of estimated against real bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from benchmarks import svg
from benchmarks.ranking_cases import Case, Figures, Outcome, judge
from benchmarks.ranking_pairs import DEVICE, QUICK
from benchmarks.tables import Table
from imagedelta.delta import DEFAULT_PROFILE
from imagedelta.ranking import rank
from imagedelta.signatures import Signature

CLOSE = 0.02
"""A chosen source whose patch is larger than the best one's by at most this part is as good."""
_COLOURS = {DEVICE: "#e4572e", QUICK: "#2e86ab"}
_WORDS = {DEVICE: "patch as built", QUICK: "patch built with quick coding"}
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 70, 830, 62, 600, 650


@dataclass(frozen=True)
class Estimate:
    """A pair's estimate, and what its patch really has."""

    target: str
    source: str
    coding: str
    real: float
    estimated: int

    @property
    def factor(self) -> float:
        """Estimated bytes per real byte."""
        return self.estimated / self.real


def outcomes(
    every: Iterable[Case], signatures: Mapping[str, Signature], figures: Figures, profile: str = DEFAULT_PROFILE.name
) -> list[Outcome]:
    """Judge the cases of which anything was measured."""
    return [outcome for case in every if (outcome := judge(case, signatures, figures, profile))]


def estimates(
    signatures: Mapping[str, Signature], figures: Figures, profile: str = DEFAULT_PROFILE.name
) -> list[Estimate]:
    """Estimate each measured pair."""
    found = []
    for target, source in figures.measured():
        (ranked,) = rank(signatures[target], [signatures[source]], profile=profile)
        coding, size = figures.coding(target, source), figures.size(target, source)
        found.append(Estimate(target, source, coding, size, ranked.estimated_bytes))
    return found


def tables(judged: Sequence[Outcome], estimated: Sequence[Estimate], figures: Figures) -> list[Table]:
    """Choices by target, choices that were not close, factors of the estimates, and how much the quick coding adds."""
    found = [_choices(judged), _not_close(judged, figures), _factors(estimated)]
    return [table for table in (*found, _quick(figures)) if table.rows]


def _choices(judged: Sequence[Outcome]) -> Table:
    targets = dict.fromkeys(outcome.case.target for outcome in judged)
    rows = [_choice_row(target, [o for o in judged if o.case.target == target]) for target in targets]
    header = ("target", "cases", "within 2 %", "best itself", "worst", "best measured as built", "with unmeasured")
    return Table("Chosen sources", header, (*rows, _choice_row("all", judged)))


def _choice_row(name: str, judged: Sequence[Outcome]) -> tuple[str, ...]:
    close = sum(outcome.regret <= CLOSE for outcome in judged)
    exact = sum(outcome.chosen == outcome.best for outcome in judged)
    return (
        name,
        str(len(judged)),
        f"{close} ({100 * close / len(judged):.1f} %)",
        str(exact),
        f"+{100 * max(outcome.regret for outcome in judged):.1f} %",
        str(sum(outcome.coding == DEVICE for outcome in judged)),
        str(sum(outcome.unmeasured > 0 for outcome in judged)),
    )


def _not_close(judged: Sequence[Outcome], figures: Figures) -> Table:
    rows = []
    for outcome in judged:
        if outcome.regret > CLOSE:
            target = outcome.case.target
            best = f"{figures.size(target, outcome.best):,.0f}"
            sources = str(len(outcome.case.sources))
            rows.append((target, sources, outcome.chosen, outcome.best, best, f"+{100 * outcome.regret:.1f} %"))
    return Table(
        "Choices that were not close", ("target", "sources", "chosen", "best", "best, bytes", "more"), tuple(rows)
    )


def _factors(estimated: Sequence[Estimate]) -> Table:
    kinds = [(_WORDS[coding], [e for e in estimated if e.coding == coding]) for coding in (DEVICE, QUICK)]
    rows = [_factor_row(name, group) for name, group in kinds if len(group) > 1]
    header = ("pairs", "count", "smallest", "5 %", "median", "95 %", "largest", "within a factor of 2")
    return Table("Estimated bytes per real byte", header, tuple(rows))


def _factor_row(name: str, group: Sequence[Estimate]) -> tuple[str, ...]:
    factors = sorted(estimate.factor for estimate in group)
    steps = quantiles(factors, n=20, method="inclusive")
    within = sum(0.5 <= factor <= 2 for factor in factors)
    shown = (factors[0], steps[0], median(factors), steps[-1], factors[-1])
    return (name, str(len(group)), *(f"{factor:.2f}" for factor in shown), f"{100 * within / len(group):.0f} %")


def _quick(figures: Figures) -> Table:
    targets = dict.fromkeys(target for target, _ in figures.measured())
    rows = [
        (target, str(len(savings)), f"{min(savings):.4f}", f"{max(savings):.4f}")
        for target in targets
        if (savings := figures.savings(target))
    ]
    return Table("Bytes as built per byte with quick coding", ("target", "pairs in both", "least", "most"), tuple(rows))


def picture(estimated: Sequence[Estimate]) -> str:
    """Estimated against real bytes, both logarithmic, as SVG; the diagonal is a perfect estimate."""
    title = "Patch size estimated from signatures, against the real one, bytes"
    values = [value for e in estimated for value in (e.real, float(e.estimated))]
    x, y = svg.LogScale.over(values, _LEFT, _RIGHT), svg.LogScale.over(values, _BOTTOM, _TOP)
    body = [svg.text(12, 22, title, "text", weight=600)]
    for position, (coding, words) in enumerate(_WORDS.items()):
        body.append(svg.dot(18 + 200 * position, 38, 4.5, _COLOURS[coding], words))
        body.append(svg.text(29 + 200 * position, 42, words, "text"))
    for tick in x.ticks():
        body += [svg.line(x.at(tick), _TOP, x.at(tick), _BOTTOM), svg.line(_LEFT, y.at(tick), _RIGHT, y.at(tick))]
        body.append(svg.text(x.at(tick), _BOTTOM + 18, svg.number(tick), "dim", "middle"))
        body.append(svg.text(_LEFT - 6, y.at(tick) + 4, svg.number(tick), "dim", "end"))
    body.append(svg.line(_LEFT, _BOTTOM, _RIGHT, _TOP))
    body += [svg.dot(x.at(e.real), y.at(e.estimated), 3.5, _COLOURS[e.coding], _words(e)) for e in estimated]
    body.append(svg.text((_LEFT + _RIGHT) / 2, _BOTTOM + 38, "real", "dim", "middle"))
    body.append(svg.text(12, _TOP - 6, "estimated", "dim"))
    return svg.document(_HEIGHT, title, body)


def _words(estimate: Estimate) -> str:
    sizes = f"{svg.number(estimate.estimated)} estimated, {svg.number(estimate.real)} real"
    return f"{estimate.source} to {estimate.target}: {sizes}"
