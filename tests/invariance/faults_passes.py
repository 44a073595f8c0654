"""Faults of methods that run masked images, ablated maps or a decomposition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.invariance.literal import (
    Seen,
    ablation_weights,
    bell,
    cells,
    drops,
    edges,
    grey,
    kept,
    masked_logits,
    masks,
    minmax,
    of_varying,
    own_score,
    raised,
    row_by_row,
    weighted,
)
from tests.invariance.planting import step

Row = Callable[[Seen, int], Tensor]


def masking(name: str, fault: str, made: Row) -> None:
    """Add ScoreCAM with other masks (K×H×W)."""
    scoring(name, fault, lambda s, row: scored(s, row, made(s, row)).softmax(dim=0))


def scoring(name: str, fault: str, weights: Row) -> None:
    """Add ScoreCAM with other weights (K)."""
    step(
        "scorecam",
        name,
        fault,
        map=row_by_row(lambda s, row: of_varying(weights(s, row), s.A[row])),
    )


def ablating(name: str, fault: str, weights: Row) -> None:
    """Add AblationCAM with other weights (K)."""
    step("ablationcam", name, fault, map=weighted(row_by_row(weights)))


def decomposing(claims: str, name: str, fault: str, shown: Callable[[Tensor], Tensor]) -> None:
    """Add EigenCAM, or EigenGradCAM, with another view (h×w) of the maps (K×h×w)."""

    def one(seen: Seen, row: int) -> Tensor:
        maps = seen.A if claims == "eigencam" else seen.G * seen.A
        return shown(maps[row]).relu()

    step(claims, name, fault, map=row_by_row(one))


def scored(seen: Seen, row: int, made: Tensor) -> Tensor:
    """Scores (K) of image `row` under masks (K×H×W)."""
    return seen.scores(masked_logits(seen, row, made), row)


def over_all(maps: Tensor) -> Tensor:
    """Min-max of all maps (K×H×W) together; 0 where they are constant."""
    low, high = maps.amin(), maps.amax()
    return (maps - low) / torch.where(high > low, high - low, 1)


def first_masks(seen: Seen, _row: int) -> Tensor:
    """The masks (K×H×W) of the first image."""
    return masks(seen, 0)


def low_masks(seen: Seen, row: int) -> Tensor:
    """Masks (K×H×W) normalised before they are upsampled."""
    return raised(minmax(seen.A[row]), seen, align_corners=True)


def nearest_masks(seen: Seen, row: int) -> Tensor:
    """Masks (K×H×W) of one value a cell."""
    size = seen.images.shape[-2:]
    return minmax(F.interpolate(seen.A[row][:, None], size=size, mode="nearest")[:, 0])


def over_classes(seen: Seen, row: int) -> Tensor:
    """Class probabilities (K), normalised over the classes in place of the channels."""
    logits = masked_logits(seen, row, masks(seen, row))
    return seen.scores(logits.softmax(dim=1), row)


def cumulative(seen: Seen, row: int) -> Tensor:
    """Drops (K) where ablated channels stay ablated."""
    ablated = seen.A[row].repeat(seen.A.shape[1] + 1, 1, 1, 1)
    for channel in range(seen.A.shape[1]):
        ablated[channel + 1 :, channel] = 0
    scores = kept(seen, row, ablated)
    return (scores[:-1] - scores[1:]) / own_score(seen, row).abs()


def to_mean(seen: Seen, row: int) -> Tensor:
    """Drops (K) where a channel is set to its mean over the cells."""
    ablated = seen.A[row].repeat(seen.A.shape[1], 1, 1, 1)
    for channel in range(seen.A.shape[1]):
        ablated[channel, channel] = seen.A[row, channel].mean()
    score = own_score(seen, row)
    return (score - kept(seen, row, ablated)) / score.abs()


def by_ablated(seen: Seen, row: int) -> Tensor:
    """Drops (K) divided by the scores without the channel."""
    fallen = drops(seen, row)
    left = (own_score(seen, row) - fallen).abs()
    return fallen / torch.where(left == 0, 1, left)


def components(maps: Tensor, *, centred: bool = True, axis: int = 0) -> tuple[Tensor, Tensor]:
    """B (hw×K) of maps (K×h×w), less its mean along `axis`, and its right singular vectors."""
    B = maps.flatten(1).T
    if centred:
        B = B - B.mean(dim=axis, keepdim=True)
    return B, torch.linalg.svd(B, full_matrices=False)[2]


def agreed(shown: Tensor, B: Tensor, maps: Tensor) -> Tensor:
    """`shown` (hw) with the right sign, as h×w."""
    return (shown if shown @ B.mean(dim=1) >= 0 else -shown).reshape(maps.shape[1:])


def uncentred(maps: Tensor) -> Tensor:
    """The first component of the activations as they are."""
    B, V = components(maps, centred=False)
    return agreed(B @ V[0], B, maps)


def centred_cells(maps: Tensor) -> Tensor:
    """The first component with each cell's mean over the channels subtracted."""
    B, V = components(maps, axis=1)
    return agreed(B @ V[0], maps.flatten(1).T, maps)


