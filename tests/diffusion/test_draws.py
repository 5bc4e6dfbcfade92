import hashlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from whence.diffusion.draws import Draws, order
from whence.diffusion.philox import bits, box_muller, keys, normals, philox

KNOWN = [
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()])


def slow_philox(counter: list[int], key: list[int]) -> list[int]:
    """Salmon et al. 2011, figure 2, in Python's integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (p1 >> 32) ^ c1 ^ k0,
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ c3 ^ k1,
            p0 & 0xFFFFFFFF,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_known_answers(counter, key, expected):
    """The vectors of Random123's kat_vectors for philox4x32-10."""
    assert philox(words(counter)[:, None], words(key)[:, None])[0].tolist() == words(expected).tolist()


word = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(st.lists(st.tuples(*[word] * 6), min_size=1, max_size=5))
def test_philox_against_python_integers(rows):
    columns = np.array(rows).T
    expected = [slow_philox(list(row[:4]), list(row[4:])) for row in rows]
    assert philox(columns[:4], columns[4:]).tolist() == expected
    tensors = torch.from_numpy(columns)
    assert philox(tensors[:4], tensors[4:]).tolist() == expected


def test_the_functions_of_torch_give_the_normal_numbers_of_numpy_to_the_last_bit():
    key, index, count = keys("noise", 0, [str(n) for n in range(50)]), np.arange(50), 2000
    drawn = bits(key, index, count)
    assert torch.equal(bits(torch.from_numpy(key), torch.from_numpy(index), count), torch.from_numpy(drawn))
    by_torch = box_muller(torch.from_numpy(drawn).double(), torch).float().view(torch.int32)
    by_numpy = normals(key, index, (count,)).view(torch.int32)
    assert (by_torch - by_numpy).abs().max() <= 1


def slow_draw(seed: int, name: str, index: int, timesteps: int, count: int) -> tuple[int, list[float]]:
    """One draw, number by number."""

    def key(stream: str) -> list[int]:
        raw = hashlib.blake2b(f"{stream}\0{seed}\0{name}".encode(), digest_size=8).digest()
        return [int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:], "little")]

    shift = slow_philox([0, 0, 0, 0], key("timestep"))[0]
    reversed_index = int(f"{index:032b}"[::-1], 2)
    t = ((reversed_index ^ shift) * timesteps) >> 32
    noise: list[float] = []
    for block in range(count):
        a, b, c, d = slow_philox([block, index, 0, 0], key("noise"))
        for first, second in ((a, b), (c, d)):
            radius = math.sqrt(-2 * math.log((first + 0.5) / 2**32))
            noise += [radius * math.cos(2 * math.pi * second / 2**32)]
            noise += [radius * math.sin(2 * math.pi * second / 2**32)]
    return t, noise[:count]


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(-5, 2**40),
    name=st.text(max_size=5).filter(lambda text: text.isascii()),
    index=st.integers(0, 2**31 - 1),
    timesteps=st.integers(1, 4000),
)
def test_draws_against_a_slow_reference(seed, name, index, timesteps):
    t, noise = Draws(seed, timesteps)([name], [index], (1, 3, 3))
    expected_t, expected = slow_draw(seed, name, index, timesteps, 9)
    assert t.item() == expected_t
    assert noise.flatten().tolist() == pytest.approx(expected, rel=1e-6, abs=1e-7)


IDS = [f"image {n}" for n in range(12)]
INDEX = [5, 0, 3, 3, 1, 7, 0, 100, 2**20, 4, 9, 2]


@pytest.mark.parametrize("options", [{}, {"shared": True}, {"antithetic": True}])
@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_batch_size_invariance(options, size):
    draws = Draws(7, 1000, **options)
    t, noise = draws(IDS, INDEX, (3, 4, 4))
    parts = [draws(IDS[k : k + size], INDEX[k : k + size], (3, 4, 4)) for k in range(0, 12, size)]
    assert torch.equal(t, torch.cat([part[0] for part in parts]))
    assert torch.equal(noise, torch.cat([part[1] for part in parts]))


def test_batch_order_invariance():
    draws = Draws(7, 1000)
    t, noise = draws(IDS, INDEX, (1, 8, 8))
    shuffled = np.random.default_rng(0).permutation(12)
    again = draws([IDS[k] for k in shuffled], [INDEX[k] for k in shuffled], (1, 8, 8))
    assert torch.equal(t[shuffled], again[0])
    assert torch.equal(noise[shuffled], again[1])


@pytest.mark.parametrize("kind", [list, tuple, np.int32, np.int64, np.uint8])
def test_index_type_invariance(kind):
    index = [3, 0, 200]
    given_index = kind(index) if kind in (list, tuple) else np.array(index, kind)
    t, noise = Draws(1)(IDS[:3], given_index, (1, 2, 2))
    expected_t, expected = Draws(1)(IDS[:3], index, (1, 2, 2))
    assert torch.equal(t, expected_t)
    assert torch.equal(noise, expected)
    assert (t.dtype, noise.dtype, noise.shape) == (torch.int64, torch.float32, (3, 1, 2, 2))


def test_global_random_state_is_neither_used_nor_changed():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    first = Draws(1)(["a"], [0], (1, 2, 2))[1]
    after = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    assert torch.equal(after[0], torch.rand(1))
    assert after[1] == np.random.rand()  # noqa: NPY002
    assert torch.equal(first, Draws(1)(["a"], [0], (1, 2, 2))[1])


