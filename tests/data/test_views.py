from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from limner.data.views import views


@given(st.integers(20, 300), st.integers(8, 64))
def test_tiles_in_use_share_a_quarter_of_their_side(length: int, tile: int) -> None:
    tops = [
        view.source.top
        for view in views((length, 5), (tile, 5), "tile", overlap=True)
        if view.source
    ]
    assert all(later - earlier <= tile - tile // 4 for earlier, later in pairwise(tops))
