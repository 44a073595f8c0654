"""Short, literal, right explainers in steps, so that one step can be replaced by a wrong one.

They share nothing with the registered methods but the definition: torch hooks and autograd alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.errors import NotApplicableError
from camaudit.methods.noise import normal

Score = Callable[[Tensor, Tensor], Tensor]  #: logits (N×C), targets (N) → scores (N)


@dataclass(frozen=True, eq=False)
class Seen:
    """What one pass shows: A and G (N×K×h×w) at the layer, logits (N×C), and what was asked."""

    model: nn.Module
    layer: str
    images: Tensor
    targets: Tensor
    score: Score
    A: Tensor
    G: Tensor
    logits: Tensor

    def read(self, A: Tensor, row: int) -> Tensor:
        """Logits (M×C) of image `row` with A (M×K×h×w) in place of the layer's output."""
        return read(self.model, self.layer, self.images[row : row + 1], A)

    def scores(self, logits: Tensor, row: int) -> Tensor:
        """Scores (M) of logits (M×C) for the class asked for image `row`."""
        return self.score(logits, self.targets[row].expand(len(logits)))


Look = Callable[[nn.Module, str, Tensor, Tensor, Score], Seen]
Map = Callable[[Seen], Tensor]
Weights = Callable[[Seen], Tensor]


@dataclass(frozen=True)
class Literal:
    """An explainer `map(look(…, score))`: every step can be replaced."""

    map: Map
    score: Score = lambda logits, targets: target_logit(logits, targets)
    look: Look = lambda *asked: look(*asked)

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """Maps N×h×w or N×H×W."""
        return self.map(self.look(model, layer, images, targets, self.score))