def second(maps: Tensor) -> Tensor:
    """The second component, or nothing where there is one alone."""
    B, V = components(maps)
    return agreed(B @ V[1] if len(V) > 1 else B @ V[0] * 0, B, maps)


def as_it_comes(maps: Tensor) -> Tensor:
    """The first component with the sign that the decomposition gives."""
    B, V = components(maps)
    return (B @ V[0]).reshape(maps.shape[1:])


def first_cell_positive(maps: Tensor) -> Tensor:
    """The first component, signed so that the upper left cell is positive."""
    shown = as_it_comes(maps)
    return shown if shown[0, 0] >= 0 else -shown


def vector_alone(maps: Tensor) -> Tensor:
    """The first left singular vector, without its singular value."""
    B, _ = components(maps)
    U, sizes, _ = torch.linalg.svd(B, full_matrices=False)
    return agreed(U[:, 0] * (sizes[0] > 0), B, maps)


def shifted_cells(seen: Seen, row: int) -> Tensor:
    """ReciproCAM with the features of the right neighbour (the first cell for the last)."""
    return cells(seen, row).roll(-1, dims=1)


def hidden_cells(seen: Seen, row: int) -> Tensor:
    """`ReLU(s_c − s_c(A without cell ij))` (h×w)."""
    A = seen.A[row]
    h, w = A.shape[1:]
    others = (1 - torch.eye(h * w)).to(A).reshape(h * w, 1, h, w) * A
    return (kept(seen, row, A[None]) - kept(seen, row, others)).relu().reshape(h, w)


def unsubtracted(seen: Seen, row: int) -> Tensor:
    """`ReLU(s_c(A ⊙ 1_ij))` (h×w)."""
    A = seen.A[row]
    h, w = A.shape[1:]
    alone = torch.eye(h * w).to(A).reshape(h * w, 1, h, w) * A
    return kept(seen, row, alone).relu().reshape(h, w)


def by_columns(seen: Seen, row: int) -> Tensor:
    """ReciproCAM's cells, numbered by columns but laid out by rows."""
    shown = cells(seen, row)
    return shown.T.reshape(shown.shape)


def ungated(seen: Seen, row: int) -> Tensor:
    """ScoreCAM++ that sums the maps in place of their tanh."""
    alpha = scored_gates(seen, row)
    return (alpha[:, None, None] * raised(seen.A[row], seen)).sum(dim=0).relu()


def scored_gates(seen: Seen, row: int) -> Tensor:
    """`p_c(x ⊙ tanh(Up(A_k)))` (K)."""
    logits = masked_logits(seen, row, raised(seen.A[row], seen).tanh())
    return seen.scores(logits.softmax(dim=1), row)


def raised_gates(seen: Seen, row: int) -> Tensor:
    """ScoreCAM++ with `Up(tanh(A))` in place of `tanh(Up(A))` in the map."""
    alpha = scored_gates(seen, row)
    return (alpha[:, None, None] * raised(seen.A[row].tanh(), seen)).sum(dim=0).relu()


def off_centre(seen: Seen) -> Tensor:
    """The Gaussian control around cell (H/2, W/2), half a pixel from the middle."""
    height, width = seen.images.shape[-2:]
    one = torch.outer(bell(height, height / 2), bell(width, width / 2))
    return one.to(seen.images).expand(len(seen.images), -1, -1).clone()


