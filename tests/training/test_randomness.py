"""What is random in training is a function of the seed and the place, and of nothing else."""

from __future__ import annotations

import numpy as np

from camaudit.training.randomness import held_out, order, permuted, step_seed, uniforms


def test_the_order_is_a_permutation_of_its_own_for_each_seed_and_epoch() -> None:
    orders = {tuple(order(seed, epoch, 50)) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(orders) == 6
    assert all(sorted(found) == list(range(50)) for found in orders)
    assert np.array_equal(order(3, 4, 50), order(3, 4, 50))


def test_a_samples_draws_do_not_depend_on_its_batch() -> None:
    samples = np.arange(40)
    together = uniforms(5, 2, samples, 7)
    alone = np.concatenate([uniforms(5, 2, samples[i : i + 1], 7) for i in range(40)])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[::-1], uniforms(5, 2, samples[::-1], 7))


def test_draws_are_uniform_and_differ_by_seed_epoch_sample_and_column() -> None:
    samples = np.arange(20_000)
    draws = uniforms(0, 0, samples, 5)
    assert draws.min() >= 0
    assert draws.max() < 1
    # 100 000 uniforms: the mean's standard deviation is 0.0009
    assert abs(draws.mean() - 0.5) < 0.005
    assert np.abs(np.corrcoef(draws.T) - np.eye(5)).max() < 0.05
    for other in (uniforms(1, 0, samples, 5), uniforms(0, 1, samples, 5)):
        assert not np.any(draws == other)
        assert abs(np.corrcoef(draws[:, 0], other[:, 0])[0, 1]) < 0.05


def test_permuted_labels_keep_their_counts_and_little_else() -> None:
    labels = np.repeat(np.arange(10), 100)
    mixed = permuted(labels, 7)
    assert np.array_equal(np.bincount(mixed), np.bincount(labels))
    assert 0.05 < (mixed == labels).mean() < 0.15
    assert np.array_equal(mixed, permuted(labels, 7))
    assert not np.array_equal(mixed, permuted(labels, 8))


def test_held_out_images_are_a_share_of_every_class_and_at_least_one() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [2] * 2)
    mask = held_out(labels, 0.1)
    assert [int(mask[labels == label].sum()) for label in range(3)] == [5, 1, 1]
    assert np.array_equal(mask, held_out(labels, 0.1))


def test_step_seeds_differ_and_fit_torch() -> None:
    seeds = [step_seed(s, step, rank) for s in (0, 1) for step in range(50) for rank in (0, 1)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
