"""Numbers of things in messages: "1 image", "5 images"."""


def count_noun(count: int, singular: str, plural: str = "") -> str:
    """Say how many there are.

    Args:
        count: of the things.
        singular: what one is called; a verb may follow, as in "image was".
        plural: what several are called; by default the singular with an s.

    Example:
        >>> count_noun(1, "image"), count_noun(5, "image was", "images were")
        ('1 image', '5 images were')
    """
    return f"{count} {singular if count == 1 else plural or f'{singular}s'}"