def test_noise_is_standard_normal():
    noise = normals(keys("noise", 0, ["a", "b"]), np.array([0, 0]), (3, 100, 100)).double().numpy()
    for values in noise:
        assert stats.kstest(values.ravel(), "norm").pvalue > 0.01
    assert stats.kstest(noise[..., ::2].ravel(), "norm").pvalue > 0.01
    assert abs(stats.kurtosis(noise.ravel())) < 0.1


def test_noise_reaches_the_tails():
    """With 32 bits a pair, |noise| up to sqrt(-2 log 2^-33) = 6.76 is possible; nothing is infinite."""
    extreme = normals(keys("noise", 0, ["a"]), np.array([0]), (1_000_000,))
    assert torch.isfinite(extreme).all()
    assert 4.3 < extreme.abs().max().item() < 6.77


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("a", 0, 0), ("b", 0, 0)),
        (("a", 0, 0), ("a", 1, 0)),
        (("a", 0, 0), ("a", 0, 1)),
        (("1", 0, 1), ("11", 0, 1)),
        (("1", 11, 0), ("11", 1, 0)),
    ],
)
def test_noise_is_independent_across_ids_indices_and_seeds(a, b):
    one, two = (Draws(seed)([name], [index], (100, 100))[1].flatten() for name, index, seed in (a, b))
    assert abs(torch.corrcoef(torch.stack([one, two]))[0, 1].item()) < 0.03


@pytest.mark.parametrize("timesteps", [1, 2, 3, 1000])
def test_timesteps_are_in_range(timesteps):
    ids = [f"{n}" for n in range(300)]
    t = torch.stack([Draws(0, timesteps)(ids, [k] * 300, (1,))[0] for k in range(16)])
    assert t.min() == 0
    assert t.max() == timesteps - 1


@pytest.mark.parametrize("k", range(1, 8))
def test_every_prefix_of_2_to_the_k_has_one_timestep_in_each_stratum(k):
    timesteps = 1 << 12
    for name in ("a", "b", "c"):
        t, _ = Draws(5, timesteps)([name] * (1 << k), range(1 << k), (1,))
        assert sorted((t * (1 << k) // timesteps).tolist()) == list(range(1 << k))


def test_the_first_timestep_is_uniform_over_examples():
    ids = [f"{n}" for n in range(5000)]
    t, _ = Draws(0, 1000)(ids, [0] * 5000, (1,))
    assert stats.kstest((t.double() + 0.5) / 1000, "uniform").pvalue > 0.01


def test_ten_draws_grow_into_a_hundred():
    draws = Draws(3, 1000)
    t, noise = draws(["a"] * 100, range(100), (1, 4, 4))
    first_t, first = draws(["a"] * 10, range(10), (1, 4, 4))
    assert torch.equal(t[:10], first_t)
    assert torch.equal(noise[:10], first)


def test_shared_draws_are_the_same_for_every_example():
    t, noise = Draws(3, 1000, shared=True)(["a", "b", "a"], [4, 4, 5], (1, 4, 4))
    assert t[0] == t[1]
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])


def test_antithetic_pairs_share_the_timestep_and_oppose_the_noise():
    t, noise = Draws(3, 1000, antithetic=True)(["a"] * 6, range(6), (1, 4, 4))
    assert torch.equal(t[::2], t[1::2])
    assert torch.equal(noise[::2], -noise[1::2])
    plain_t, plain = Draws(3, 1000)(["a"] * 3, range(3), (1, 4, 4))
    assert torch.equal(t[::2], plain_t)
    assert torch.equal(noise[::2], plain)


@pytest.mark.parametrize("count", [1, 2, 17, 200])
def test_order_is_a_permutation(count):
    names = [f"{n}" for n in range(count)]
    assert sorted(order(0, 3, names).tolist()) == list(range(count))


def test_order_differs_between_epochs_and_seeds():
    names = [f"{n}" for n in range(50)]
    orders = {tuple(order(seed, epoch, names).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_leaving_names_out_keeps_the_order_of_the_others():
    names = [f"{n}" for n in range(50)]
    some = names[::3]
    full = [names[k] for k in order(2, 1, names)]
    assert [some[k] for k in order(2, 1, some)] == [name for name in full if name in some]


def test_the_first_place_is_uniform():
    names = [f"{n}" for n in range(8)]
    counts = np.bincount([order(seed, 0, names)[0] for seed in range(800)], minlength=8)
    assert stats.chisquare(counts).pvalue > 0.01


def test_the_specification_has_not_changed():
    """Pinned: another value here means that no earlier run can be repeated."""
    key = keys("noise", 1, ["a", "é/b.png"])
    words = bits(key, np.array([0, 12345]), 64)
    assert hashlib.sha256(words.astype("<u8").tobytes()).hexdigest()[:16] == "b2ad88024eb38479"
    t, noise = Draws(1, 1000)(["a", "é/b.png"] * 3, [0, 1, 2, 3, 4, 5], (1, 8, 8))
    assert t.tolist() == [87, 314, 337, 64, 212, 439]
    assert noise[:, 0, 7, 7].tolist() == pytest.approx(
        [1.7273407, -0.46775213, -1.42072952, -0.98440111, 1.48296595, 0.91568285], rel=1e-6
    )
    assert order(1, 2, [f"{n}" for n in range(10)]).tolist() == [5, 9, 8, 1, 0, 3, 7, 6, 2, 4]