masking(
    "raw-masks",
    "does not normalise the masks",
    lambda s, row: raised(s.A[row], s, align_corners=True),
)
masking(
    "joint-masks",
    "normalises all channels' masks together",
    lambda s, row: over_all(raised(s.A[row], s, align_corners=True)),
)
masking(
    "half-pixel-masks",
    "upsamples the masks without aligned corners",
    lambda s, row: minmax(raised(s.A[row], s)),
)
masking("nearest-masks", "upsamples the masks by the nearest cell", nearest_masks)
masking("early-masks", "normalises the masks before upsampling them", low_masks)
masking("inverse-masks", "hides what the mask shows", lambda s, row: 1 - masks(s, row))
masking("first-masks", "takes the masks of the first image for all images", first_masks)
masking("binary-masks", "cuts the masks at one half", lambda s, row: (masks(s, row) > 0.5).to(s.A))
scoring(
    "no-softmax",
    "takes the scores for weights, without baseline or softmax",
    lambda s, row: scored(s, row, masks(s, row)),
)
scoring(
    "softmax-over-classes", "takes the softmax over the classes, not the channels", over_classes
)
scoring(
    "inverse-softmax",
    "takes the softmax of the negated scores",
    lambda s, row: (-scored(s, row, masks(s, row))).softmax(dim=0),
)
scoring(
    "hard-softmax",
    "gives all weight to the channel of best score",
    lambda s, row: F.one_hot(scored(s, row, masks(s, row)).argmax(), s.A.shape[1]).to(s.A),
)
scoring(
    "channel-baseline",
    "subtracts the score of the image times the channel's mean",
    lambda s, row: (
        scored(s, row, masks(s, row))
        - scored(
            s,
            row,
            s.A[row].mean(dim=(1, 2), keepdim=True).expand_as(masks(s, row)),
        )
    ).softmax(dim=0),
)

ablating("absolute-drops", "takes |s_c − s_c⁽ᵏ⁾|", lambda s, row: ablation_weights(s, row).abs())
ablating("added-drops", "takes s_c⁽ᵏ⁾ − s_c", lambda s, row: -ablation_weights(s, row))
ablating("mean-for-zero", "sets channels to their mean in place of 0", to_mean)
ablating("ablated-denominator", "divides by s_c⁽ᵏ⁾ in place of s_c", by_ablated)
ablating(
    "signed-denominator",
    "divides by s_c, which turns the map where it is negative",
    lambda s, row: drops(s, row) / own_score(s, row),
)
ablating(
    "next-channel",
    "gives channel k the drop of channel k − 1",
    lambda s, row: ablation_weights(s, row).roll(1),
)
ablating("cumulative", "does not put channels back before it ablates the next", cumulative)
ablating("undivided", "does not divide by |s_c|", lambda s, row: drops(s, row))
ablating(
    "positive-drops",
    "leaves out channels whose absence helps",
    lambda s, row: ablation_weights(s, row).relu(),
)

decomposing("eigencam", "uncentred", "does not centre the activations", uncentred)
decomposing("eigencam", "centred-cells", "centres each cell over the channels", centred_cells)
decomposing("eigencam", "second-component", "shows the second component", second)
decomposing("eigencam", "free-sign", "takes the sign that the decomposition gives", as_it_comes)
decomposing(
    "eigengradcam", "corner-sign", "signs the component by its first cell", first_cell_positive
)
decomposing("eigengradcam", "unit-length", "leaves out the singular value", vector_alone)
decomposing("eigengradcam", "uncentred", "does not centre G ⊙ A", uncentred)

step("reciprocam", "right-neighbour", "keeps the cell to the right", map=row_by_row(shifted_cells))
step(
    "reciprocam",
    "hidden-cells",
    "hides the cell in place of keeping it alone",
    map=row_by_row(hidden_cells),
)
step(
    "reciprocam",
    "unsubtracted",
    "does not subtract the score of empty features",
    map=row_by_row(unsubtracted),
)
step(
    "reciprocam",
    "column-order",
    "numbers the cells by columns and lays them out by rows",
    map=row_by_row(by_columns),
)
step("scorecam++", "ungated-map", "gates the masks alone, not the maps", map=row_by_row(ungated))
step(
    "scorecam++",
    "early-gate",
    "takes the tanh of the map before upsampling",
    map=row_by_row(raised_gates),
)
step("gaussian", "off-centre", "is centred half a pixel from the middle", map=off_centre)
step(
    "sobel",
    "horizontal",
    "takes the derivative across alone",
    map=lambda s: edges(s.images)[0].abs(),
)
step(
    "sobel",
    "sum-of-sides",
    "adds |g_x| and |g_y|",
    map=lambda s: edges(s.images)[0].abs() + edges(s.images)[1].abs(),
)
step(
    "sobel",
    "one-colour",
    "reads the first colour channel alone",
    map=lambda s: sum(part**2 for part in edges(s.images[:, :1])).sqrt(),
)
step(
    "sobel",
    "brightness",
    "shows the luminance, not its derivative",
    map=lambda s: grey(s.images)[:, 0].abs(),
)
