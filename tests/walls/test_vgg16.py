"""The paper's VGG16: the authors' numbering, a mask that holds bit for bit, and its exact zone."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camaudit.errors import ModelError, WallError, WeightsError
from camaudit.walls.insert import WalledModel
from camaudit.walls.verification import verify_zone
from camaudit.walls.vgg16 import MaskedLinear, PaperVGG16, paper_twins, paper_wall
from tests.networks import images

SMALL = {"hidden": 8, "num_classes": 5}
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
WIDTHS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 256)
DEAD = torch.arange(12).remainder(3) == 1


@pytest.fixture(scope="module")
def twins() -> tuple[PaperVGG16, PaperVGG16]:
    return paper_twins(**SMALL)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return images(1, 224)


@pytest.fixture(scope="module")
def walled(twins: tuple[PaperVGG16, PaperVGG16], image: Tensor) -> WalledModel:
    return paper_wall(twins[0], image, unmasked=twins[1])


def masked_linear(dtype: torch.dtype = torch.float32) -> MaskedLinear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskedLinear(12, 4, DEAD).to(dtype)


# ------------------------------------------------------------------------------ MaskedLinear


def test_masked_linear_is_a_linear_without_the_dead_columns() -> None:
    layer = masked_linear(torch.float64)
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = x[:, ~DEAD] @ layer.weight[:, ~DEAD].T + layer.bias
    torch.testing.assert_close(layer(x), wanted)
    assert layer.weight[:, ~DEAD].abs().min() > 0
    assert list(layer.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e30])
def test_masked_linear_never_reads_dead_features(value: float) -> None:
    layer = masked_linear()
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    other = x.clone()
    other[:, DEAD] = value
    assert torch.equal(layer(other), layer(x))


OPTIMISERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_mask_holds_bit_for_bit_through_training(optimiser: str) -> None:
    layer = masked_linear()
    start = layer.weight.detach().clone()
    stepper = OPTIMISERS[optimiser](list(layer.parameters()))
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        x = torch.randn(6, 12, generator=generator)
        loss = (layer(x) - x[:, :4]).square().sum()
        stepper.zero_grad()
        loss.backward()
        assert not layer.weight.grad[:, DEAD].any()
        assert layer.weight.grad[:, ~DEAD].abs().min() > 0
        stepper.step()
    assert not layer.weight[:, DEAD].any()
    assert (layer.weight[:, ~DEAD] != start[:, ~DEAD]).all()


def test_mask_holds_in_the_output_after_load_state_dict_and_in_the_weights_on_request() -> None:
    layer, leaking = masked_linear(), nn.Linear(12, 4)
    layer.load_state_dict(leaking.state_dict())
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    other = torch.where(DEAD, 7.0, x)
    assert torch.equal(layer(other), layer(x))
    assert not torch.equal(leaking(other), leaking(x))
    layer.apply_mask_()
    assert not layer.weight[:, DEAD].any()
    assert torch.equal(layer.weight[:, ~DEAD], leaking.weight[:, ~DEAD])


# -------------------------------------------------------------------------------- the network


def test_keys_and_shapes_are_the_authors(twins: tuple[PaperVGG16, PaperVGG16]) -> None:
    wanted: dict[str, tuple[int, ...]] = {}
    for number, (k, v) in zip(CONVOLUTIONS, itertools.pairwise(WIDTHS), strict=True):
        wanted |= {f"{number}.weight": (v, k, 3, 3), f"{number}.bias": (v,)}
    for number, (k, v) in {"0": (50176, 8), "3": (8, 8), "6": (8, 5)}.items():
        wanted |= {f"31.{number}.weight": (v, k), f"31.{number}.bias": (v,)}
    for network in twins:
        found = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        assert found == wanted
    assert wanted["28.weight"] == (256, 512, 3, 3)
    assert wanted["31.0.weight"] == (8, 50176)


def test_layers_are_numbered_as_the_authors(twins: tuple[PaperVGG16, PaperVGG16]) -> None:
    masked, unmasked = twins
    assert len(masked) == 32
    assert [i for i, layer in enumerate(masked) if isinstance(layer, nn.MaxPool2d)] == [
        4,
        9,
        16,
        23,
    ]
    assert (
        tuple(i for i, layer in enumerate(masked) if isinstance(layer, nn.Conv2d)) == CONVOLUTIONS
    )
    assert isinstance(masked[29], nn.ReLU)
    assert isinstance(masked[30], nn.Flatten)
    assert isinstance(masked[31][0], MaskedLinear)
    assert type(unmasked[31][0]) is nn.Linear


def test_slices_are_plain_sequentials(twins: tuple[PaperVGG16, PaperVGG16]) -> None:
    features = twins[0][28:30]
    assert type(features) is nn.Sequential
    assert list(features.state_dict()) == ["28.weight", "28.bias"]
    assert features[0] is twins[0][28]
    assert twins[0][-1] is twins[0][31]


def test_first_linear_cannot_read_rows_5_to_13(twins: tuple[PaperVGG16, PaperVGG16]) -> None:
    for network, dead_is_zero in zip(twins, (True, False), strict=True):
        weight = network[31][0].weight.detach().view(8, 256, 14, 14)
        assert bool((weight[:, :, 5:] == 0).all()) is dead_is_zero
        assert (weight[:, :, :5] != 0).all()


def test_twins_share_every_weight_that_the_mask_leaves(
    twins: tuple[PaperVGG16, PaperVGG16],
) -> None:
    masked, unmasked = (network.state_dict() for network in twins)
    for key, value in masked.items():
        if key != "31.0.weight":
            assert torch.equal(value, unmasked[key]), key
    live = ~twins[0][31][0].dead
    assert torch.equal(masked["31.0.weight"][:, live], unmasked["31.0.weight"][:, live])
    assert not any(m.training for network in twins for m in network.modules())


def test_last_convolution_can_have_512_channels() -> None:
    network = PaperVGG16(channels=512, init="default", **SMALL)
    assert network[28].weight.shape == (512, 512, 3, 3)
    assert network[31][0].weight.shape == (8, 512 * 196)
    assert network[31][0].dead.shape == (512 * 196,)


@pytest.mark.parametrize("live_rows", [0, 14, -1])
def test_live_rows_out_of_range_are_refused(live_rows: int) -> None:
    with pytest.raises(WallError, match=rf"live rows must be 1 to 13.*got {live_rows}"):
        PaperVGG16(live_rows=live_rows, **SMALL)


def test_unknown_initialisation_is_refused() -> None:
    with pytest.raises(WallError, match="he, glorot or default; got 'xavier'"):
        PaperVGG16(init="xavier", **SMALL)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ initialisation


def spread(weight: Tensor) -> float:
    return float(weight.detach().double().std())


def test_he_initialisation_is_the_default(twins: tuple[PaperVGG16, PaperVGG16]) -> None:
    for number in CONVOLUTIONS:
        conv = twins[1][number]
        fan_in = conv.weight[0].numel()
        assert spread(conv.weight) == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
        assert abs(float(conv.weight.detach().mean())) < 0.1 * spread(conv.weight)
        assert not conv.bias.any()
    first = twins[1][31][0]
    assert spread(first.weight) == pytest.approx(math.sqrt(2 / 50176), rel=0.02)
    assert not any(layer.bias.any() for layer in twins[0][31] if isinstance(layer, nn.Linear))


@pytest.mark.parametrize("init", ["glorot", "default"])
def test_other_initialisations(init: str) -> None:
    network = PaperVGG16(init=init, **SMALL)  # type: ignore[arg-type]
    for number in CONVOLUTIONS:
        weight = network[number].weight
        fans = weight[0].numel(), weight[:, 0].numel()
        glorot, default = math.sqrt(2 / sum(fans)), math.sqrt(1 / (3 * fans[0]))
        wanted = glorot if init == "glorot" else default
        assert spread(weight) == pytest.approx(wanted, rel=0.05)
        assert bool(network[number].bias.any()) is (init == "default")
    assert not network[31][0].weight[:, network[31][0].dead].any()


def test_seed_decides_the_weights_and_the_global_state_stays(
    twins: tuple[PaperVGG16, PaperVGG16],
) -> None:
    state = torch.get_rng_state()
    same, other = PaperVGG16(**SMALL), PaperVGG16(seed=1, **SMALL)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in twins[0].state_dict().items():
        if key != "31.0.weight":
            assert torch.equal(same.state_dict()[key], value), key
    assert torch.equal(same[31][0].weight, twins[0][31][0].weight)
    assert not torch.equal(other[0].weight, same[0].weight)
    assert same.training


# ------------------------------------------------------------------------------ load_paper_state


def test_state_dict_goes_back_and_forth(twins: tuple[PaperVGG16, PaperVGG16]) -> None:
    network = PaperVGG16(init="default", seed=9, **SMALL)
    network.load_paper_state(twins[0].state_dict())
    for key, value in twins[0].state_dict().items():
        assert torch.equal(network.state_dict()[key], value)


def test_state_dicts_that_do_not_fit_are_refused_and_change_nothing(
    twins: tuple[PaperVGG16, PaperVGG16],
) -> None:
    masked, unmasked = twins
    good = masked.state_dict()
    before = {key: value.clone() for key, value in good.items()}
    missing = {key: value for key, value in good.items() if key != "28.weight"}
    wide = {**good, "28.weight": torch.zeros(512, 512, 3, 3), "28.bias": torch.zeros(512)}
    cases = [
        (missing, r"key '28\.weight': expected \(256, 512, 3, 3\), got nothing$"),
        ({**good, "40.bias": torch.zeros(1)}, r"key '40\.bias': expected no such key, got \(1,\)$"),
        (wide, r"'28\.bias': expected \(256,\), got \(512,\) \(1 more keys differ\)$"),
        ({}, r"got nothing \(31 more keys differ\)$"),
        (unmasked.state_dict(), r"of dead rows are not 0.*remask=True"),
    ]
    for state, message in cases:
        with pytest.raises(WeightsError, match=message):
            masked.load_paper_state(state)
    assert all(torch.equal(value, before[key]) for key, value in masked.state_dict().items())


def test_a_single_leaking_weight_is_refused_and_remask_clears_it(
    twins: tuple[PaperVGG16, PaperVGG16],
) -> None:
    network = PaperVGG16(init="default", **SMALL)
    leaking = {key: value.clone() for key, value in twins[0].state_dict().items()}
    leaking["31.0.weight"][3, 5 * 14] = 1e-30
    with pytest.raises(WeightsError, match=r"^1 weights of dead rows"):
        network.load_paper_state(leaking)
    network.load_paper_state(leaking, remask=True)
    assert torch.equal(network[31][0].weight, twins[0][31][0].weight)
    assert leaking["31.0.weight"][3, 5 * 14] != 0


# ----------------------------------------------------------------------------------- the wall


def test_pixel_dead_rows_are_170_to_223(walled: WalledModel) -> None:
    zone = walled.zone
    assert zone.kind == "receptive field"
    assert zone.pixel_dead_rows == list(range(170, 224))
    assert zone.pixel_dead.sum() == zone.scored.sum() == 54 * 224
    assert zone.to_dict()["scored_rows"] == list(range(170, 224))
    assert zone.scored_fraction == zone.pixel_fraction == 54 / 224
    assert zone.feature_fraction == 9 / 14
    assert "rows 0-4 of 14" in zone.why
    assert "pixel rows 0-169 and columns 0-223" in zone.why


def test_zone_holds_and_is_not_one_row_too_small(walled: WalledModel, image: Tensor) -> None:
    found = verify_zone(walled.logits, image, walled.zone, perturbations=5)
    assert found.passed
    other = image.clone()
    other[:, :, 169] += 1e6
    with torch.no_grad():
        assert not torch.equal(walled.logits(other), walled.logits(image))


def test_walled_logits_are_the_masked_networks(
    walled: WalledModel, twins: tuple[PaperVGG16, PaperVGG16], image: Tensor
) -> None:
    with torch.no_grad():
        A = walled.trunk(image)
        logits = walled.read(A)
        assert torch.equal(logits, twins[0](image))
        assert A.shape == (1, 256, 14, 14)
        assert A[:, :, 5:].abs().max() > 0
        A[:, :, 5:] = math.inf
        assert torch.equal(walled.read(A), logits)
        assert walled.unwalled is not None
        plain = walled.unwalled(image)
        assert torch.equal(plain, twins[1](image))
        assert not torch.equal(plain, logits)
    assert walled.description == {
        "wall": "vgg16",
        "layer": "29",
        "live": "rows 0-4 of 14",
        "rescale": 1.0,
    }


def test_gradient_at_the_target_layer_is_exactly_zero_on_dead_rows(walled: WalledModel) -> None:
    A = torch.rand(1, 256, 14, 14, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    (G,) = torch.autograd.grad(walled.read(A)[0, 0], A)
    assert not G[:, :, 5:].any()
    assert G[:, :, :5].any()


def test_training_the_classifier_leaves_dead_weights_at_zero() -> None:
    network = PaperVGG16(**SMALL)
    classifier = network[30:]
    A = torch.rand(4, 256, 14, 14, generator=torch.Generator().manual_seed(0))
    start = network[31][0].weight.detach().clone()
    stepper = OPTIMISERS["sgd"](list(classifier.parameters()))
    for _ in range(3):
        loss = nn.functional.cross_entropy(classifier.eval()(A), torch.tensor([0, 1, 2, 3]))
        loss.backward()
        stepper.step()
    weight = network[31][0].weight
    assert not weight[:, network[31][0].dead].any()
    assert not torch.equal(weight, start)


def test_live_rows_can_be_chosen_and_one_network_alone_has_no_twin(image: Tensor) -> None:
    network = PaperVGG16(live_rows=7, **SMALL).eval()
    walled = paper_wall(network, image)
    assert walled.unwalled is None
    zone = walled.zone
    assert zone.pixel_dead_rows == list(range(7 * 16 + 90, 224))
    assert zone.feature_dead[:, 0].nonzero().flatten().tolist() == list(range(7, 14))
    weight = network[31][0].weight.detach().view(8, 256, 14, 14)
    assert not weight[:, :, 7:].any()
    assert (weight[:, :, :7] != 0).all()


def test_paper_wall_refuses_the_baseline_and_training_mode(
    twins: tuple[PaperVGG16, PaperVGG16], image: Tensor
) -> None:
    with pytest.raises(WallError, match="has no mask"):
        paper_wall(twins[1], image)
    with pytest.raises(ModelError, match="training mode"):
        paper_wall(PaperVGG16(init="default", **SMALL), image)
