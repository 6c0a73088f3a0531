from limner.plurals import count_noun


def test_a_number_and_its_noun_agree() -> None:
    assert [count_noun(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert count_noun(1, "image was", "images were") == "1 image was"
    assert count_noun(3, "image was", "images were") == "3 images were"
