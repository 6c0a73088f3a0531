from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from limner.data.data_yaml import read_data_yaml
from limner.errors import LimnerError

NAMES = st.lists(
    st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1).filter(
        lambda name: isinstance(name, str) and name.strip() == name
    ),
    min_size=1,
    max_size=5,
)


def names_of(folder: Path, text: str) -> list[str]:
    (folder / "data.yaml").write_text(text)
    config = read_data_yaml(folder)
    assert config is not None
    return list(config.names)


@given(NAMES, st.sampled_from([True, False]), st.sampled_from([True, False]))
def test_what_pyyaml_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], flow: bool, numbered: bool
) -> None:
    content = {"names": dict(enumerate(names)) if numbered else names}
    # Lines are not broken: of what is, only the form that data.yaml files have is read
    text = yaml.safe_dump(content, default_flow_style=flow, width=10**6)
    if flow:
        text = "names: " + text[len("{names: ") :].rstrip()[:-1]
    assert names_of(tmp_path_factory.mktemp("yaml"), text) == names


@pytest.mark.parametrize(
    "text",
    [
        "names: ['a b', \"c\", d]  # three",
        "nc: 3\nnames:\n  0: a b\n  1: 'c'\n  2: d # last\n",
        'names:\n- a b\n- c\n\n- "d"\nroboflow:\n  workspace: x\n',
        "# head\ndownload: |\n  from x import y\nnames: [\n  'a b',\n  c, d\n]\n",
        "names: {0: a b, 1: c, 2: 'd'}",
    ],
)
def test_the_forms_of_names_are_read(tmp_path: Path, text: str) -> None:
    assert names_of(tmp_path, text) == ["a b", "c", "d"]
    read = yaml.safe_load(text)["names"]
    assert list(read.values() if isinstance(read, dict) else read) == ["a b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("names: {a: 0, b: 1}", "names in a form that is not read"),
        ("names:\n  0: a\n  2: b\n", "numbers its names 0, 2. They are counted from 0"),
        ("names: [a, b", "names in a form that is not read: '\\[a, b'"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(LimnerError, match=complaint):
        names_of(tmp_path, text)