def target_logit(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c` (N)."""
    return logits.gather(1, targets[:, None])[:, 0]


def look(model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score) -> Seen:
    """One forward pass; the gradient of the scores with respect to the layer's output."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[0].clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = model(images)
            (G,) = torch.autograd.grad(score(logits, targets).sum(), kept[0])
    finally:
        handle.remove()
    A = kept[0].detach()
    return Seen(model, layer, images, targets, score, A, G, logits.detach())


def read(model: nn.Module, layer: str, image: Tensor, A: Tensor) -> Tensor:
    """Logits (M×C) of an image (1×C×H×W) with A (M×K×h×w) in place of the layer's output."""
    handle = model.get_submodule(layer).register_forward_hook(lambda *_: A.clone())
    try:
        logits: Tensor = model(image.expand(len(A), -1, -1, -1))
    finally:
        handle.remove()
    return logits


def combined(weights: Tensor, A: Tensor) -> Tensor:
    """`ReLU(Σ_k w_k A_k)`: weights N×K, A N×K×h×w."""
    return (weights[:, :, None, None] * A).sum(dim=1).relu()


def weighted(weights: Weights) -> Map:
    """The map `ReLU(Σ_k w_k A_k)` of channel weights."""
    return lambda seen: combined(weights(seen), seen.A)


def row_by_row(one: Callable[[Seen, int], Tensor]) -> Callable[[Seen], Tensor]:
    """`one(seen, row)` of every image, stacked."""
    return lambda seen: torch.stack([one(seen, row) for row in range(len(seen.images))])


def raised(maps: Tensor, seen: Seen, *, align_corners: bool = False) -> Tensor:
    """Maps (M×h×w) at the images' size, bilinear."""
    size = seen.images.shape[-2:]
    return F.interpolate(
        maps[:, None], size=size, mode="bilinear", align_corners=align_corners
    )[:, 0]  # fmt: skip


def minmax(maps: Tensor) -> Tensor:
    """`(m − min m)/(max m − min m)` of each map (M×h×w); 0 where it is constant."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1)


def mean_gradient(seen: Seen) -> Tensor:
    """`w_k = mean_ij G_kij` (N×K)."""
    return seen.G.mean(dim=(2, 3))


def plus_plus(D1: Tensor, D2: Tensor, D3: Tensor, A: Tensor) -> Tensor:
    """`w_k = Σ_ij D2/(2 D2 + D3 Σ A) ReLU(D1)` (N×K), terms 0 where D1 is not positive."""
    below = 2 * D2 + D3 * A.sum(dim=(2, 3), keepdim=True)
    return torch.where(D1 > 0, D2 / torch.where(D1 > 0, below, 1) * D1, 0).sum(dim=(2, 3))


def alpha_weights(seen: Seen) -> Tensor:
    """Grad-CAM++'s weights (N×K): G divided by its own largest value, so that G³ is not lost."""
    high = seen.G.abs().amax(dim=(1, 2, 3), keepdim=True)
    high = torch.where(high > 0, high, 1)
    G = seen.G / high
    return plus_plus(G, G**2, G**3 * high, seen.A) * high[:, :, 0, 0]


def smooth_weights(seen: Seen) -> Tensor:
    """Smooth Grad-CAM++'s weights (N×K): moments of G over four images with noise of 0.3."""
    moments = [torch.zeros_like(seen.A) for _ in range(3)]
    for sample in range(4):
        draws = [normal(0, image, sample, tuple(image.shape)) for image in seen.images]
        noise = torch.stack([torch.from_numpy(draw) for draw in draws]).to(seen.images)
        G = look(seen.model, seen.layer, seen.images + 0.3 * noise, seen.targets, seen.score).G
        for power, moment in enumerate(moments, start=1):
            moment += G**power / 4
    return plus_plus(*moments, seen.A)


def conserving_weights(seen: Seen) -> Tensor:
    """`w_k = Σ_ij G A / Σ_ij A` (N×K), 0 where that sum is 0."""
    total = seen.A.sum(dim=(2, 3))
    return torch.where(total == 0, 0, (seen.G * seen.A).sum(dim=(2, 3)) / total)


def class_row(seen: Seen) -> Tensor:
    """`W_c` (N×K) of the Linear that gives the logits from the mean of the maps."""
    return final_linear(seen).weight.detach()[seen.targets]


def final_linear(seen: Seen) -> nn.Linear:
    """The Linear that reads the mean of A and gives the logits; another head is refused."""
    found: list[nn.Linear] = []
    mean = seen.A.mean(dim=(2, 3))

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        pooled = args[0].shape == mean.shape and torch.allclose(args[0], mean)
        if pooled and torch.equal(output, seen.logits):
            found.append(module)  # type: ignore[arg-type]

    linears = [module for module in seen.model.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(keep) for module in linears]
    try:
        with torch.no_grad():
            last = seen.model(seen.images)
    finally:
        for handle in handles:
            handle.remove()
    if not found or not torch.equal(last, seen.logits):
        raise NotApplicableError("CAM is defined for a pooled Linear head alone")
    return found[-1]


def peaks(seen: Seen) -> Tensor:
    """FEM: `ReLU(Σ_k μ_k 1[A_k > μ_k + 2 σ_k])`; a constant channel has no peak."""
    mean = seen.A.mean(dim=(2, 3), keepdim=True)
    sigma = seen.A.std(dim=(2, 3), correction=0, keepdim=True)
    constant = seen.A.amax(dim=(2, 3), keepdim=True) == seen.A.amin(dim=(2, 3), keepdim=True)
    return (mean * ((mean + 2 * sigma < seen.A) & ~constant)).sum(dim=1).relu()


def principal(maps: Tensor) -> Tensor:
    """`B v₁` (h×w), B the centred hw×K matrix of maps (K×h×w); Σ_cells (B v₁)·mean_k B ≥ 0."""
    B = maps.flatten(1).T
    B = B - B.mean(dim=0)
    _, _, V = torch.linalg.svd(B, full_matrices=False)
    shown = B @ V[0]
    return (shown if shown @ B.mean(dim=1) >= 0 else -shown).reshape(maps.shape[1:])


def drops(seen: Seen, row: int) -> Tensor:
    """`s_c − s_c⁽ᵏ⁾` (K) of image `row`, s_c⁽ᵏ⁾ with channel k set to 0."""
    ablated = seen.A[row].repeat(seen.A.shape[1], 1, 1, 1)
    ablated[range(len(ablated)), range(len(ablated))] = 0
    with torch.no_grad():
        whole = seen.scores(seen.read(seen.A[row : row + 1], row), row)
        return whole - seen.scores(seen.read(ablated, row), row)


def ablation_weights(seen: Seen, row: int) -> Tensor:
    """`w_k = (s_c − s_c⁽ᵏ⁾)/|s_c|` (K)."""
    return drops(seen, row) / own_score(seen, row).abs()


def own_score(seen: Seen, row: int) -> Tensor:
    """`s_c` of image `row`; refused where it is 0, as AblationCAM is undefined there."""
    score = seen.scores(seen.logits[row : row + 1], row)[0]
    if score == 0:
        raise NotApplicableError("AblationCAM divides by a score of 0")
    return score


def masks(seen: Seen, row: int) -> Tensor:
    """ScoreCAM's masks `minmax(Up(A_k))` (K×H×W), corners aligned; 0 for a constant channel."""
    return minmax(raised(seen.A[row], seen, align_corners=True))


def masked_logits(seen: Seen, row: int, masks: Tensor) -> Tensor:
    """Logits (K×C) of image `row` under masks (K×H×W)."""
    with torch.no_grad():
        logits: Tensor = seen.model(seen.images[row] * masks[:, None])
    return logits


def score_weights(seen: Seen, row: int) -> Tensor:
    """`softmax_k s_c(x ⊙ M_k)` (K)."""
    return seen.scores(masked_logits(seen, row, masks(seen, row)), row).softmax(dim=0)


def of_varying(weights: Tensor, A: Tensor) -> Tensor:
    """`ReLU(Σ_k w_k A_k)` (h×w) of weights (K) over those of the maps A (K×h×w) that vary."""
    varying = A.amax(dim=(1, 2)) > A.amin(dim=(1, 2))
    return ((weights * varying)[:, None, None] * A).sum(dim=0).relu()


def gated(seen: Seen, row: int) -> Tensor:
    """ScoreCAM++: `ReLU(Σ_k p_c(x ⊙ H_k) H_k)` (H×W), `H_k = tanh(Up(A_k))`."""
    gates = raised(seen.A[row], seen).tanh()
    alpha = seen.scores(masked_logits(seen, row, gates).softmax(dim=1), row)
    return (alpha[:, None, None] * gates).sum(dim=0).relu()


def cells(seen: Seen, row: int) -> Tensor:
    """ReciproCAM: `ReLU(s_c(A ⊙ 1_ij) − s_c(0))` (h×w)."""
    A = seen.A[row]
    h, w = A.shape[1:]
    alone = torch.eye(h * w, dtype=A.dtype).reshape(h * w, 1, h, w) * A
    return (
        (kept(seen, row, alone) - kept(seen, row, torch.zeros_like(A)[None])).relu().reshape(h, w)
    )


def kept(seen: Seen, row: int, A: Tensor) -> Tensor:
    """Scores (M) of A (M×K×h×w)."""
    with torch.no_grad():
        return seen.scores(seen.read(A, row), row)


def nearest(logits: Tensor, target: Tensor) -> list[int]:
    """The three other classes of nearest logit (C), the lower index first among equals."""
    if len(logits) < 2:
        raise NotApplicableError("Finer-CAM contrasts a class with others")
    others = [place for place in range(len(logits)) if place != int(target)]
    return sorted(others, key=lambda place: abs(float(logits[place] - logits[target])))[:3]


def contrast(logits: Tensor, targets: Tensor, strength: float = 0.6) -> Tensor:
    """Finer-CAM's score (N): `s_c − 0.6 mean_t s_t` over the three nearest classes t."""
    rows = zip(logits, targets, strict=True)
    return torch.stack(
        [row[target] - strength * row[nearest(row.detach(), target)].mean() for row, target in rows]
    )


def curved(seen: Seen, share: float = 0.5) -> Tensor:
    """ShapleyCAM's weights (N×K): `mean_ij (G − ½ H A)`."""
    weights = []
    for row in range(len(seen.A)):
        with torch.enable_grad():
            A = seen.A[row : row + 1].clone().requires_grad_()
            score = seen.scores(seen.read(A, row), row)
            (G,) = torch.autograd.grad(score.sum(), A, create_graph=True)
            bent = torch.zeros_like(A)
            if G.requires_grad:
                (bent,) = torch.autograd.grad(G, A, A.detach(), materialize_grads=True)
        weights.append((G.detach() - share * bent).mean(dim=(0, 2, 3)))
    return torch.stack(weights)


def grey(images: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B for three channels, else their mean; N×1×H×W."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def edges(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel's derivatives (N×H×W) across and down, edges replicated."""
    kernel = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).to(images)[None, None]
    padded = F.pad(grey(images), (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel)[:, 0], F.conv2d(padded, kernel.transpose(2, 3))[:, 0]


def bell(length: int, centre: float) -> Tensor:
    """`exp(−½ ((i − centre)/(length/4))²)` for i = 0 … length − 1."""
    return torch.exp(-(((torch.arange(length).double() - centre) / (length / 4)) ** 2) / 2)


def centred(seen: Seen) -> Tensor:
    """The Gaussian control (N×H×W) around the middle."""
    height, width = seen.images.shape[-2:]
    one = torch.outer(bell(height, (height - 1) / 2), bell(width, (width - 1) / 2))
    return one.to(seen.images).expand(len(seen.images), -1, -1).clone()


#: The right explainers, by the registered method that each must equal.
LITERAL: dict[str, Literal] = {
    "gradcam": Literal(weighted(mean_gradient)),
    "gradcam++": Literal(weighted(alpha_weights)),
    "smoothgradcam++": Literal(weighted(smooth_weights)),
    "xgradcam": Literal(weighted(conserving_weights)),
    "hirescam": Literal(lambda seen: (seen.G * seen.A).sum(dim=1).relu()),
    "layercam": Literal(lambda seen: (seen.G.relu() * seen.A).sum(dim=1).relu()),
    "elementwise": Literal(lambda seen: (seen.G * seen.A).relu().sum(dim=1)),
    "shapleycam": Literal(weighted(curved)),
    "finercam": Literal(weighted(mean_gradient), score=contrast),
    "cam": Literal(weighted(class_row)),
    "lafam": Literal(lambda seen: seen.A.mean(dim=1).relu()),
    "fem": Literal(peaks),
    "eigencam": Literal(row_by_row(lambda seen, row: principal(seen.A[row]).relu())),
    "eigengradcam": Literal(row_by_row(lambda seen, row: principal((seen.G * seen.A)[row]).relu())),
    "ablationcam": Literal(weighted(row_by_row(ablation_weights))),
    "scorecam": Literal(
        row_by_row(lambda seen, row: of_varying(score_weights(seen, row), seen.A[row]))
    ),
    "scorecam++": Literal(row_by_row(gated)),
    "reciprocam": Literal(row_by_row(cells)),
    "sobel": Literal(
        lambda seen: sum(part**2 for part in edges(seen.images)).sqrt()  # type: ignore[union-attr]
    ),
    "gaussian": Literal(centred),
}
