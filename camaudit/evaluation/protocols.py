"""Published evaluations as presets: the methods, metrics and claims of a paper's tables.

Nothing here imports torch: methods stand as specifications, which the caller resolves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from camaudit.errors import UsageError
from camaudit.evaluation import published
from camaudit.evaluation.published import AUTHORS_SCORECAM, PublishedTable, each_once

__all__ = ["PROTOCOLS", "Ordering", "Protocol", "ProtocolTable", "protocol"]


@dataclass(frozen=True)
class Ordering:
    """A published claim: `better` beats `worse` on `metric`; `claim` is where it is made."""

    better: str
    worse: str
    metric: str
    claim: str


@dataclass(frozen=True)
class ProtocolTable:
    """Methods that are compared with each other, and what was published of them.

    methods: specifications in canonical spelling; Win % is taken among them. metrics: registry
    names (`mu_l1` and `mu_l2`: the dead-zone mass). checks: what computes them, for --checks.
    published: shown beside. orderings: the claims to be judged. transformer: whether the maps are
    of a transformer's token grid. Raises :class:`DuplicateNameError` for a method, metric, check
    or claim that occurs twice, and :class:`UsageError` for a claim about others.
    """

    key: str
    title: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    checks: tuple[str, ...]
    published: tuple[PublishedTable, ...] = ()
    orderings: tuple[Ordering, ...] = ()
    transformer: bool = False

    def __post_init__(self) -> None:
        each_once("method", self.methods)
        each_once("metric", self.metrics)
        each_once("check", self.checks)
        each_once("published table", (f"{table.paper}, {table.title}" for table in self.published))
        each_once("claim", (f"{o.better} over {o.worse} on {o.metric}" for o in self.orderings))
        for order in self.orderings:
            known = {order.better, order.worse} <= set(
                self.methods
            ) and order.metric in self.metrics
            if not known or order.better == order.worse:
                raise UsageError(
                    f"table {self.key!r}: expected two of its methods and one of its metrics; got "
                    f"{order.better} over {order.worse} on {order.metric}"
                )


@dataclass(frozen=True)
class Protocol:
    """A paper's evaluation: its tables, and in `notes` which forms of the methods are run.

    Raises :class:`DuplicateNameError` for a key that occurs twice.
    """

    name: str
    title: str
    source: str
    tables: tuple[ProtocolTable, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        each_once("table", (table.key for table in self.tables))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of all tables, each once, in order."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.methods))

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks of all tables, each once, in order."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.checks))

    @property
    def rivals(self) -> tuple[tuple[str, ...], ...]:
        """The groups of methods that Win % is taken among: one for each table that has it."""
        return tuple(table.methods for table in self.tables if "win" in table.metrics)


def _beats(
    better: str, others: tuple[str, ...], metrics: tuple[str, ...], claim: str
) -> tuple[Ordering, ...]:
    """`better` over each of the `others` on each of the `metrics`."""
    return tuple(
        Ordering(better, worse, metric, claim)
        for metric in metrics
        for worse in others
        if worse != better
    )


_SEVEN = (
    "gradcam", "gradcam++", "xgradcam", "layercam", AUTHORS_SCORECAM, "augmentedgradcam++",
    "scorecam++",
)  # fmt: skip
_GATES = (
    "scorecam++",
    "scorecam++(activation=relu)",
    "scorecam++(activation=sigmoid)",
    "scorecam++(activation=mish)",
    "scorecam++(activation=swish)",
)
_CASES = ("scorecam++", "scorecam++(gate_map=false)")
_TRANSFORMER = tuple(name for name in _SEVEN if name != "augmentedgradcam++")
_CONFIDENCE = ("average-drop", "increase-in-confidence", "win")

_SCORECAM_PLUS_PLUS = Protocol(
    "scorecam++",
    "ScoreCAM++",
    "Mitra et al. 2024, Reliable or Deceptive? Investigating Gated Features for Smooth Visual "
    "Explanations in CNNs (arXiv 2404.19341)",
    (
        ProtocolTable(
            "main", "Tables 1–4: seven methods", _SEVEN, _CONFIDENCE, ("confidence",),
            (
                published.SCORECAM_PP_1, published.SCORECAM_PP_2, published.SCORECAM_PP_3,
                published.SCORECAM_PP_4,
            ),
            _beats("scorecam++", _SEVEN, _CONFIDENCE, "sections 5.1 and 5.2, Tables 1–4"),
        ),
        ProtocolTable(
            "activations", "Table 5: five activations in the mask and in the map", _GATES,
            _CONFIDENCE, ("confidence",), (published.SCORECAM_PP_5,),
            _beats("scorecam++", _GATES, _CONFIDENCE, "section 6.1, Table 5"),
        ),
        ProtocolTable(
            "cases", "Table 6: tanh in the mask only, or in both", _CASES, _CONFIDENCE,
            ("confidence",), (published.SCORECAM_PP_6,),
            _beats("scorecam++", _CASES, _CONFIDENCE, "section 6.3, Table 6"),
        ),
        ProtocolTable(
            "logit", "Table 7: average drop in logit", _SEVEN, ("drop-in-logit",),
            ("confidence",), (published.SCORECAM_PP_7,),
            _beats("scorecam++", _SEVEN, ("drop-in-logit",), "section 6.4, Table 7"),
        ),
        ProtocolTable(
            "vit", "Table 8: a vision transformer", _TRANSFORMER, _CONFIDENCE, ("confidence",),
            (published.SCORECAM_PP_8,),
            _beats("scorecam++", _TRANSFORMER, _CONFIDENCE, "appendix B, Table 8"),
            transformer=True,
        ),
    ),
    (
        "ScoreCAM is run as its authors' code has it: class probabilities as weights, no softmax "
        "over channels.",
        "ScoreCAM++ weighs by the raw probability, as its authors' code does; the printed weight, "
        "less the probability of the whole image, is mostly negative and often leaves an empty "
        "map: scorecam++(baseline=input). Its gate is tanh, as printed; the authors' file ships "
        "another: scorecam++(activation=shipped).",
        "Augmented GradCAM++ averages its copies where the paper's super-resolves them.",
    ),
)  # fmt: skip

_WANG = ("gradcam", "gradcam++", AUTHORS_SCORECAM)
_LOCALISED = ("average-drop", "increase-in-confidence", "energy-pointing-game")

_SCORE_CAM = Protocol(
    "score-cam",
    "Score-CAM",
    "Wang et al. 2020, Score-CAM, as reported by Miró López-Feliu and Gonzalez Vidal 2024",
    (
        ProtocolTable(
            "main", "Table 1: faithfulness and localisation", (*_WANG, "scorecam"), _LOCALISED,
            ("confidence", "localisation"), (published.SCORE_CAM_REPORT,),
            _beats(AUTHORS_SCORECAM, _WANG, _LOCALISED, "section 5.2, Table 1"),
        ),
    ),
    (
        "Average increase is the increase in confidence; localisation is the energy-based "
        "pointing game and needs boxes or masks.",
        "ScoreCAM is run as its authors' code has it, and once more with the softmax over "
        "channels of logits, as the formula is written; the published figures stand beside the "
        "first.",
    ),
)  # fmt: skip

_SURVEYED = ("cam", "gradcam", "gradcam++", "scorecam", "ablationcam", "reciprocam")

_ADCC = Protocol(
    "adcc",
    "ADCC",
    "Overview of Class Activation Maps for Visualization Explainability (arXiv 2309.14304); "
    "Poppi et al. 2021 for the metric",
    (
        ProtocolTable(
            "main", "ADCC and its three parts", _SURVEYED,
            ("adcc", "coherency", "map-complexity", "average-drop"), ("adcc",),
            (published.OVERVIEW_ADCC,),
            _beats("reciprocam", _SURVEYED, ("adcc",), "summary: best of the methods compared"),
        ),
    ),
    (
        "CAM needs a linear head after global average pooling and does not apply elsewhere.",
        "The smoothed and the integrated ScoreCAM, of which the overview speaks too, take many "
        "times ScoreCAM's passes and are left out.",
    ),
)  # fmt: skip

_TESTED = (
    "gradcam", "gradcam++", "xgradcam", "scorecam", "ablationcam", "eigencam", "hirescam",
)  # fmt: skip

_SEEING_WALLS = Protocol(
    "walls",
    "CAM-Based Methods Can See through Walls",
    "Taimeskhanov et al. 2024 (arXiv 2404.01964)",
    (
        ProtocolTable(
            "main", "Table 1: dead-zone mass", _TESTED, ("mu_l1", "mu_l2"), ("dead-zone",),
            (published.WALLS_1, published.WALLS_UNIFORM, published.WALLS_LITE0),
            _beats(
                "hirescam", _TESTED, ("mu_l2",),
                "section 2.2: the only one of them without a global coefficient",
            ),
        ),
    ),
    (
        "ScoreCAM is run as pytorch-grad-cam has it, which the paper used.",
        "The paper's norm is L2; L1 is the share of the map itself.",
    ),
)  # fmt: skip

#: Every protocol by its name.
PROTOCOLS: dict[str, Protocol] = {
    entry.name: entry for entry in (_SCORECAM_PLUS_PLUS, _SCORE_CAM, _ADCC, _SEEING_WALLS)
}


def protocol(spec: str) -> Protocol:
    """The protocol that `spec` names: `scorecam++`, or only some tables, `scorecam++:main,cases`.

    Without tables it has all that apply to a convolutional network; a transformer's are chosen by
    name. Chosen tables come in the protocol's own order. Raises :class:`UsageError` for a name or
    a table that does not exist, with those that do, for a table that is named twice, and for none.
    """
    name, chosen, listed = (part.strip() for part in spec.partition(":"))
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}; known are: {', '.join(PROTOCOLS)}")
    whole = PROTOCOLS[name]
    if not chosen:
        return replace(whole, tables=tuple(t for t in whole.tables if not t.transformer))
    keys = [key.strip() for key in listed.split(",")]
    known = [table.key for table in whole.tables]
    for key in keys:
        if key not in known:
            raise UsageError(f"protocol {name} has no table {key!r}; known are: {', '.join(known)}")
    each_once("table", keys)
    return replace(whole, tables=tuple(table for table in whole.tables if table.key in keys))
