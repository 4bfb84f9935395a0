from hashlib import blake2b

from gateway.routing.chance import Chance


def test_numbers_are_words_of_the_hash_of_seed_and_block() -> None:
    word = int.from_bytes(blake2b(b"42 1").digest()[8:16], "little")

    assert Chance(42).draws(10)[9] == (word >> 11) / 2**53


def test_drawing_in_portions_gives_the_same_numbers() -> None:
    chance = Chance(-5)

    assert [*chance.draws(3), *chance.draws(9), *chance.draws(1)] == Chance(-5).draws(13)


def test_neighbouring_seeds_are_uniform_together() -> None:
    bins = [0] * 10
    for seed in range(2000):
        bins[int(Chance(seed).draws(1)[0] * 10)] += 1

    assert sum((count - 200) ** 2 / 200 for count in bins) < 27.9  # 9 degrees, p = 0.001
